//! Grants of calls that are not safe to repeat.

use longshore_proto::{DeliveryId, Event, Job, Outcome};
use longshore_worker::WorkerConfig;
use serde_json::json;

use crate::harness::{Harness, safe, unsafe_to_repeat, until};

#[tokio::test]
async fn unsafe_call_is_made_once_it_is_granted() {
    let mut harness = Harness::without_leader().await;
    let job = unsafe_to_repeat("pay", "note", json!({ "text": "paid" }));
    harness.publish(&job).await;
    harness.start(WorkerConfig::default());
    until("a request", || async { harness.starting(&job.id).await > 0 }).await;
    assert!(harness.journal().is_empty(), "no call before the grant");
    harness.lead();
    assert!(matches!(harness.outcome(&job.id).await.0, Outcome::Output(_)));
    assert_eq!(harness.journal(), ["note paid"]);
    harness.close().await;
}

#[tokio::test]
async fn request_without_an_answer_is_repeated() {
    let mut harness = Harness::without_leader().await;
    let job = unsafe_to_repeat("pay", "note", json!({ "text": "paid" }));
    harness.publish(&job).await;
    harness.start(WorkerConfig::default());
    until("a second request", || async { harness.starting(&job.id).await > 1 }).await;
    harness.lead();
    harness.outcome(&job.id).await;
    assert_eq!(harness.journal(), ["note paid"]);
    harness.close().await;
}

#[tokio::test]
async fn denied_job_leaves_the_queue_without_a_call_or_a_report() {
    let mut harness = Harness::new().await;
    let job = unsafe_to_repeat("pay", "note", json!({ "text": "paid" }));
    let delivery = DeliveryId { worker: "worker-2".parse().expect("a node id"), number: 1 };
    harness.append(Event::Starting { job: job.id.clone(), delivery }).await;
    harness.publish(&job).await;
    harness.start(WorkerConfig::default());
    until("the end of the delivery", || harness.left_the_queue(&job)).await;
    assert!(harness.journal().is_empty(), "no call");
    assert!(!harness.is_settled(&job.id).await, "no report");
    harness.close().await;
}

#[tokio::test]
async fn stopping_worker_returns_the_grant_and_the_job() {
    let mut harness = Harness::without_leader().await;
    harness.start(WorkerConfig { drain: std::time::Duration::ZERO, ..WorkerConfig::default() });
    let job = unsafe_to_repeat("pay", "note", json!({ "text": "paid" }));
    harness.publish(&job).await;
    until("a request", || async { harness.starting(&job.id).await > 0 }).await;
    harness.stopped().await;
    assert!(harness.is_returned(&job.id).await);
    assert_eq!(harness.take().await.expect("given back").job.id, job.id);
    harness.close().await;
}

#[tokio::test]
async fn job_that_waits_for_its_grant_does_not_hold_up_other_jobs_of_its_server() {
    let mut harness = Harness::without_leader().await;
    let on_single = |job: Job| Job { server: "single".parse().expect("a server name"), ..job };
    let waiting = on_single(unsafe_to_repeat("pay", "note", json!({ "text": "paid" })));
    harness.publish(&waiting).await;
    harness.start(WorkerConfig::default());
    until("a request", || async { harness.starting(&waiting.id).await > 0 }).await;
    let other = on_single(safe("read", "note", json!({ "text": "read" })));
    harness.publish(&other).await;
    harness.outcome(&other.id).await;
    assert_eq!(harness.journal(), ["note read"]);
    harness.lead();
    harness.outcome(&waiting.id).await;
    assert_eq!(harness.journal(), ["note read", "note paid"]);
    harness.close().await;
}
