//! Timers belong to the run, not to a process: a delay and a deadline continue while no process runs.

use std::time::Duration;

use longshore_proto::{FaultClass, RunStatus, StepStatus};
use longshore_tests::broken_server::dying;
use longshore_tests::scratch::{Scratch, step};
use longshore_tests::wait::until;
use serde_json::{Value, json};

/// Makes a folder with a workflow of one step, and a server that records its calls.
fn scratch(workflow: &Value) -> Scratch {
    let scratch = Scratch::with(&workflow.to_string(), &json!({}));
    scratch.servers(&json!({ "slow": dying(&scratch.path().join("calls")) }));
    scratch
}

/// Returns the number of calls that reached the server.
fn calls(scratch: &Scratch) -> usize {
    std::fs::read_to_string(scratch.path().join("calls")).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn delayed_attempt_is_made_and_counted_after_its_process_was_killed() {
    let scratch = scratch(&json!({
        "longshore": "v1", "name": "again", "steps": [{
            "id": "it", "call": "slow/die", "with": { "survive_from": 2 },
            "retry": { "attempts": 2, "delay": "2s", "jitter": false },
        }],
    }));
    let started = scratch.longshore(["run", "workflow.yaml"]).start();
    until("it waits for its next attempt", || started.stderr().contains("retrying")).await;
    started.kill().await;
    assert_eq!(calls(&scratch), 1);

    scratch.longshore(["resume"]).run().await.expecting(0);
    let run = scratch.newest().await;
    let attempts = &step(&run, "it").attempts;
    let faults: Vec<_> =
        attempts.iter().map(|attempt| attempt.fault.as_ref().map(|fault| fault.class)).collect();
    assert_eq!(faults, [Some(FaultClass::Unavailable), None]);
    let waited = attempts[1].started_at.as_millis() - attempts[0].started_at.as_millis();
    assert!(waited >= 2_000, "the second attempt came {waited} ms after the first");
    assert_eq!(calls(&scratch), 2);
}

#[tokio::test]
async fn deadline_of_a_run_passes_while_no_process_runs() {
    let scratch = scratch(&json!({
        "longshore": "v1", "name": "late", "timeout": "6s",
        "steps": [{ "id": "it", "call": "slow/hang", "retry": 3 }],
    }));
    let started = scratch.longshore(["run", "workflow.yaml"]).start();
    until("the call is made", || calls(&scratch) == 1).await;
    started.kill().await;
    // Longer than the remaining time: the test waits for the deadline itself.
    tokio::time::sleep(Duration::from_secs(6)).await;

    let resumed = scratch.longshore(["resume"]).run().await.expecting(20).saying(&["timeout of 6s"]);
    assert!(resumed.took < Duration::from_secs(10), "the run does not wait: {resumed}");
    let run = scratch.newest().await;
    let fault = run.summary.error.as_ref().map(|fault| fault.class);
    assert_eq!((run.summary.status, fault), (RunStatus::Failed, Some(FaultClass::Timeout)));
    assert_eq!(step(&run, "it").status, StepStatus::Cancelled);
}

#[tokio::test]
async fn deadline_of_a_group_ends_its_members_and_the_run_continues() {
    let scratch = scratch(&json!({
        "longshore": "v1", "name": "group", "steps": [
            { "id": "warm", "call": "slow/note", "with": { "text": "the server has started" } },
            { "id": "both", "timeout": "3s", "continue-on-error": true, "parallel": [
                { "id": "quick", "call": "slow/note", "with": { "text": "done" } },
                { "id": "stuck", "call": "slow/hang", "retry": 2 },
            ] },
            { "id": "after", "call": "slow/note", "with": { "text": "${{ steps.both.status }}" } },
        ],
        "outputs": { "group": "${{ steps.after.output }}" },
    }));
    assert_eq!(scratch.run().await.expecting(0).json(), json!({ "group": "failed" }));
    let run = scratch.newest().await;
    let statuses = ["both", "quick", "stuck", "after"].map(|path| step(&run, path).status);
    assert_eq!(
        statuses,
        [StepStatus::Failed, StepStatus::Succeeded, StepStatus::Cancelled, StepStatus::Succeeded]
    );
}
