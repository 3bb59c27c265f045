//! Redis loses all data, or is unreachable: earlier runs are shown again, and running ones continue.

use std::time::Duration;

use async_nats::jetstream;
use longshore_proto::{Event, Partition, Seq};
use longshore_tests::wait::until_some;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::requests::harness::{Cluster, PARTITIONS, PATIENCE, WORKFLOW};

/// The lease, short so that an outage that exceeds it is short too.
const TTL: Duration = Duration::from_millis(1_500);

/// Submits a run with an id.
async fn submit(cluster: &Cluster, id: &str) -> Value {
    let submit = json!({ "workflow": "report", "id": id });
    cluster.ask("submit", submit).await.expect("submits")["run"].clone()
}

/// Waits until a run is shown with this status. Until then it may be unknown, and Redis may be unreachable.
async fn shown(cluster: &Cluster, run: &Value, status: &str) {
    let looking = async {
        while cluster.ask("get", json!({ "run": run })).await.map(|view| view["status"] == *status)
            != Ok(true)
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("{run} is not shown as {status}"));
}

/// Returns the number of leader announcements.
async fn announcements(cluster: &Cluster) -> usize {
    let mut count = 0;
    for partition in (0..PARTITIONS).map(Partition) {
        let log = &cluster.backend.log;
        let tail = log.tail(partition).await.expect("answers");
        let mut reader = log.read(partition, Seq(1)).await.expect("reads");
        let mut read = Seq::ZERO;
        while read < tail {
            for entry in reader.next(100).await.expect("reads") {
                count += usize::from(matches!(entry.events.as_slice(), [Ok(Event::LeaderAnnounced { .. })]));
                read = entry.seq;
            }
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_checkpoints_are_rebuilt_from_the_log_by_a_running_leader() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    let mut ended = Vec::new();
    for number in 0..6 {
        ended.push(submit(&cluster, &format!("ended-{number}")).await);
        let job = cluster.job().await;
        cluster.settle(job, json!([number])).await;
    }
    for run in &ended {
        shown(&cluster, run, "succeeded").await;
    }
    let running = submit(&cluster, "running").await;
    let job = cluster.job().await;
    shown(&cluster, &running, "running").await;

    cluster.redis_server.flushall();
    // No event makes the leader write a checkpoint.
    for run in &ended {
        shown(&cluster, run, "succeeded").await;
    }
    shown(&cluster, &running, "running").await;
    cluster.settle(job, json!([])).await;
    shown(&cluster, &running, "succeeded").await;

    cluster.redis_server.flushall();
    let new = submit(&cluster, "new").await;
    for (number, run) in ended.iter().enumerate() {
        assert_eq!(submit(&cluster, &format!("ended-{number}")).await, *run);
    }
    let job = cluster.job().await;
    assert_eq!(new, job.job.id.run.to_string(), "no other run has begun");
    cluster.settle(job, json!([])).await;
    for run in ended.iter().chain([&running, &new]) {
        shown(&cluster, run, "succeeded").await;
    }
    assert_eq!(cluster.runs().await, ended.len() + 2);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_continue_while_redis_is_unreachable_for_longer_than_a_lease() {
    let mut cluster = Cluster::start_with(TTL).await;
    cluster.push(WORKFLOW).await;
    let mut runs = vec![submit(&cluster, "before").await];
    let job = cluster.job().await;
    cluster.settle(job, json!([])).await;
    shown(&cluster, &runs[0], "succeeded").await;

    cluster.redis_server.kill().await;
    let away = Instant::now();
    while away.elapsed() < 3 * TTL {
        runs.push(submit(&cluster, &format!("meanwhile-{}", runs.len())).await);
        // Only a leader sends jobs.
        let job = cluster.job().await;
        cluster.settle(job, json!([])).await;
    }
    let unwanted = submit(&cluster, "unwanted").await;
    let job = cluster.job().await;
    let cancelled = cluster.ask("cancel", json!({ "run": unwanted })).await;
    assert_eq!(cancelled, Ok(json!({ "run": unwanted })), "it takes the log, and nothing else");
    timeout(PATIENCE, job.recalled.cancelled()).await.expect("recalled in time");
    cluster.settle(job, json!([])).await;
    cluster.redis_server.start_again().await;
    shown(&cluster, &unwanted, "cancelled").await;
    for run in &runs {
        shown(&cluster, run, "succeeded").await;
    }
    assert_eq!(announcements(&cluster).await, usize::from(PARTITIONS), "no partition was taken over");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submits_are_refused_once_the_text_of_their_workflow_is_gone() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    submit(&cluster, "before").await;
    cluster.settle(cluster.job().await, json!([])).await;
    let blobs = jetstream::new(cluster.client.clone()).get_stream("LS_BLOBS").await.expect("a stream");
    blobs.purge().await.expect("emptied");
    // The leader of the other partition does not find the text.
    for number in 0..8 {
        let _ = cluster.ask("submit", json!({ "workflow": "report", "id": format!("lost-{number}") })).await;
    }

    // The scheduler knows the plan, and looks for the text every few seconds.
    let (code, refused) = until_some("a submit is refused", || {
        let asked = cluster.ask("submit", json!({ "workflow": "report", "id": "before" }));
        async { asked.await.err() }
    })
    .await;
    assert_eq!((code, &refused["reason"]), (500, &json!("workflow_missing")), "{refused}");
    cluster.publish("default.report", &[], r#"{"id": "published"}"#).await;
    assert_eq!(cluster.dead_letters(1).await[0].code, "workflow_missing");

    cluster.push(WORKFLOW).await;
    let mut waiting = Vec::new();
    for number in 0..8 {
        waiting.push(submit(&cluster, &format!("after-{number}")).await);
    }
    let runs = waiting.clone();
    while !waiting.is_empty() {
        let job = cluster.job().await;
        waiting.retain(|run| json!(job.job.id.run) != *run);
        cluster.settle(job, json!([])).await;
    }
    for run in &runs {
        shown(&cluster, run, "succeeded").await;
    }
    cluster.end().await;
}
