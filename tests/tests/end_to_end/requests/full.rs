//! A log that is nearly full: submits are refused while there is room for results, and accepted later. And a full queue:
//! results are still accepted.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::{self, stream::Config};
use longshore_ports::Delivery;
use longshore_proto::{Event, Namespace, Partition, Payload, RunId, Signal, Timestamp, subject};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::requests::harness::{Cluster, PARTITIONS, PATIENCE, WORKFLOW};

/// The limit of each log, in bytes.
const LIMIT: i64 = 1024 * 1024;

/// Sets the limit of every log, or removes it.
async fn bound(cluster: &Cluster, max_bytes: i64) {
    let jetstream = jetstream::new(cluster.client.clone());
    for partition in (0..PARTITIONS).map(Partition) {
        let mut stream = jetstream.get_stream(subject::log_stream(partition)).await.expect("is there");
        let mut config = stream.info().await.expect("answers").config.clone();
        config.max_bytes = max_bytes;
        jetstream.update_stream(config).await.expect("is changed");
    }
}

/// Fills four fifths of every log with signals to a run that does not exist.
async fn fill(cluster: &Cluster) {
    for partition in (0..PARTITIONS).map(Partition) {
        let run = RunId::new(partition, Timestamp::from_millis(1), 1);
        let signal = Signal::Cancel { reason: "x".repeat(64 * 1024) };
        let events = vec![Event::Signalled { run, namespace: Namespace::default(), signal }; 13];
        cluster.backend.log.append(partition, &events).await.expect("appends");
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
            // The fullness of the log is cached for a short time.
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
    // The submits before it were admitted while the cached fullness was still in use.
    let is_submit = |delivery: &Delivery| delivery.job.arguments == Payload::Inline(json!({ "month": 42 }));
    let mut delivery = cluster.job().await;
    // Kept, or the queue would deliver them again and again.
    let mut others = Vec::new();
    while !is_submit(&delivery) {
        others.push(std::mem::replace(&mut delivery, cluster.job().await));
    }
    assert!(
        cluster.nats.dead_letters().list(None, 1).await.expect("lists").is_empty(),
        "it was not thrown away"
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submit_without_room_for_its_large_inputs_is_refused_with_advice() {
    let cluster = Cluster::start().await;
    cluster.push(&WORKFLOW.replace("default: 1 }", "default: 1 }, text: { type: string }")).await;
    let jetstream = jetstream::new(cluster.client.clone());
    let mut stream = jetstream.get_stream(subject::BLOBS_STREAM).await.expect("is there");
    let config = Config { max_bytes: 64 * 1024, ..stream.info().await.expect("answers").config.clone() };
    jetstream.update_stream(config).await.expect("is changed");
    let submit = async |characters: usize| {
        let inputs = json!({ "text": "x".repeat(characters) });
        cluster.ask("submit", json!({ "workflow": "report", "inputs": inputs })).await
    };
    let (code, refusal) = submit(100_000).await.expect_err("is refused");
    assert_eq!((code, &refusal["reason"]), (503, &json!("full")), "{refusal}");
    let said = refusal["error"].as_str().expect("a text");
    assert!(said.contains("LS_BLOBS") && said.contains("`max_file`"), "{said}");
    submit(1_000).await.expect("small inputs are still taken in");
    cluster.end().await;
}

/// Sets the limit of the queue.
async fn bound_queue(cluster: &Cluster, max_messages: i64) {
    let jetstream = jetstream::new(cluster.client.clone());
    let mut stream = jetstream.get_stream(subject::JOBS_STREAM).await.expect("is there");
    let config = Config { max_messages, ..stream.info().await.expect("answers").config.clone() };
    jetstream.update_stream(config).await.expect("is changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_accepted_while_the_queue_is_full_and_jobs_are_sent_later() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    bound_queue(&cluster, 1).await;
    let first = cluster.ask("submit", json!({ "workflow": "report" })).await.expect("submits");
    let job = cluster.job().await;
    // Jobs of every partition, and so those of the first one, find the queue full.
    for number in 0..20 {
        let submit = json!({ "workflow": "report", "id": format!("n{number}") });
        cluster.ask("submit", submit).await.expect("submits");
    }
    cluster.report(&job, json!([])).await;
    let ended = async {
        while cluster.ask("get", first.clone()).await.expect("shows")["status"] != "succeeded" {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("no job waits for room");

    job.receipt.ack().await.expect("acks");
    let mut runs = BTreeSet::new();
    while runs.len() < 20 {
        let job = cluster.job().await;
        assert!(runs.insert(job.job.id.run), "sent once");
        cluster.settle(job, json!([])).await;
        bound_queue(&cluster, 1_000_000).await;
    }
    cluster.end().await;
}
