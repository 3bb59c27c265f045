//! Calls that a server of 2025-11-25 performs as tasks.

use std::path::PathBuf;
use std::time::Duration;

use longshore_proto::{CallActivity, FaultClass, Sent};
use longshore_worker::mcp::ServerPool;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::fixture::{
    PATIENCE, call, call_with_hooks, call_within, fault, file, lines, pool_of, script, until,
};

/// Returns a pool of the server with tasks, and the file in which it records calls and cancellations.
fn server(options: &[&str], longshore: Value) -> (ServerPool, PathBuf, TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let log = file(&dir, "log");
    let args: Vec<String> = [script("task_server.py"), log.display().to_string()]
        .into_iter()
        .chain(options.iter().map(|option| (*option).to_owned()))
        .collect();
    let pool = pool_of(json!({"command": "python3", "args": args, "longshore": longshore}));
    (pool, log, dir)
}

#[tokio::test]
async fn tool_that_needs_a_task_returns_the_result_of_its_task() {
    let (pool, log, _dir) = server(&[], json!({}));
    let answer = call(&pool, "works", json!({})).await.expect("an answer");
    assert_eq!(answer.value, json!({"key": "run/step"}), "the task has the `_meta` of the call");
    pool.close().await;
    // The time to live of the task is the longest time of the call with progress.
    assert_eq!(lines(&log), [r#"call works {"ttl": 90000}"#], "a task that has ended is not cancelled");
}

#[tokio::test]
async fn task_is_requested_only_if_the_server_performs_tasks_and_the_tool_needs_one() {
    for (options, tool, asked) in [
        (&[][..], "may", Value::Null),
        (&["--no-tasks"][..], "works", Value::Null),
        (&["--older"][..], "works", Value::Null),
        (&[][..], "at_once", json!({"ttl": 90000})),
    ] {
        let (pool, log, _dir) = server(options, json!({}));
        let answer = call(&pool, tool, json!({})).await.expect("an answer");
        assert_eq!(answer.value, json!({"task": asked}), "{options:?} {tool}");
        pool.close().await;
        assert_eq!(lines(&log).len(), 1, "{options:?} {tool}");
    }
}

#[tokio::test]
async fn task_without_a_result_is_a_fault_with_the_reason() {
    let (pool, log, _dir) = server(&[], json!({}));
    let lost = "the server performed the call as a task, and its result is not available: ";
    let cases = [
        (
            "fails",
            FaultClass::ToolError,
            Sent::Answered,
            "the task of the call failed: out of paper".to_owned(),
        ),
        (
            "raises",
            FaultClass::ToolError,
            Sent::Answered,
            "the task of the call failed: the printer is on fire".to_owned(),
        ),
        (
            "is_cancelled",
            FaultClass::ProtocolError,
            Sent::Maybe,
            format!("{lost}the server cancelled it: no credit left"),
        ),
        ("is_forgotten", FaultClass::ProtocolError, Sent::Maybe, format!("{lost}Task not found (-32602)")),
        (
            "is_odd",
            FaultClass::ProtocolError,
            Sent::Maybe,
            format!("{lost}the status of the task is unknown: half-done"),
        ),
        (
            "garbled",
            FaultClass::ProtocolError,
            Sent::Answered,
            "the server answered, and the answer cannot be read: its `resultType` is \"later\"".to_owned(),
        ),
        ("rejects", FaultClass::InvalidArguments, Sent::Never, "wrong arguments (-32602)".to_owned()),
    ];
    for (tool, class, sent, message) in cases {
        assert_eq!(fault(call(&pool, tool, json!({})).await), (class, sent, message));
    }
    pool.close().await;
    let cancelled: Vec<_> = lines(&log).into_iter().filter(|line| line.starts_with("cancel")).collect();
    assert_eq!(cancelled, ["cancel is_forgotten", "cancel is_odd"], "those that may still run");
}

#[tokio::test]
async fn failed_task_with_an_error_of_the_tool_is_that_error() {
    let (pool, _log, _dir) = server(&[], json!({}));
    let answer = call(&pool, "reports", json!({})).await.expect("an answer");
    assert_eq!((answer.is_error, answer.error_text.as_str()), (true, "no such page"));
    pool.close().await;
}

#[tokio::test]
async fn endless_task_reaches_the_deadline_of_its_call_and_is_cancelled() {
    let (pool, log, _dir) = server(&[], json!({}));
    call(&pool, "works", json!({})).await.expect("an answer");
    let (class, sent, message) =
        fault(call_within(&pool, "never", json!({}), Duration::from_millis(700)).await);
    assert_eq!((class, sent), (FaultClass::Timeout, Sent::Maybe));
    let wanted = "no answer within 700ms; the status of its task is `working`: part ";
    assert!(message.starts_with(wanted), "{message}");
    // Closing the connections waits until the server has the cancellation.
    pool.close().await;
    assert_eq!(lines(&log).last().map(String::as_str), Some("cancel never"));
}

#[tokio::test]
async fn progress_of_a_task_moves_the_deadline_of_its_call() {
    let (pool, _log, _dir) = server(&[], json!({}));
    call(&pool, "works", json!({})).await.expect("an answer");
    // At least nine polls with 100 ms between them, each within the deadline.
    let reported = std::sync::Mutex::new(Vec::new());
    let report = |activity| {
        if let CallActivity::Progress(progress) = activity {
            reported.lock().expect("no panic").push(progress.done);
        }
    };
    let within = Duration::from_millis(600);
    let uncancelled = CancellationToken::new();
    let answer = call_with_hooks(&pool, "progresses", json!({}), within, &report, &uncancelled).await;
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(*reported.lock().expect("no panic"), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    pool.close().await;
}

#[tokio::test]
async fn cancelled_call_cancels_its_task_before_the_connection_closes() {
    let (pool, log, _dir) = server(&[], json!({}));
    let cancel = CancellationToken::new();
    let called = call_with_hooks(&pool, "never", json!({}), PATIENCE, &|_| {}, &cancel);
    let at_work = async {
        until("the server has the call", || !lines(&log).is_empty()).await;
        // The server answers a call before it reads the next one, so this answer means that it has created the task.
        let works = call(&pool, "works", json!({})).await;
        cancel.cancel();
        works
    };
    let (called, works) = tokio::join!(called, at_work);
    let seen = fault(called);
    assert_eq!((seen.0, seen.1), (FaultClass::Cancelled, Sent::Maybe));
    assert!(works.is_ok());
    pool.close().await;
    assert_eq!(lines(&log).last().map(String::as_str), Some("cancel never"));
}

#[tokio::test]
async fn abandoned_call_cancels_its_task() {
    let (pool, log, _dir) = server(&[], json!({}));
    tokio::select! {
        ended = call(&pool, "never", json!({})) => panic!("{ended:?}"),
        () = async {
            until("the server has the call", || !lines(&log).is_empty()).await;
            call(&pool, "works", json!({})).await.expect("an answer");
        } => {}
    }
    pool.close().await;
    assert_eq!(lines(&log).last().map(String::as_str), Some("cancel never"));
}

#[tokio::test]
async fn call_whose_server_ends_during_its_task_may_have_happened() {
    let (pool, _log, _dir) = server(&[], json!({}));
    let (class, sent, message) = fault(call(&pool, "dies", json!({})).await);
    assert_eq!((class, sent), (FaultClass::Unavailable, Sent::Maybe));
    assert!(message.contains("exit status: 3") && message.contains("about to die"), "{message}");
    assert!(call(&pool, "works", json!({})).await.is_ok(), "the next call has a new server");
    pool.close().await;
}

#[tokio::test]
async fn question_of_a_task_is_answered_like_a_question_of_a_call() {
    for tool in ["asks", "asks_early"] {
        let (pool, _log, _dir) = server(&[], json!({"elicitation": "defaults"}));
        let answer = call(&pool, tool, json!({})).await;
        assert!(answer.is_ok(), "{tool}: {answer:?}");
        pool.close().await;
    }
}

#[tokio::test]
async fn question_of_a_task_without_an_answer_is_a_fault_that_says_so() {
    let (pool, log, _dir) = server(&[], json!({}));
    call(&pool, "works", json!({})).await.expect("an answer");
    let (class, sent, message) =
        fault(call_within(&pool, "asks", json!({}), Duration::from_millis(700)).await);
    assert_eq!((class, sent), (FaultClass::Timeout, Sent::Maybe), "{message}");
    let wanted =
        "; the status of its task is `input_required`: it waits for the answer of a person: which one?";
    assert!(message.ends_with(wanted), "{message}");
    let (class, sent, message) = fault(call(&pool, "asks_early", json!({})).await);
    assert_eq!((class, sent), (FaultClass::ProtocolError, Sent::Maybe), "{message}");
    assert!(message.contains("the server asked a person during the call: \"Which?\""), "{message}");
    pool.close().await;
    let cancelled: Vec<_> = lines(&log).into_iter().filter(|line| line.starts_with("cancel")).collect();
    assert_eq!(cancelled, ["cancel asks", "cancel asks_early"]);
}
