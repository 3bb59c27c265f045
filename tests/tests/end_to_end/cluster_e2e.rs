//! A cluster of processes, used with the command line, with plain publishes and with requests.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use async_nats::jetstream;
use longshore_tests::cluster::{Cluster, chain};
use longshore_tests::five_servers;
use longshore_tests::longshore::PATIENCE;
use longshore_tests::tables::Tables;
use longshore_tests::tools::Tools;
use longshore_tests::wait::until;
use serde_json::json;
use tokio::time::{sleep, timeout};

/// The numbers of schedulers, which are the first members, and of workers.
const SCHEDULERS: usize = 2;
const WORKERS: usize = 2;

async fn cluster(delay_ms: u64) -> Cluster {
    let cluster = Cluster::start(SCHEDULERS, WORKERS, delay_ms).await;
    cluster.scratch.write("chain.json", chain("chain", 5));
    cluster.client(["workflows", "push", "chain.json"]).run().await.expecting(0);
    cluster
}

/// Publishes a submit into JetStream, as any NATS client does.
async fn publish(cluster: &Cluster, workflow: &str, body: &str) {
    let jetstream = jetstream::new(async_nats::connect(cluster.nats.url()).await.unwrap());
    let subject = format!("longshore.v1.submit.default.{workflow}");
    jetstream.publish(subject, body.to_owned().into()).await.unwrap().await.unwrap();
}

