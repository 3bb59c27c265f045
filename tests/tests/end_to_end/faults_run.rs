//! Problems during a run that no server causes: failing expressions, interrupts, and other processes.

use longshore_embedded::{Access, Embedded, PARTITIONS};
use longshore_proto::{FaultClass, Partition, RunStatus, StepStatus};
use longshore_tests::broken_server::dying;
use longshore_tests::scratch::{Scratch, step};
use longshore_tests::tables::Tables;
use longshore_tests::wait::until;
use serde_json::json;

/// A step that waits until the file `open` exists, another one after it, and the outputs of both.
const GATED: &str = r"
longshore: v1
name: gated
inputs:
  path: { type: string, required: true }
steps:
  - id: gate
    call: slow/gate
    with: { path: '${{ inputs.path }}' }
    retry: 3
  - id: after
    call: slow/note
    with: { text: done }
outputs:
  text: ${{ steps.after.output }}
";

/// Makes a scratch folder in which a run waits for a file, and returns the arguments to run it.
fn gated() -> (Scratch, [String; 4]) {
    let scratch = Scratch::with(GATED, &json!({}));
    scratch.servers(&json!({ "slow": dying(&scratch.path().join("calls")) }));
    let path = format!("path={}", scratch.path().join("open").display());
    (scratch, ["run".to_owned(), "workflow.yaml".to_owned(), "-i".to_owned(), path])
}

/// Returns the number of calls that reached the server.
fn calls(scratch: &Scratch) -> usize {
    std::fs::read_to_string(scratch.path().join("calls")).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn failing_expression_is_shown_with_the_value_that_caused_it() {
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({ "tables": Tables::of(scratch.path()).entry() }));
    let cases = [
        (
            "${{ steps.a.output.total / steps.a.output.none }}",
            "steps.a.output.total / steps.a.output.none",
            "12",
        ),
        ("${{ steps.a.output.words + 1 }}", "steps.a.output.words + 1", "many words"),
        ("${{ steps.a.output.missing.deeper }}", "steps.a.output.missing.deeper", "missing"),
    ];
    for (template, expression, value) in cases {
        let workflow = json!({
            "longshore": "v1", "name": "wrong", "steps": [
                { "id": "a", "call": "tables/echo", "with": { "total": 12, "none": 0, "words": "many words" } },
                { "id": "b", "set": { "x": template } },
                { "id": "c", "call": "tables/echo", "with": { "x": "${{ steps.b.output.x }}" } },
            ],
        });
        scratch.write("workflow.yaml", workflow.to_string());
        scratch.run().await.expecting(20).saying(&[expression, value]);
        let run = scratch.newest().await;
        let fault = step(&run, "b").error.as_ref().unwrap();
        assert_eq!(fault.class, FaultClass::Expression);
        assert!(fault.message.contains(expression) && fault.message.contains(value), "{fault}");
        assert_eq!(step(&run, "a").status, StepStatus::Succeeded);
        assert_eq!(step(&run, "c").status, StepStatus::Skipped);
    }
}

#[tokio::test]
async fn resume_does_not_affect_runs_of_two_running_processes() {
    let (scratch, line) = gated();
    let first = scratch.longshore(&line).start();
    until("the first run is under way", || calls(&scratch) == 1).await;
    let second = scratch.longshore(&line).start();
    until("the second run is under way", || calls(&scratch) == 2).await;
    scratch.longshore(["resume"]).run().await.expecting(0).saying(&["nothing to resume"]);
    let run = scratch.newest().await.summary;
    assert_eq!(run.status, RunStatus::Running);
    let pid = second.pid().to_string();
    let refused = scratch.longshore(["resume", &run.run.to_string()]).run().await.expecting(1);
    refused.saying(&["already executes the run", &pid, "longshore watch"]);

    scratch.write("open", "");
    for process in [first, second] {
        assert_eq!(process.end().await.expecting(0).json(), json!({ "text": "done" }));
    }
    assert_eq!(calls(&scratch), 4);
}

#[tokio::test]
async fn resume_of_one_run_leaves_other_runs_of_its_partition_interrupted() {
    let (scratch, line) = gated();
    let kill_run = async |calls_before: usize| {
        let started = scratch.longshore(&line).start();
        until("the run is under way", || calls(&scratch) > calls_before).await;
        started.kill().await;
        scratch.newest().await.summary.run.to_string()
    };
    let first = kill_run(0).await;
    // All other partitions are in use, so the second run shares the partition of the first.
    let others = Embedded::open(&scratch.path().join(".longshore"), Access::Shared).await.unwrap();
    for partition in (1..PARTITIONS).map(Partition) {
        others.hold(partition).await.unwrap();
    }
    let second = kill_run(1).await;
    others.close().await;
    assert_eq!(first[..7], second[..7]);

    let resumed = scratch.longshore(["resume", &first]).start();
    until("the first run continues", || calls(&scratch) == 3).await;
    let list = |status: &str| scratch.longshore(["runs", "list", "--json", "--status", status]);
    for (status, run) in [("running", &first), ("interrupted", &second)] {
        let listed = list(status).run().await.expecting(0).json_lines();
        assert!(listed.len() == 1 && listed[0]["run"] == **run, "{status}: {listed:#?}");
    }
    let refused = scratch.longshore(["resume", &second]).run().await.expecting(1);
    refused.saying(&[
        "cannot be resumed now",
        &resumed.pid().to_string(),
        "another run of the same partition",
    ]);
    // Its calls are lost, so the process that has the partition ends it at once.
    scratch.longshore(["runs", "cancel", &second]).run().await.expecting(0).saying(&["cancelling"]);
    scratch.longshore(["watch", &second, "--exit-status"]).run().await.expecting(21);
    scratch.write("open", "");
    assert_eq!(resumed.end().await.expecting(0).json(), json!({ "text": "done" }));
    scratch.longshore(["resume"]).run().await.expecting(0).saying(&["nothing to resume"]);
}

#[tokio::test]
async fn an_interrupt_cancels_the_run() {
    let (scratch, line) = gated();
    let started = scratch.longshore(&line).start();
    until("the run is under way", || calls(&scratch) == 1).await;
    started.interrupt();
    started.end().await.expecting(21).saying(&["cancelled"]);
    let run = scratch.newest().await;
    assert_eq!(run.summary.status, RunStatus::Cancelled);
    assert_eq!(step(&run, "gate").status, StepStatus::Cancelled);
    scratch.longshore(["resume"]).run().await.expecting(0).saying(&["nothing to resume"]);
    assert_eq!(calls(&scratch), 1);
}

#[tokio::test]
async fn interrupted_resume_leaves_the_run_for_the_next_resume() {
    let (scratch, line) = gated();
    let started = scratch.longshore(&line).start();
    until("the run is under way", || calls(&scratch) == 1).await;
    started.kill().await;

    let resumed = scratch.longshore(["resume"]).start();
    until("the call is made again", || calls(&scratch) == 2).await;
    resumed.interrupt();
    until("it drains", || resumed.stderr().contains("stopping")).await;
    resumed.interrupt();
    resumed.end().await.expecting(130).saying(&["longshore resume"]);
    assert_eq!(scratch.newest().await.summary.status, RunStatus::Interrupted);

    scratch.write("open", "");
    let done = scratch.longshore(["resume"]).run().await.expecting(0);
    assert_eq!(done.json(), json!({ "text": "done" }));
}
