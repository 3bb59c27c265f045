//! Recalls, and the drain of a worker.

use std::time::Duration;

use longshore_proto::{FaultClass, Outcome};
use longshore_worker::WorkerConfig;
use serde_json::json;

use crate::harness::{Harness, open, safe, unsafe_to_repeat};

#[tokio::test]
async fn recall_before_the_start_settles_without_a_call() {
    let mut harness = Harness::new().await;
    for job in [safe("read", "note", json!({})), unsafe_to_repeat("pay", "note", json!({}))] {
        harness.publish(&job).await;
        harness.backend.jobs.recall(std::slice::from_ref(&job.id)).await.expect("recalled");
    }
    harness.start(WorkerConfig::default());
    for job in [safe("read", "note", json!({})), unsafe_to_repeat("pay", "note", json!({}))] {
        assert_eq!(harness.fault(&job.id).await.class, FaultClass::Cancelled);
    }
    assert!(harness.journal().is_empty());
    harness.close().await;
}

#[tokio::test]
async fn recall_during_the_call_cancels_it_and_an_unsafe_call_is_indeterminate() {
    let harness = Harness::started().await;
    let (safe, not) = (safe("read", "hang", json!({})), unsafe_to_repeat("pay", "hang", json!({})));
    for (calls, job) in [(1, &safe), (2, &not)] {
        harness.publish(job).await;
        harness.called(calls).await;
        harness.backend.jobs.recall(std::slice::from_ref(&job.id)).await.expect("recalled");
    }
    assert_eq!(harness.fault(&safe.id).await.class, FaultClass::Cancelled);
    let fault = harness.indeterminate(&not.id).await;
    assert_eq!(fault.class, FaultClass::Cancelled);
    assert!(fault.message.contains("in flight"), "{fault}");
    harness.close().await;
}

#[tokio::test]
async fn recall_during_a_wait_ends_the_retries() {
    let harness = Harness::started().await;
    let mut job = safe("read", "die", json!({ "survive_from": 9 }));
    job.retry.delay = Duration::from_secs(1);
    harness.publish(&job).await;
    harness.called(1).await;
    harness.backend.jobs.recall(std::slice::from_ref(&job.id)).await.expect("recalled");
    assert_eq!(harness.fault(&job.id).await.class, FaultClass::Cancelled);
    assert_eq!(harness.journal().len(), 1);
    harness.close().await;
}

#[tokio::test]
async fn drain_lets_calls_end_and_pulls_no_jobs() {
    let mut harness = Harness::started().await;
    let gate = harness.file("gate");
    let begun = unsafe_to_repeat("pay", "gate", json!({ "path": gate }));
    harness.publish(&begun).await;
    harness.called(1).await;
    harness.stop.cancel();
    let late = safe("late", "note", json!({}));
    harness.publish(&late).await;
    open(&gate);
    harness.stopped().await;
    assert!(matches!(harness.outcome(&begun.id).await.0, Outcome::Output(_)));
    assert!(harness.left_the_queue(&begun).await);
    assert_eq!(harness.take().await.expect("left in the queue").delivered, 1);
    assert_eq!(harness.journal().len(), 1);
    harness.close().await;
}

#[tokio::test]
async fn end_of_the_drain_returns_safe_jobs_and_settles_indeterminate_calls() {
    let mut harness = Harness::new().await;
    harness.start(WorkerConfig { drain: Duration::from_millis(50), ..WorkerConfig::default() });
    let (safe, not) = (safe("read", "hang", json!({})), unsafe_to_repeat("pay", "hang", json!({})));
    harness.publish(&safe).await;
    harness.publish(&not).await;
    harness.called(2).await;
    harness.stopped().await;
    let fault = harness.indeterminate(&not.id).await;
    assert!(fault.message.contains("the worker stopped"), "{fault}");
    let back = harness.take().await.expect("given back");
    assert_eq!((&back.job.id, back.delivered), (&safe.id, 2));
    assert!(harness.left_the_queue(&not).await);
    harness.close().await;
}