/// Waits until the cluster has this many runs, and returns their ids.
async fn runs(cluster: &Cluster, count: usize) -> Vec<String> {
    let listing = async {
        loop {
            let runs = cluster.runs().await;
            if runs.len() >= count {
                return runs.iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect();
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, listing).await.expect("runs in time")
}

#[tokio::test]
async fn a_file_is_submitted_and_watched_to_its_end() {
    let cluster = cluster(5).await;
    let arguments = ["submit", "chain.json", "-i", "number=3", "--watch"];
    let ended = cluster.client(arguments).run().await.expecting(0);
    assert_eq!(ended.json(), json!({ "number": 8 }));
    let refused = cluster.client(["submit", "chain", "-i", "number=x"]).run().await;
    refused.expecting(3).saying(&["number"]);
    cluster.client(["doctor"]).run().await.expecting(0);
}

#[tokio::test]
async fn outputs_of_five_servers_on_two_workers_equal_those_of_one_process() {
    let (folder, tools) = (five_servers::folder(), Tools::find());
    let input = format!("folder={}", folder.path().display());
    let (tables, everything) = (Tables::of(folder.path()).over_http(), tools.everything_over_http());
    let over_stdio = five_servers::over_stdio(&tools, folder.path());
    folder.servers(&over_stdio);
    let mut cluster = Cluster::start_in(folder, SCHEDULERS, WORKERS).await;
    let arguments = ["submit", "workflow.yaml", "-i", &input, "--watch"];
    let ended = cluster.client(arguments).run().await.expecting(0);
    assert_eq!(ended.json(), five_servers::expected(), "over stdio");

    // The same with two servers over HTTP.
    let mut over_http = over_stdio;
    over_http["tables"] = tables.entry();
    over_http["everything"] = everything.entry();
    cluster.scratch.servers(&over_http);
    for worker in SCHEDULERS..SCHEDULERS + WORKERS {
        cluster.end_member(worker).await.expecting(0);
        cluster.start_member(worker);
    }
    let ended = cluster.client(arguments).run().await.expecting(0);
    assert_eq!(ended.json(), five_servers::expected(), "over HTTP");
    let list = cluster.client(["runs", "list", "--status", "succeeded", "--json"]).run().await;
    assert_eq!(list.expecting(0).json_lines().len(), 2);
}

#[tokio::test]
async fn plain_publish_is_a_run_and_the_same_id_is_the_same_run() {
    let cluster = cluster(5).await;
    publish(&cluster, "chain", r#"{"inputs": {"number": 10}, "id": "order-1"}"#).await;
    let published = runs(&cluster, 1).await.remove(0);
    assert_eq!(cluster.ended(&published).await["outputs"], json!({ "number": 15 }));

    publish(&cluster, "chain", r#"{"id": "order-1"}"#).await;
    assert_eq!(cluster.submit(&["chain", "--id", "order-1", "-i", "number=10"]).await, published);
    let again = json!({ "workflow": "chain", "id": "order-1", "inputs": { "number": 10 } });
    let asked = cluster.request("submit", &again).await;
    assert_eq!((&asked["run"], &asked["existed"]), (&json!(published), &json!(true)));
    let other = cluster.client(["submit", "chain", "--id", "order-1"]).run().await.expecting(3);
    other.saying(&["the id is taken", &published, "other inputs (number)", "submit with another id"]);
    // A submit after the copy: once it is a run, the copy would be one too.
    publish(&cluster, "chain", r#"{"id": "order-2"}"#).await;
    let both = runs(&cluster, 2).await;
    assert_eq!(both.len(), 2);
    for run in &both {
        assert_eq!(cluster.ended(run).await["status"], "succeeded");
    }
    assert_eq!(cluster.scratch.journal().calls().len(), 2 * 5);
}

#[tokio::test]
async fn request_is_answered_with_a_run_or_with_the_problems() {
    let cluster = cluster(5).await;
    let good = cluster.request("submit", &json!({ "workflow": "chain", "inputs": { "number": 1 } })).await;
    assert_eq!(cluster.ended(good["run"].as_str().unwrap()).await["outputs"], json!({ "number": 6 }));
    let bad = cluster.request("submit", &json!({ "workflow": "chain", "inputs": { "numer": 1 } })).await;
    assert_eq!(bad["reason"], "invalid_inputs", "{bad}");
    assert!(bad["problems"][0]["message"].as_str().is_some_and(|message| message.contains("numer")), "{bad}");
}

#[tokio::test]
async fn malformed_publish_is_a_dead_letter() {
    let cluster = cluster(5).await;
    publish(&cluster, "chain", "{ this is no JSON").await;
    let letter = cluster.dead_letters(1).await.remove(0);
    assert_eq!(letter["code"], "malformed", "{letter}");
    assert_eq!(letter["subject"], "longshore.v1.submit.default.chain");
    let number = letter["number"].to_string();
    let shown = cluster.client(["dlq", "show", &number]).run().await.expecting(0);
    assert!(shown.stdout.contains("{ this is no JSON"), "{shown}");
    assert!(cluster.runs().await.is_empty());
}

#[tokio::test]
async fn a_run_is_cancelled_and_calls_nothing_more() {
    let cluster = cluster(500).await;
    let run = cluster.submit(&["chain"]).await;
    until("a call has begun", || cluster.scratch.journal().lines() > 0).await;
    cluster.client(["runs", "cancel", &run]).run().await.expecting(0);
    cluster.client(["watch", &run, "--exit-status"]).run().await.expecting(21);
    assert_eq!(cluster.shown(&run).await["status"], "cancelled");
    assert!(cluster.scratch.journal().calls().len() < 5);
}

#[tokio::test]
async fn run_without_a_worker_for_its_server_shows_why_it_waits() {
    let cluster = cluster(5).await;
    let text = chain("lonely", 1).replace("tables/echo", "payments/charge");
    cluster.scratch.write("lonely.json", text);
    let run = cluster.submit(&["lonely.json"]).await;
    let shown = cluster.client(["runs", "show", &run]).run().await.expecting(0);
    assert!(shown.stdout.contains("a worker that serves `payments`"), "{shown}");
    let watching = cluster.client(["watch", &run]).start();
    let words = "waits for a worker that serves `payments`: none does";
    until("`watch` shows the reason", || watching.stderr().contains(words)).await;
    cluster.client(["runs", "cancel", &run]).run().await.expecting(0);
}

#[tokio::test]
async fn runs_survive_a_redis_that_loses_everything() {
    const RUNS: usize = 10;
    let cluster = cluster(50).await;
    let mut submitted = Vec::new();
    for number in 0..RUNS {
        submitted.push(cluster.submit(&["chain", "-i", &format!("number={number}")]).await);
    }
    until("calls are under way", || cluster.scratch.journal().lines() > RUNS).await;
    cluster.redis.flushall();
    // The runs are unknown until the leaders notice the loss and rebuild their checkpoints from the log.
    runs(&cluster, RUNS).await;
    for (number, run) in submitted.iter().enumerate() {
        let ended = cluster.ended(run).await;
        assert_eq!(ended["outputs"], json!({ "number": number + 5 }), "{ended}\n{}", cluster.said());
    }
    assert_eq!(cluster.runs().await.len(), RUNS);
}

#[tokio::test]
async fn stopped_worker_finishes_its_calls_and_leaves_other_jobs_to_others() {
    let mut cluster = cluster(700).await;
    let mut submitted = Vec::new();
    for _ in 0..4 {
        submitted.push(cluster.submit(&["chain"]).await);
    }
    let journal = cluster.scratch.journal();
    until("calls are under way", || journal.lines() > 0).await;
    cluster.end_member(SCHEDULERS).await.expecting(0).saying(&["worker drained"]);
    for run in &submitted {
        assert_eq!(cluster.ended(run).await["status"], "succeeded", "{}", cluster.said());
    }
    assert!(journal.calls().iter().all(|call| call.ok == Some(true)), "{:?}", journal.calls());
    let calls = journal.calls().len();
    assert_eq!(calls, 4 * 5, "no call is made twice");
    // The other worker and a scheduler end as well.
    cluster.end_member(SCHEDULERS + 1).await.expecting(0);
    cluster.end_member(0).await.expecting(0);
    assert_eq!(cluster.runs().await.len(), 4, "the other scheduler answers");
}
