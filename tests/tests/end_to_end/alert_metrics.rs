//! The metrics of the alerts are exported from the start, and count correctly.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use async_nats::jetstream;
use futures::TryStreamExt;
use longshore_tests::cluster::{Cluster, PARTITIONS};
use longshore_tests::monitored::MonitoredProcess;
use longshore_tests::wait::until;

/// Metrics without a series until a client has named a workflow, a server has jobs, or a worker has connected to a server.
const NAMED_BY_CLIENTS: [&str; 3] =
    ["longshore_runs_finished_total", "longshore_server_oldest_job_age_seconds", "longshore_mcp_server_up"];

/// The counters of restored streams.
const RESTORED: [&str; 6] = [
    "longshore_streams_restored_total{stream=\"LS_LOG\"}",
    "longshore_streams_restored_total{stream=\"LS_SUBMIT\"}",
    "longshore_streams_restored_total{stream=\"LS_JOBS\"}",
    "longshore_streams_restored_total{stream=\"LS_BLOBS\"}",
    "longshore_streams_restored_total{stream=\"KV_LS_WORKFLOWS\"}",
    "longshore_streams_restored_total{stream=\"LS_DLQ\"}",
];

/// Returns the names of the metrics in the shipped alerts.
fn alerted() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy/prometheus/alerts.yaml");
    let alerts = std::fs::read_to_string(path).unwrap();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = alerts.split(|c| !is_name(c)).filter(|word| word.starts_with("longshore_"));
    words.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_alerts_is_exported_from_the_start() {
    let cluster = Cluster::start(1, 0, 0).await;
    let (scheduler, worker) =
        (MonitoredProcess::start(&cluster, "scheduler"), MonitoredProcess::start(&cluster, "worker"));
    let metrics = alerted();
    assert!(metrics.len() > 12, "{metrics:?}");
    for metric in metrics.iter().filter(|metric| !NAMED_BY_CLIENTS.contains(&metric.as_str())) {
        until(metric, || scheduler.exports(metric) || worker.exports(metric)).await;
    }
    let mut counters: Vec<String> = RESTORED.map(str::to_owned).to_vec();
    for reason in ["malformed", "unknown_workflow", "invalid_inputs", "quota", "poison", "internal"] {
        counters.push(format!("longshore_dlq_messages_total{{reason=\"{reason}\"}}"));
    }
    for reason in ["full", "quota", "unknown_workflow", "ended"] {
        counters.push(format!("longshore_requests_refused_total{{reason=\"{reason}\"}}"));
    }
    for operation in ["append", "checkpoint", "queue", "blob", "lease", "submit", "dead_letter", "takeover"] {
        for reason in ["full", "denied", "missing", "damaged", "unavailable", "other"] {
            let labels = format!("operation=\"{operation}\",reason=\"{reason}\"");
            counters.push(format!("longshore_store_failures_total{{{labels}}}"));
        }
    }
    for counter in counters {
        assert!(scheduler.metric(&counter).is_some(), "{counter}: {:?}", scheduler.get("/metrics"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn age_of_a_checkpoint_is_exported_by_the_leader_of_its_partition_alone() {
    let mut cluster = Cluster::start(1, 0, 0).await;
    let first = MonitoredProcess::start(&cluster, "scheduler");
    first.is_ready("the first scheduler is ready").await;
    cluster.end_member(0).await.expecting(0);
    let of = |name: &str, partition: u16| format!("{name}{{partition=\"{partition:02}\"}}");
    let leads = |process: &MonitoredProcess, partition| {
        process.metric(&of("longshore_partition_led", partition)) == Some(1.0)
    };
    let has_age = |process: &MonitoredProcess, partition| {
        process.metric(&of("longshore_checkpoint_age_seconds", partition)).is_some()
    };
    until("the first scheduler has all ages", || (0..PARTITIONS).all(|partition| has_age(&first, partition)))
        .await;
    let second = MonitoredProcess::start(&cluster, "scheduler");
    let has_part = || (0..PARTITIONS).any(|partition| leads(&second, partition) && !leads(&first, partition));
    until("the second scheduler has its part", has_part).await;
    let is_of_led =
        || (0..PARTITIONS).all(|partition| has_age(&first, partition) == leads(&first, partition));
    until("the ages of that part are no longer exported by the first", is_of_led).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_were_lost_are_counted_once_they_are_made_again() {
    let mut cluster = Cluster::start(1, 0, 0).await;
    let (first, second) =
        (MonitoredProcess::start(&cluster, "scheduler"), MonitoredProcess::start(&cluster, "scheduler"));
    first.is_ready("the first scheduler is ready").await;
    second.is_ready("the second scheduler is ready").await;
    // The other two schedulers create them again, at the same time.
    cluster.end_member(0).await.expecting(0);
    let restored = || {
        let each = RESTORED.iter().map(|series| Some(first.metric(series)? + second.metric(series)?));
        each.sum::<Option<f64>>()
    };
    until("nothing was lost yet", || restored() == Some(0.0)).await;
    let context = jetstream::new(async_nats::connect(cluster.nats.url()).await.unwrap());
    let streams: Vec<String> = context.stream_names().try_collect().await.unwrap();
    let count = f64::from(u32::try_from(streams.len()).unwrap());
    cluster.nats.kill().await;
    cluster.nats.lose_store();
    cluster.nats.start_again().await;
    until("each is counted", || restored() >= Some(count)).await;
    first.is_ready("the first scheduler is ready again").await;
    second.is_ready("the second scheduler is ready again").await;
    assert_eq!(restored(), Some(count), "each is counted once");
    let logs = first.metric(RESTORED[0]).unwrap() + second.metric(RESTORED[0]).unwrap();
    assert_eq!(logs, f64::from(PARTITIONS), "logs are one kind");
}
