//! A log that is nearly full: submits are turned away while there is room for results, and taken in again later.

use std::time::Duration;

use async_nats::jetstream;
use longshore_proto::{Event, Partition, Payload, RunId, Signal, Timestamp, subject};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::harness::{Cluster, PARTITIONS, PATIENCE, WORKFLOW};

/// What each log may hold, in bytes.
const LIMIT: i64 = 1024 * 1024;

/// Bounds every log, or takes the bound away.
async fn bound(cluster: &Cluster, max_bytes: i64) {
    let jetstream = jetstream::new(cluster.client.clone());
    for partition in (0..PARTITIONS).map(Partition) {
        let mut stream = jetstream.get_stream(subject::log_stream(partition)).await.expect("is there");
        let mut config = stream.info().await.expect("answers").config.clone();
        config.max_bytes = max_bytes;
        jetstream.update_stream(config).await.expect("is changed");
    }
}

/// Fills every log by four fifths with signals to a run that is not there.
async fn fill(cluster: &Cluster) {
    for partition in (0..PARTITIONS).map(Partition) {
        let run = RunId::new(partition, Timestamp::from_millis(1), 1);
        let signal = || Signal::Cancel { reason: "x".repeat(64 * 1024) };
        let events = (0..13).map(|_| Event::Signalled { run, signal: signal() }).collect();
        cluster.backend.log.append(partition, events).await.expect("appends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn submits_wait_while_the_log_is_nearly_full_and_results_do_not() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    let admitted = cluster.ask("submit", json!({ "workflow": "report" })).await.expect("submits");
    let job = cluster.job().await;
    bound(&cluster, LIMIT).await;
    fill(&cluster).await;
    let refused = async {
        loop {
            // What was seen of the log before is believed for a moment.
            match cluster.ask("submit", json!({ "workflow": "report" })).await {
                Ok(_) => sleep(Duration::from_millis(20)).await,
                Err((code, body)) => break (code, body["reason"].clone()),
            }
        }
    };
    assert_eq!(timeout(PATIENCE, refused).await.expect("in time"), (503, json!("full")));
    cluster.publish("default.report", &[], r#"{"inputs": {"month": 42}}"#).await;
    cluster.settle(job, json!([])).await;
    let ended = async {
        while cluster.ask("get", admitted.clone()).await.expect("shows")["status"] != "succeeded" {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("what was admitted ends");

    bound(&cluster, -1).await;
    // Those before it were admitted while what had been seen of the log was still believed.
    while cluster.job().await.job.arguments != Payload::Inline(json!({ "month": 42 })) {}
    assert!(cluster.nats.dead_letters().list(1).await.expect("lists").is_empty(), "it was not thrown away");
    cluster.end().await;
}
