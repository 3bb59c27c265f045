//! Calls of jobs, and their outcomes.

use std::collections::BTreeSet;
use std::time::Duration;

use longshore_proto::{
    Attempt, Digest, FaultClass, Job, Outcome, Output, Payload, RetryPolicy, Sent, Settlement,
};
use serde_json::{Value, json};

use crate::harness::{Harness, safe};

fn value(outcome: Outcome) -> Payload {
    match outcome {
        Outcome::Output(Output { value, .. }) => value,
        other => panic!("no output: {other:?}"),
    }
}

#[tokio::test]
async fn job_is_called_once_settled_and_acknowledged() {
    let mut harness = Harness::started().await;
    let job = safe("one", "note", json!({ "text": "hello" }));
    harness.publish(&job).await;
    let (outcome, attempts) = harness.outcome(&job.id).await;
    assert_eq!(value(outcome), Payload::Inline(json!("hello")));
    assert_eq!(attempts.len(), 1);
    assert_eq!(
        (attempts[0].number, &attempts[0].fault, attempts[0].sent),
        (Attempt(1), &None, Sent::Answered)
    );
    harness.stopped().await;
    assert_eq!(harness.journal(), ["note hello"]);
    assert!(harness.left_the_queue(&job).await);
    harness.close().await;
}

#[tokio::test]
async fn each_retry_in_place_is_recorded_as_an_attempt() {
    let harness = Harness::started().await;
    let job = safe("one", "die", json!({ "survive_from": 3 }));
    harness.publish(&job).await;
    let (outcome, attempts) = harness.outcome(&job.id).await;
    assert_eq!(value(outcome), Payload::Inline(json!("alive")));
    let seen: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt.number.0, attempt.fault.as_ref().map(|fault| fault.class), attempt.sent))
        .collect();
    let died = Some(FaultClass::Unavailable);
    assert_eq!(seen, [(1, died, Sent::Maybe), (2, died, Sent::Maybe), (3, None, Sent::Answered)]);
    assert!(attempts.is_sorted_by_key(|attempt| attempt.started_at));
    assert!(
        attempts.iter().all(|attempt| attempt.worker.as_ref().is_some_and(|it| it.as_str() == "worker-1"))
    );
    // Each attempt ended its process, so each names another one.
    let made_by: BTreeSet<_> = attempts
        .iter()
        .filter_map(|attempt| attempt.process.as_ref().and_then(|it| Some((it.pid?, it.connection))))
        .collect();
    assert_eq!(made_by.len(), 3, "{attempts:?}");
    assert_eq!(harness.journal(), ["die", "die", "die"]);
    harness.close().await;
}

#[tokio::test]
async fn longer_delay_is_settled_for_another_attempt_by_the_scheduler() {
    let mut harness = Harness::started().await;
    let retry = RetryPolicy { jitter: false, delay: Duration::from_secs(20), ..RetryPolicy::default() };
    let job = Job { retry, ..safe("one", "die", json!({ "survive_from": 9 })) };
    harness.publish(&job).await;
    let (settlement, attempts) = harness.settled(&job.id).await;
    let Settlement::Again { at, fault } = settlement else { panic!("not again: {settlement:?}") };
    assert_eq!(fault.class, FaultClass::Unavailable);
    let ended = attempts[0].started_at.plus(attempts[0].took);
    assert_eq!(at.since(ended), Duration::from_secs(20));
    harness.stopped().await;
    assert!(harness.left_the_queue(&job).await, "waiting holds no place in the queue");
    harness.close().await;
}

#[tokio::test]
async fn error_of_the_tool_is_a_fault_with_its_text() {
    let harness = Harness::started().await;
    let job = safe("one", "report", json!({ "text": "disk full" }));
    harness.publish(&job).await;
    let fault = harness.fault(&job.id).await;
    assert_eq!((fault.class, fault.message.as_str()), (FaultClass::ToolError, "disk full"));
    harness.close().await;
}

#[tokio::test]
async fn large_result_is_stored_as_a_blob() {
    let harness = Harness::started().await;
    let job = safe("one", "big", json!({ "bytes": 100_000 }));
    harness.publish(&job).await;
    let Payload::Blob { digest, bytes } = value(harness.outcome(&job.id).await.0) else { panic!("inline") };
    let text = harness.backend.blobs.get(digest).await.expect("read").expect("kept");
    assert_eq!(text.len() as u64, bytes);
    assert_eq!(serde_json::from_slice::<Value>(&text).expect("JSON"), json!("x".repeat(100_000)));
    harness.close().await;
}

#[tokio::test]
async fn large_arguments_are_fetched_from_a_blob() {
    let harness = Harness::started().await;
    let text = json!({ "text": "from a blob" }).to_string().into_bytes();
    let bytes = text.len() as u64;
    let digest = harness.backend.blobs.put(text).await.expect("kept");
    let job = Job { arguments: Payload::Blob { digest, bytes }, ..safe("one", "note", json!({})) };
    harness.publish(&job).await;
    assert_eq!(value(harness.outcome(&job.id).await.0), Payload::Inline(json!("from a blob")));
    harness.close().await;
}

#[tokio::test]
async fn missing_or_invalid_arguments_are_a_fault_before_the_call() {
    let harness = Harness::started().await;
    let list = harness.backend.blobs.put(b"[1]".to_vec()).await.expect("kept");
    let cases = [
        ("missing", Payload::Blob { digest: Digest::of(b"nowhere"), bytes: 7 }, "is missing"),
        ("list", Payload::Blob { digest: list, bytes: 3 }, "not an object"),
        ("inline", Payload::Inline(json!(1)), "not an object"),
    ];
    for (step, arguments, why) in cases {
        let job = Job { arguments, ..safe(step, "note", json!({})) };
        harness.publish(&job).await;
        let fault = harness.fault(&job.id).await;
        assert_eq!(fault.class, FaultClass::Internal);
        assert!(fault.message.contains(why), "{fault}");
    }
    assert!(harness.journal().is_empty());
    harness.close().await;
}

#[tokio::test]
async fn each_of_many_jobs_is_called_once() {
    let harness = Harness::started().await;
    let jobs: Vec<_> =
        (0..300).map(|n| safe(&format!("step{n}"), "note", json!({ "text": n.to_string() }))).collect();
    harness.backend.jobs.publish(jobs.clone()).await.expect("published");
    for job in &jobs {
        harness.outcome(&job.id).await;
    }
    let mut calls = harness.journal();
    calls.sort();
    calls.dedup();
    assert_eq!((calls.len(), harness.journal().len()), (300, 300));
    harness.close().await;
}
