//! A cluster whose Redis is full: runs are shown, watched and cancelled, and a scheduler that starts can make room.

use futures::StreamExt;
use longshore_tests::cluster::{Cluster, PARTITIONS, chain, once};
use longshore_tests::longshore::PATIENCE;
use longshore_tests::wait::until;
use serde_json::Value;
use tokio::time::timeout;

/// A workflow whose only job no worker takes.
const WAITING: &str = "longshore: v1
name: waiting
steps:
  - { id: only, call: absent/echo, with: {}, retry: 3 }
";

async fn push(cluster: &Cluster, name: &str, text: &str) {
    let path = cluster.scratch.write(&format!("{name}.yaml"), text);
    cluster.client(["workflows", "push", &path.display().to_string()]).run().await.expecting(0);
}

fn set_limit(cluster: &Cluster, bytes: &str) {
    let _: String = cluster.redis.ask(&["CONFIG", "SET", "maxmemory", bytes]);
}

/// Returns the number of ended runs in Redis.
fn kept(cluster: &Cluster) -> u64 {
    (0..PARTITIONS)
        .map(|number| cluster.redis.ask::<u64>(&["HLEN", &format!("ls:{{p{number:02}}}:done")]))
        .sum()
}

fn leases(cluster: &Cluster) -> usize {
    let lease = |number| cluster.redis.ask::<Option<String>>(&["GET", &format!("ls:{{p{number:02}}}:lease")]);
    (0..PARTITIONS).filter_map(lease).count()
}

