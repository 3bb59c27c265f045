//! Processes of servers that flood their output, that end after each call, and that ignore signals.

use std::collections::BTreeSet;

use longshore_proto::{FaultClass, Sent, StepStatus};
use longshore_tests::wait::{is_gone, until};
use serde_json::{Value, json};

use crate::cases::folder::{Case, WORKFLOW};

/// Waits until the server that ignores signals has started, and returns its process ids.
async fn started(case: &Case) -> Vec<u32> {
    until("the server has started", || case.read("pids").ends_with('\n')).await;
    case.read("pids").split_whitespace().map(|pid| pid.parse().expect("a process id")).collect()
}

async fn all_gone(pids: &[u32]) {
    until("no process of the server is left", || pids.iter().all(|pid| is_gone(*pid))).await;
}

#[tokio::test]
async fn a_run_that_ends_leaves_no_process() {
    let case = Case::of("38-orphans");
    case.run(WORKFLOW).await.expecting(0);
    all_gone(&started(&case).await).await;
}

#[tokio::test]
async fn a_run_that_is_interrupted_leaves_no_process() {
    let case = Case::of("38-orphans");
    let run = case.running(WORKFLOW, &["-i", "seconds=100"]).start();
    let pids = started(&case).await;
    until("the call is under way", || case.received("tools/call") == 1).await;
    run.interrupt();
    run.end().await.expecting(21).saying(&["cancelled: interrupted at the terminal"]);
    all_gone(&pids).await;
}

#[tokio::test]
async fn a_run_that_is_killed_leaves_no_process() {
    let case = Case::of("38-orphans");
    let run = case.running(WORKFLOW, &["-i", "seconds=100"]).start();
    let pids = started(&case).await;
    until("the call is under way", || case.received("tools/call") == 1).await;
    assert!(pids.iter().all(|pid| !is_gone(*pid)));
    assert!(run.kill().await.was_killed());
    all_gone(&pids).await;
}

#[tokio::test]
async fn floods_of_standard_error_and_log_messages_do_not_delay_a_call() {
    let case = Case::of("46-floods");
    assert_eq!(case.outputs().await, json!({ "f": "done" }));
    assert_eq!(case.step("f").await.attempts.len(), 1);
}

#[tokio::test]
async fn a_server_that_ends_after_each_call_is_started_for_each() {
    let case = Case::of("46-floods");
    let found = case.run("oneshot.yaml").await.expecting(0).json();
    assert_eq!(found, json!({ "all": ["done", "done", "done"] }));
    assert_eq!(case.received("tools/call"), 3, "no call was made twice");
}

#[tokio::test]
async fn call_that_an_ending_server_did_not_read_is_repeated() {
    let case = Case::of("46-floods");
    let found = case.run("leaving.yaml").await.expecting(0).json();
    let by = found.pointer("/all").and_then(Value::as_array).expect("a list");
    let by: BTreeSet<_> = by.iter().filter_map(Value::as_str).collect();
    assert_eq!(by.len(), 3, "each by a process of its own: {by:?}");
    assert_eq!(case.received("tools/call"), 3, "no call was read twice");
    for path in ["b", "c"] {
        let step = case.step(path).await;
        assert_eq!((step.status, step.attempts.len()), (StepStatus::Succeeded, 2), "{step:#?}");
        let first = step.attempts.first().expect("an attempt");
        let fault = first.fault.as_ref().expect("a fault");
        assert_eq!((fault.class, first.sent), (FaultClass::Unavailable, Sent::Never), "{fault}");
        assert!(fault.message.contains("before the server read the request"), "{fault}");
    }
}
