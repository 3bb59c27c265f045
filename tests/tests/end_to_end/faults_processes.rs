//! The processes of servers over stdio: none outlives a killed caller, and their limits hold.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use longshore_proto::{FaultClass, RunStatus, Sent, StepStatus};
use longshore_tests::broken_server::{broken, dying};
use longshore_tests::cluster::Cluster;
use longshore_tests::scratch::{Scratch, step};
use longshore_tests::wait::{is_gone, until};
use serde_json::{Value, json};

/// Returns a workflow of one call with a long timeout.
fn one_call(call: &str, with: &Value) -> String {
    let it = json!({ "id": "it", "call": call, "with": with, "timeout": "60s" });
    json!({ "longshore": "v1", "name": "one", "steps": [it], "outputs": { "it": "${{ steps.it.output }}" } })
        .to_string()
}

/// Returns a server that ignores the end of its input and SIGTERM. A shell started it and waits for it, and it has a child.
fn stubborn(scratch: &Scratch) -> Value {
    let (starts, grandchild) = (scratch.path().join("starts"), scratch.path().join("grandchild"));
    let options =
        ["--stay", "--starts", starts.to_str().unwrap(), "--grandchild", grandchild.to_str().unwrap()];
    let server = broken(&options);
    let words = server.get("args").and_then(Value::as_array).unwrap().iter().filter_map(Value::as_str);
    let line = words.collect::<Vec<_>>().join(" ");
    json!({ "command": "sh", "args": ["-c", format!("exec 3<&0; python3 {line} <&3 & wait")] })
}

/// Waits until the server and its child run, and returns their process ids.
async fn stubborn_pids(scratch: &Scratch) -> Vec<u32> {
    let pids = || {
        let files = ["starts", "grandchild"].map(|name| std::fs::read_to_string(scratch.path().join(name)));
        let lines = files.map(Result::unwrap_or_default);
        lines.iter().flat_map(|text| text.lines()).map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()
    };
    until("the server has started", || pids().len() == 2).await;
    pids()
}

async fn all_gone(pids: &[u32]) {
    until("no process of the server is left", || pids.iter().all(|pid| is_gone(*pid))).await;
}

#[tokio::test]
async fn a_killed_run_leaves_no_process_behind() {
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({ "bad": stubborn(&scratch) }));
    scratch.write("workflow.yaml", one_call("bad/never", &json!({})));
    let run = scratch.longshore(["run", "workflow.yaml"]).start();
    let pids = stubborn_pids(&scratch).await;
    assert!(pids.iter().all(|pid| !is_gone(*pid)));
    assert!(run.kill().await.was_killed());
    all_gone(&pids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_leaves_no_process_behind() {
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({ "bad": stubborn(&scratch) }));
    scratch.write("workflow.yaml", one_call("bad/never", &json!({})));
    let mut cluster = Cluster::start_in(scratch, 1, 1).await;
    cluster.client(["submit", "workflow.yaml"]).run().await.expecting(0);
    let pids = stubborn_pids(&cluster.scratch).await;
    assert!(cluster.kill_member(1).await.was_killed());
    all_gone(&pids).await;
}

#[tokio::test]
async fn completed_run_leaves_no_process_behind() {
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({ "bad": stubborn(&scratch) }));
    scratch.write("workflow.yaml", one_call("bad/echo", &json!({ "text": "hello" })));
    scratch.run().await.expecting(0);
    all_gone(&stubborn_pids(&scratch).await).await;
}

/// Writes a servers file with a server that has these limits.
fn limited(scratch: &Scratch, limits: &Value) {
    let mut server = dying(&scratch.path().join("calls"));
    server.as_object_mut().unwrap().insert("longshore".to_owned(), json!({ "limits": limits }));
    scratch.servers(&json!({ "s": server }));
}

#[tokio::test]
async fn the_limits_of_a_server_hold() {
    let scratch = Scratch::new(&json!({}));
    let limits = json!({ "memory_mb": 200, "open_files": 64, "file_mb": 1, "cpu_seconds": 20 });
    limited(&scratch, &limits);
    scratch.write("workflow.yaml", one_call("s/limits", &json!({ "allocate_mb": 150 })));
    let found = scratch.run().await.expecting(0).json();
    let wanted =
        json!({ "core": 0, "cpu": 20, "data": 200 << 20, "files": 64, "file": 1 << 20, "allocated": true });
    assert_eq!(found, json!({ "it": wanted }));
    scratch.write("workflow.yaml", one_call("s/limits", &json!({ "allocate_mb": 250 })));
    let found = scratch.run().await.expecting(0).json();
    assert_eq!(found.pointer("/it/allocated"), Some(&json!(false)), "{found}");
}

#[tokio::test]
async fn a_server_without_limits_leaves_no_core_dump() {
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({ "s": dying(&scratch.path().join("calls")) }));
    scratch.write("workflow.yaml", one_call("s/limits", &json!({ "allocate_mb": 1 })));
    assert_eq!(scratch.run().await.expecting(0).json().pointer("/it/core"), Some(&json!(0)));
}

#[tokio::test]
async fn fault_of_a_server_that_hits_a_limit_names_the_limit() {
    let scratch = Scratch::new(&json!({}));
    limited(&scratch, &json!({ "cpu_seconds": 1 }));
    scratch.write("workflow.yaml", one_call("s/spin", &json!({})));
    scratch.run().await.expecting(20).saying(&["signal: 24 (SIGXCPU), at its limit `cpu_seconds`"]);
    let run = scratch.newest().await;
    let it = step(&run, "it");
    assert_eq!((run.summary.status, it.status), (RunStatus::Failed, StepStatus::Indeterminate));
    assert_eq!(it.error.as_ref().unwrap().class, FaultClass::Unavailable);
    assert_eq!(it.attempts.iter().map(|attempt| attempt.sent).collect::<Vec<_>>(), [Sent::Maybe]);
}

#[tokio::test]
async fn a_server_is_reported_with_its_own_process_id() {
    let scratch = Scratch::new(&json!({}));
    let starts = scratch.path().join("starts");
    scratch.servers(&json!({ "s": broken(&["--starts", starts.to_str().unwrap()]) }));
    let listed = scratch.longshore(["servers", "list", "--json"]).run().await.expecting(0).json();
    let started: u64 = scratch.read("starts").trim().parse().unwrap();
    assert_eq!(
        listed.pointer("/pid").or_else(|| listed.pointer("/report/pid")),
        Some(&json!(started)),
        "{listed}"
    );
}