fn used_memory(cluster: &Cluster) -> u64 {
    let about: String = cluster.redis.ask(&["INFO", "memory"]);
    let used = about.lines().find_map(|line| line.strip_prefix("used_memory:"));
    used.and_then(|used| used.trim().parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_shown_watched_and_cancelled_while_redis_is_full() {
    let cluster = Cluster::start(1, 1, 0).await;
    push(&cluster, "chain", &chain("chain", 1)).await;
    push(&cluster, "waiting", WAITING).await;
    let ended = cluster.submit(&["chain"]).await;
    cluster.ended(&ended).await;
    let waiting = cluster.submit(&["waiting"]).await;
    cluster.shows(&waiting, "it runs", |shown| shown["status"] == "running").await;
    set_limit(&cluster, "1");
    assert_eq!(cluster.shown(&ended).await["status"], "succeeded");
    cluster.client(["watch", &ended, "--exit-status"]).run().await.expecting(0);
    cluster.client(["runs", "list"]).run().await.expecting(0);
    let submitted = cluster.submit(&["chain"]).await;
    let late = cluster.submit(&["waiting"]).await;
    for run in [&submitted, &late] {
        let shown = cluster.client(["runs", "show", run]).run().await.expecting(8);
        shown.saying(&["may exist", "maxmemory", "`longshore doctor` shows which store is full"]);
    }
    // Runs without a checkpoint are in no list, so a list says that it may be incomplete.
    let listed = cluster.client(["runs", "list"]).run().await.expecting(0);
    listed.saying(&["warning: the list may lack runs and changes", "maxmemory"]);
    let of_late: Vec<&str> = vec!["runs", "cancel", "--workflow", "absent", "--yes"];
    cluster.client(of_late).run().await.expecting(8).saying(&["cannot list its newest runs"]);
    let short = &submitted[submitted.len() - 6..];
    cluster.client(["runs", "show", short]).run().await.expecting(8).saying(&["by its whole id"]);
    cluster.client(["runs", "show", "last"]).run().await.expecting(8);
    let watching = cluster.client(["watch", &submitted, "--exit-status"]).start();
    let submitting = cluster.client(["submit", "chain", "--watch"]).start();
    until("both wait", || [&watching, &submitting].iter().all(|one| one.stderr().contains("waiting: ")))
        .await;
    cluster.client(["runs", "cancel", &waiting, &late]).run().await.expecting(0);
    set_limit(&cluster, "0");
    watching.end().await.expecting(0);
    submitting.end().await.expecting(0);
    for run in [&waiting, &late] {
        cluster.shows(run, "it is cancelled", |shown| shown["status"] == "cancelled").await;
    }
    let unknown = "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w";
    for command in [["runs", "show", unknown], ["runs", "cancel", unknown]] {
        cluster.client(command).run().await.expecting(5);
    }
    cluster.client(["watch", unknown]).run().await.expecting(5);
    assert_eq!(cluster.ended(&submitted).await["status"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn run_that_is_cancelled_while_its_call_waits_for_a_claim_was_not_called() {
    let cluster = Cluster::start(1, 1, 0).await;
    let keyed = once("once").replace(r#""call":"#, r#""idempotency-key": "order", "call":"#);
    push(&cluster, "once", &keyed).await;
    let client = async_nats::connect(cluster.nats.url()).await.unwrap();
    let mut updates = client.subscribe("longshore.v1.evt.default.once.*.run").await.unwrap();
    set_limit(&cluster, "1");
    let run = cluster.submit(&["once"]).await;
    until("the call waits for its claim", || cluster.said().contains("cannot claim a call")).await;
    cluster.client(["runs", "cancel", &run]).run().await.expecting(0);
    let ended = async {
        while let Some(update) = updates.next().await {
            let update: Value = serde_json::from_slice(&update.payload).unwrap();
            if !["running", "cancelling"].contains(&update["status"].as_str().unwrap()) {
                break;
            }
        }
    };
    timeout(PATIENCE, ended).await.unwrap();
    set_limit(&cluster, "0");
    let ended = cluster.ended(&run).await;
    assert_eq!((&ended["status"], &ended["steps"][0]["status"]), (&"cancelled".into(), &"cancelled".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn run_whose_checkpoint_is_denied_is_not_shown_because_of_a_permission() {
    let cluster = Cluster::start(1, 1, 0).await;
    push(&cluster, "chain", &chain("chain", 1)).await;
    let _: String = cluster.redis.ask(&["ACL", "SETUSER", "default", "-hset"]);
    let run = cluster.submit(&["chain"]).await;
    for command in [&["runs", "show", &run][..], &["submit", "chain", "--watch"]] {
        let refused = cluster.client(command).run().await.expecting(4);
        refused.saying(&[
            "may exist",
            "ermission",
            "`longshore doctor` shows which process lacks a permission",
        ]);
    }
    let _: String = cluster.redis.ask(&["ACL", "SETUSER", "default", "+hset"]);
    assert_eq!(cluster.ended(&run).await["status"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn schedulers_that_start_while_redis_is_full_lead_again_and_make_room() {
    let mut cluster = Cluster::start(2, 1, 0).await;
    push(&cluster, "chain", &chain("chain", 1)).await;
    for _ in 0..40 {
        let run = cluster.submit(&["chain"]).await;
        cluster.ended(&run).await;
    }
    until("all runs are stored", || kept(&cluster) == 40).await;
    let used = used_memory(&cluster);
    set_limit(&cluster, "1");
    let settings = std::fs::read_to_string(cluster.scratch.path().join("longshore.toml")).unwrap_or_default();
    cluster.scratch.write("longshore.toml", format!("{settings}[keep]\nruns = 4\n"));
    for member in [0, 1] {
        cluster.end_member(member).await.expecting(0);
    }
    until("no partition has a leader", || leases(&cluster) == 0).await;
    for member in [0, 1] {
        cluster.start_member(member);
    }
    until("every partition has a leader", || leases(&cluster) == usize::from(PARTITIONS)).await;
    until("there is room", || kept(&cluster) <= 4).await;
    assert!(used_memory(&cluster) < used, "{used} bytes before, {} after", used_memory(&cluster));
    set_limit(&cluster, "0");
    let run = cluster.submit(&["chain"]).await;
    cluster.ended(&run).await;
}
