//! Calls that may not be repeated, when Redis or NATS lose what they knew: no such call is made twice.

#![expect(clippy::unwrap_used, reason = "a file that is missing has failed the test")]

use std::path::Path;
use std::process::Command;

use longshore_proto::{Event, RunId, Seq};
use longshore_tests::cluster::{Cluster, Role, once};
use longshore_tests::cluster_log;
use longshore_tests::lost_entries::lose_entries;
use longshore_tests::wait::until;
use serde_json::{Value, json};

/// The workers, after the one scheduler.
const WORKERS: [usize; 2] = [1, 2];

#[tokio::test]
async fn call_is_not_repeated_after_redis_is_emptied_and_its_worker_is_killed() {
    // The call takes long enough for the kill.
    let mut cluster = Cluster::start(1, WORKERS.len(), 5_000).await;
    cluster.scratch.write("once.json", once("once"));
    let run = cluster.submit(&["once.json"]).await;
    let journal = cluster.scratch.journal();
    until("the call is being made", || journal.lines() > 0).await;
    cluster.redis.flushall();
    for worker in WORKERS {
        cluster.kill_member(worker).await;
    }
    for worker in WORKERS {
        cluster.start_member(worker);
    }
    let ended = cluster.ended(&run).await;
    assert_eq!(journal.calls().len(), 1, "{ended}\n{}", cluster.said());
    assert_eq!(ended["steps"][0]["status"], "indeterminate", "{ended}");
    let attempt = &ended["steps"][0]["attempts"][0];
    assert!(attempt["worker"].is_string(), "the worker of the call is named: {ended}");
    cluster.scratch.write("safe.json", once("safe"));
    let other = cluster.submit(&["safe.json"]).await;
    assert_eq!(cluster.ended(&other).await["status"], "succeeded");
    let listed = cluster.client(["runs", "list", "--indeterminate", "--json"]).run().await;
    let listed = listed.expecting(0).json_lines();
    assert_eq!(listed.iter().map(|run| &run["run"]).collect::<Vec<_>>(), [&json!(run)]);
}

#[tokio::test]
async fn calls_that_may_not_be_repeated_are_made_while_redis_is_unavailable() {
    let mut cluster = Cluster::start(1, 1, 0).await;
    cluster.scratch.write("once.json", once("once"));
    cluster.redis.stop().await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(cluster.submit(&["once.json"]).await);
    }
    let journal = cluster.scratch.journal();
    until("all calls were made", || journal.calls().len() == runs.len()).await;
    cluster.redis.start_again().await;
    for run in runs {
        assert_eq!(cluster.ended(&run).await["status"], "succeeded");
    }
}

#[tokio::test]
async fn call_is_not_repeated_after_an_older_copy_of_nats_is_put_back() {
    let mut cluster = Cluster::start(1, 0, 0).await;
    cluster.scratch.write("once.json", once("once"));
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(cluster.submit(&["once.json"]).await);
    }
    let copy = tempfile::tempdir().unwrap();
    cluster.nats.stop().await;
    copy_folder(cluster.nats.folder(), &copy.path().join("nats"));
    cluster.nats.start_again().await;
    let worker = cluster.add(Role::Worker);
    for run in &runs {
        assert_eq!(cluster.ended(run).await["status"], "succeeded");
    }
    for member in [0, worker] {
        cluster.end_member(member).await;
    }
    cluster.nats.stop().await;
    cluster.nats.lose_store();
    copy_folder(&copy.path().join("nats"), cluster.nats.folder());
    cluster.nats.start_again().await;
    for member in [0, worker] {
        cluster.start_member(member);
    }
    let mut last = Value::Null;
    for run in &runs {
        let in_doubt = |run: &Value| run["steps"][0]["status"] == "indeterminate";
        last = cluster.shows(run, "the call is in doubt", in_doubt).await;
    }
    let message = last["steps"][0]["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("older copy of NATS"), "{last}");
    assert_eq!(cluster.scratch.journal().calls().len(), runs.len(), "{}", cluster.said());
}

#[tokio::test]
async fn call_is_not_repeated_after_nats_has_lost_its_grant() {
    let mut cluster = Cluster::start(1, WORKERS.len(), 5_000).await;
    cluster.scratch.write("once.json", once("once"));
    let run = cluster.submit(&["once.json"]).await;
    let journal = cluster.scratch.journal();
    until("the call is being made", || journal.lines() > 0).await;
    for member in 0..cluster.members.len() {
        cluster.kill_member(member).await;
    }
    let lost = lose_grant(&cluster, &run).await;
    cluster.redis.flushall();
    for member in 0..cluster.members.len() {
        cluster.start_member(member);
    }
    let ended = cluster.ended(&run).await;
    assert_eq!(ended["steps"][0]["status"], "indeterminate", "{ended}");
    assert_eq!(journal.calls().len(), 1, "{ended}\n{}", cluster.said());
    let reported = format!("NATS has lost entry {lost} of the log");
    assert!(cluster.said().contains(&reported), "{reported}: {}", cluster.said());
    // The state that was built over the gap is stored, and is the start of the next takeover.
    cluster.kill_member(0).await;
    cluster.start_member(0);
    let next = cluster.submit(&["once.json"]).await;
    assert_eq!(cluster.ended(&next).await["status"], "succeeded");
}

/// Makes NATS lose the record of a call's grant. Returns its sequence.
async fn lose_grant(cluster: &Cluster, run: &str) -> Seq {
    let nats = cluster_log::connect(cluster.nats.url()).await;
    let partition = run.parse::<RunId>().unwrap().partition();
    let (log, mut found) = (nats.log(), None);
    let mut reader = log.read(partition, Seq(1)).await.unwrap();
    while found.is_none() {
        let entries = reader.next(100).await.unwrap();
        let is_grant = |event: &Result<Event, _>| matches!(event, Ok(Event::Starting { .. }));
        found = entries.iter().find(|entry| entry.events.iter().any(is_grant)).map(|entry| entry.seq);
    }
    let lost = found.unwrap();
    lose_entries(nats.client(), partition, &[lost]).await;
    nats.close().await;
    lost
}

fn copy_folder(from: &Path, to: &Path) {
    let source = from.join(".");
    std::fs::create_dir_all(to).unwrap();
    let copied = Command::new("cp").arg("-a").arg(source).arg(to).status().unwrap();
    assert!(copied.success());
}
