//! Claims of calls with a key of their own, and deliveries after the first.

use std::time::Duration;

use longshore_proto::{ClaimKey, ClaimResult, FaultClass, Job, NodeId, Outcome, Sent, Settlement};
use longshore_worker::WorkerConfig;
use serde_json::json;

use crate::harness::{Harness, safe, with_own_key};

const LEASE: Duration = Duration::from_secs(60);

fn other() -> NodeId {
    "worker-2".parse().expect("a node id")
}

/// Asks for a claim as another worker would.
async fn claim(harness: &Harness, key: &ClaimKey, lease: Duration) -> ClaimResult {
    harness.backend.claims.claim(key, &other(), lease).await.expect("an answer")
}

#[tokio::test]
async fn call_with_a_lapsed_claim_is_made_because_its_key_makes_it_safe() {
    let mut harness = Harness::new().await;
    let job = with_own_key("pay", "note", json!({ "text": "paid" }));
    let key = job.claim().expect("a claim");
    assert_eq!(claim(&harness, &key, Duration::ZERO).await, ClaimResult::Won);
    harness.publish(&job).await;
    harness.start(WorkerConfig::default());
    assert!(matches!(harness.outcome(&job.id).await.0, Outcome::Output(_)));
    harness.stopped().await;
    assert_eq!(harness.journal(), ["note paid"]);
    assert_eq!(claim(&harness, &key, LEASE).await, ClaimResult::Done);
    assert!(harness.left_the_queue(&job).await);
    harness.close().await;
}

#[tokio::test]
async fn job_with_a_busy_claim_is_returned_to_the_queue() {
    let mut harness = Harness::new().await;
    let job = with_own_key("pay", "note", json!({ "text": "paid" }));
    claim(&harness, &job.claim().expect("a claim"), LEASE).await;
    harness.publish(&job).await;
    harness.start(WorkerConfig::default());
    let last = safe("last", "note", json!({ "text": "last" }));
    harness.publish(&last).await;
    harness.outcome(&last.id).await;
    harness.stopped().await;
    assert!(!harness.left_the_queue(&job).await, "it is still queued");
    assert_eq!(harness.journal(), ["note last"]);
    harness.close().await;
}

#[tokio::test]
async fn claim_of_a_call_that_was_not_sent_is_released() {
    let mut harness = Harness::new().await;
    let mut job = with_own_key("pay", "note", json!({ "text": "paid" }));
    job.server = "absent".parse().expect("a server name");
    job.retry.delay = Duration::from_secs(20);
    harness.publish(&job).await;
    harness.start(WorkerConfig::default());
    let (settlement, attempts) = harness.settled(&job.id).await;
    assert!(matches!(settlement, Settlement::Again { .. }), "{settlement:?}");
    assert_eq!(attempts[0].sent, Sent::Never);
    harness.stopped().await;
    assert_eq!(claim(&harness, &job.claim().expect("a claim"), LEASE).await, ClaimResult::Won);
    harness.close().await;
}

/// Starts a worker with a job that was delivered ten times before.
async fn poisoned(job: &Job) -> Harness {
    let mut harness = Harness::new().await;
    harness.publish(job).await;
    for delivered in 1..=10 {
        assert_eq!(harness.take().await.expect("a job").delivered, delivered);
    }
    harness.start(WorkerConfig::default());
    harness
}

#[tokio::test]
async fn poison_is_settled_without_another_call() {
    let job = safe("read", "note", json!({}));
    let harness = poisoned(&job).await;
    let fault = harness.fault(&job.id).await;
    assert_eq!(fault.class, FaultClass::Internal);
    assert!(fault.message.starts_with("poison"), "{fault}");
    assert!(harness.journal().is_empty());
    harness.close().await;
}
