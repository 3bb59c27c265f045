//! Isolation of crashes: with several processes, a crash ends the calls of one. A job that crashed before gets its own process.

use futures::future::join_all;
use longshore_proto::{FaultClass, Partition, RunId, Sent, StepPath, Timestamp};
use longshore_worker::mcp::{CallingJob, ServerPool};
use serde_json::{Value, json};

use crate::fixture::{call, call_of, entry, fault, file, lines, pool_of, script, until};

fn run(number: u64) -> RunId {
    RunId::new(Partition(0), Timestamp::from_millis(number), 1)
}

fn step() -> StepPath {
    "it".parse().expect("a path")
}

/// Calls a tool for this job, and returns the process that answered.
async fn process(pool: &ServerPool, run: RunId, delivered: u32) -> Value {
    let step = step();
    let job = CallingJob { run, step: &step, delivered };
    call_of(pool, "pid", json!({}), Some(job)).await.expect("an answer").value
}

#[tokio::test]
async fn crash_ends_the_calls_of_one_process_only() {
    let dir = tempfile::tempdir().expect("a folder");
    let starts = file(&dir, "starts");
    let settings = json!({ "pool": 4, "max_concurrency": 9 });
    let pool = pool_of(entry(&["--starts", &starts.display().to_string()], settings));
    let others = join_all((0..8).map(|_| call(&pool, "slow", json!({"seconds": 3}))));
    let crash = async {
        until("all processes have started", || lines(&starts).len() == 4).await;
        call(&pool, "die", json!({})).await
    };
    let (others, crash) = tokio::join!(others, crash);
    let (class, sent, _) = fault(crash);
    assert_eq!((class, sent), (FaultClass::Unavailable, Sent::Maybe));
    assert_eq!(others.iter().filter(|other| other.is_ok()).count(), 6, "two of eight shared the process");
    pool.close().await;
}

#[tokio::test]
async fn sequential_calls_start_one_process() {
    let dir = tempfile::tempdir().expect("a folder");
    let starts = file(&dir, "starts");
    let pool = pool_of(entry(&["--starts", &starts.display().to_string()], json!({ "pool": 4 })));
    for _ in 0..5 {
        call(&pool, "echo", json!({})).await.expect("an answer");
    }
    assert_eq!(lines(&starts).len(), 1);
    pool.close().await;
}

#[tokio::test]
async fn calls_of_a_run_use_the_same_process_of_a_stateful_server() {
    let pool = pool_of(entry(&[], json!({ "pool": 4, "stateful": true, "max_concurrency": 8 })));
    let mut processes = Vec::new();
    for number in 0..12 {
        let calls = join_all((0..3).map(|_| process(&pool, run(number), 9))).await;
        assert!(calls.iter().all(|pid| *pid == calls[0]), "{calls:?}");
        processes.push(calls[0].to_string());
    }
    processes.sort();
    processes.dedup();
    assert!((2..=4).contains(&processes.len()), "runs are spread: {processes:?}");
    pool.close().await;
}

#[tokio::test]
async fn run_whose_stateful_process_has_ended_gets_a_fault() {
    let pool = pool_of(entry(&[], json!({ "stateful": true })));
    let step = step();
    let call = |run, tool: &'static str| {
        let job = CallingJob { run, step: &step, delivered: 1 };
        let pool = &pool;
        async move { call_of(pool, tool, json!({}), Some(job)).await }
    };
    call(run(1), "echo").await.expect("an answer");
    call(run(2), "echo").await.expect("an answer");
    assert_eq!(fault(call(run(1), "die").await).0, FaultClass::Unavailable);
    for run in [run(1), run(2)] {
        let (class, sent, message) = fault(call(run, "echo").await);
        assert_eq!((class, sent), (FaultClass::StateLost, Sent::Never), "{message}");
    }
    call(run(3), "echo").await.expect("a run without state gets a new process");
    assert_eq!(
        fault(call(run(1), "echo").await).0,
        FaultClass::StateLost,
        "also after the new process has started"
    );
    pool.close().await;
}

#[tokio::test]
async fn job_whose_process_crashed_is_isolated_until_it_is_answered() {
    let pool = pool_of(entry(&[], json!({})));
    let step = step();
    let (bad, good) = (run(1), run(2));
    let die = || call_of(&pool, "die", json!({}), Some(CallingJob { run: bad, step: &step, delivered: 1 }));
    fault(die().await);
    let shared = process(&pool, good, 1).await;
    // The second crash of the job ends no other call.
    let (other, crash) = tokio::join!(call(&pool, "slow", json!({"seconds": 1})), die());
    assert_eq!(fault(crash).1, Sent::Maybe);
    assert_eq!(other.expect("an answer").value, "slept");
    assert_eq!(process(&pool, good, 1).await, shared);
    assert_ne!(process(&pool, bad, 1).await, shared, "still isolated");
    assert_eq!(process(&pool, bad, 1).await, shared, "shared again after its answer");
    assert_ne!(process(&pool, bad, 3).await, shared, "isolated from the third delivery on");
    pool.close().await;
}

#[tokio::test]
async fn call_that_an_ending_server_did_not_read_counts_as_not_sent() {
    let pool = pool_of(json!({ "command": "python3", "args": [script("leaving_server.py")] }));
    call(&pool, "once", json!({})).await.expect("an answer");
    // The server gives no further answer, and ends once this request is in its input.
    let (class, sent, message) = fault(call(&pool, "once", json!({})).await);
    assert_eq!((class, sent), (FaultClass::Unavailable, Sent::Never), "{message}");
    assert!(message.contains("before the server read the request"), "{message}");
    call(&pool, "once", json!({})).await.expect("an answer of a new process");
    // If one byte was read, the call may have happened.
    let (class, sent, message) = fault(call(&pool, "once", json!({ "read": 1 })).await);
    assert_eq!((class, sent), (FaultClass::Unavailable, Sent::Never), "{message}");
    call(&pool, "once", json!({ "read": 1 })).await.expect("an answer");
    let (class, sent, message) = fault(call(&pool, "once", json!({})).await);
    assert_eq!((class, sent), (FaultClass::Unavailable, Sent::Maybe), "{message}");
    pool.close().await;
}
