//! Runs whose process is stopped or killed, and the commands that show and resume them.

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tokio::time::timeout;

use crate::folder::{COMMAND_TIMEOUT, CommandResult, ECHO, Folder};

/// A workflow that waits until the file `open` exists. Its call may be repeated.
pub(crate) const HOLD: &str = "
longshore: v1
name: hold
steps:
  - { id: hold, call: test/hold, with: { held: true }, retry: 3 }
outputs:
  held: ${{ steps.hold.output.held }}
";

/// A workflow with a cleanup step, which is executed even after a cancel. Both steps wait for the file `open`.
pub(crate) const CLEANUP: &str = "
longshore: v1
name: tidy
steps:
  - { id: hold, call: test/hold, retry: 3 }
  - { id: tidy, call: test/hold, retry: 3, if: always() }
";

/// The reason of a cancel by Ctrl-C.
const REASON: &str = "interrupted at the terminal";

/// Reads messages until one contains `words`. The messages are consumed.
pub(crate) async fn wait_for_message(child: &mut Child, words: &str) {
    let stderr = child.stderr.as_mut().expect("a pipe");
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(words) {
        let read = timeout(COMMAND_TIMEOUT, stderr.read_buf(&mut text)).await.expect("a message");
        assert_ne!(read.expect("reads"), 0, "it ended: {}", String::from_utf8_lossy(&text));
    }
}

pub(crate) fn send(child: &Child, signal: rustix::process::Signal) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("it runs"), signal).expect("is sent");
}

#[tokio::test]
async fn ctrl_c_cancels_the_run() {
    let folder = Folder::with(HOLD);
    let run = folder.start(&["run", "wf.yaml", "--json"]);
    folder.called(1).await;
    send(&run, rustix::process::Signal::INT);
    let ended = CommandResult::of(run).await.expecting(21, &["cancelling", "was cancelled: interrupted"]);
    let ended = &ended.json_lines()[0];
    assert_eq!((&ended["status"], &ended["cancel_reason"]), (&json!("cancelled"), &json!(REASON)));
    let shown = folder.run(&["runs", "show", ended["run"].as_str().expect("an id")]).await.expecting(0, &[]);
    assert!(shown.stdout.contains(REASON), "{}", shown.stdout);
    folder.run(&["resume"]).await.expecting(0, &["nothing to resume"]);
}

#[tokio::test]
async fn step_that_never_began_is_not_shown_as_running() {
    let folder = Folder::with(CLEANUP);
    let mut run = folder.start(&["run", "wf.yaml"]);
    folder.called(1).await;
    send(&run, rustix::process::Signal::TERM);
    wait_for_message(&mut run, "stopping").await;
    folder.write("open", "");
    let ended = CommandResult::of(run).await.expecting(130, &["longshore resume"]);
    // The process may have ended before it read that the first step had ended.
    assert_eq!(ended.stderr.contains("hold  succeeded"), ended.stderr.contains("tidy  queued  test/hold"));
    assert!(!ended.stderr.contains("tidy  running"), "{}", ended.stderr);
    let shown = folder.run(&["runs", "show", "last"]).await.expecting(0, &[]);
    let waits = shown.stdout.contains("tidy  queued") || shown.stdout.contains("tidy  interrupted");
    assert!(waits, "{}", shown.stdout);
    folder.run(&["resume"]).await.expecting(0, &["tidy  succeeded"]);
}

/// Returns for each step its status and number of recorded attempts, after a cancel of the newest run.
async fn cancelled_steps(folder: &Folder) -> Vec<(String, String, usize)> {
    folder.run(&["runs", "cancel", "last"]).await.expecting(0, &["cancelled run_"]);
    let shown = folder.run(&["runs", "show", "last", "--json"]).await.expecting(0, &[]).json_lines();
    let steps = shown.first().and_then(|run| run.get("steps")?.as_array()).expect("steps");
    let text = |step: &serde_json::Value, key| {
        step.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    };
    let attempts =
        |step: &serde_json::Value| step.get("attempts").and_then(|made| made.as_array()).map_or(0, Vec::len);
    steps.iter().map(|step| (text(step, "path"), text(step, "status"), attempts(step))).collect()
}

#[tokio::test]
async fn cancel_records_no_attempt_of_a_step_that_never_began() {
    let step = |id: &str, retry: u32| json!({ "id": id, "call": "test/hold", "retry": retry });
    // A worker has a slot for each server beside those of `--slots`, so two calls begin.
    let group = json!([step("first", 1), step("second", 1), step("unsafe", 1), step("safe", 2)]);
    let workflow =
        json!({ "longshore": "v1", "name": "three", "steps": [{ "id": "all", "parallel": group }] });
    let command = ["run", "wf.yaml", "--slots", "1"];
    let expected = |path: &str, status: &str, attempts| (path.to_owned(), status.to_owned(), attempts);

    let folder = Folder::with(&workflow.to_string());
    let mut run = folder.start(&command);
    folder.called(2).await;
    send(&run, rustix::process::Signal::TERM);
    wait_for_message(&mut run, "stopping").await;
    send(&run, rustix::process::Signal::INT);
    CommandResult::of(run).await.expecting(130, &[]);
    let shown = folder.run(&["runs", "show", "last"]).await.expecting(0, &[]).stdout;
    assert!(shown.contains("first   interrupted") && shown.contains("unsafe  queued"), "{shown}");
    let steps = cancelled_steps(&folder).await;
    assert_eq!(
        steps[1..],
        [
            expected("first", "indeterminate", 1),
            expected("second", "indeterminate", 1),
            expected("unsafe", "cancelled", 0),
            expected("safe", "cancelled", 0),
        ]
    );

    // A killed process says nothing, but a call that may not be repeated is granted first.
    let folder = Folder::with(&workflow.to_string());
    let mut run = folder.start(&command);
    folder.called(2).await;
    run.kill().await.expect("is killed");
    let steps = cancelled_steps(&folder).await;
    assert_eq!(
        (&steps[1], &steps[3]),
        (&expected("first", "indeterminate", 1), &expected("unsafe", "cancelled", 0))
    );
}

#[tokio::test]
async fn second_ctrl_c_stops_at_once_and_the_cancelled_run_can_be_resumed() {
    let folder = Folder::with(CLEANUP);
    let mut run = folder.start(&["run", "wf.yaml"]);
    folder.called(1).await;
    send(&run, rustix::process::Signal::INT);
    wait_for_message(&mut run, "cancelling").await;
    folder.called(2).await;
    // The second call does not end, and the run waits for it.
    send(&run, rustix::process::Signal::INT);
    CommandResult::of(run).await.expecting(130, &["longshore resume"]);

    let listed = folder.run(&["runs", "list", "--json"]).await.expecting(0, &[]).json_lines();
    assert_eq!(listed[0]["status"], "interrupted");
    folder.write("open", "");
    let resumed = folder.run(&["resume", "--json"]).await.expecting(21, &["1 of 2 steps have ended"]);
    assert_eq!(resumed.json_lines()[0]["steps"][1]["status"], "succeeded");
}

#[tokio::test]
async fn result_is_printed_before_servers_are_closed_and_ctrl_c_does_not_wait_for_them() {
    let folder = Folder::with(ECHO);
    folder.serve(&["--linger"]);
    let mut run = folder.start(&["run", "wf.yaml", "-i", "who=me"]);
    let stdout = run.stdout.as_mut().expect("a pipe");
    let mut printed = Vec::new();
    while !printed.ends_with(b"\n") {
        let read =
            timeout(COMMAND_TIMEOUT, stdout.read_buf(&mut printed)).await.expect("prints").expect("reads");
        assert_ne!(read, 0, "it ended without a result");
    }
    assert_eq!(String::from_utf8_lossy(&printed), "{\"text\":\"Hello, me!\"}\n");
    send(&run, rustix::process::Signal::INT);
    CommandResult::of(run).await.expecting(0, &[]);
    assert!(!folder.path().join("terminated").exists(), "the server was killed without waiting for its end");
}

#[tokio::test]
async fn run_that_was_stopped_at_once_is_resumed() {
    let folder = Folder::with(HOLD);
    let mut run = folder.start(&["run", "wf.yaml"]);
    folder.called(1).await;
    send(&run, rustix::process::Signal::TERM);
    wait_for_message(&mut run, "stopping").await;
    // The call does not end, and the process waits for it while it drains.
    send(&run, rustix::process::Signal::INT);
    CommandResult::of(run).await.expecting(130, &["longshore resume"]);

    let listed = folder.run(&["runs", "list", "--json"]).await.expecting(0, &[]).json_lines();
    let id = listed[0]["run"].as_str().expect("an id");
    folder.run(&["resume", "zzzz"]).await.expecting(5, &["no run `zzzz`"]);
    folder.write("open", "");
    let resumed = folder.run(&["resume", id]).await.expecting(0, &["resuming", "0 of 1 steps have ended"]);
    assert_eq!(resumed.json_lines(), [json!({ "held": true })]);
}

#[tokio::test]
async fn interrupted_run_is_not_executed_by_the_next_run() {
    let folder = Folder::with(HOLD);
    let mut first = folder.start(&["run", "wf.yaml"]);
    folder.called(1).await;
    first.kill().await.expect("is killed");
    folder.write("open", "");
    folder.write("wf.yaml", ECHO);
    folder
        .run(&["run", "wf.yaml", "-i", "who=me"])
        .await
        .expecting(0, &["1 interrupted run is left unchanged"]);
    let interrupted =
        folder.run(&["runs", "list", "--status", "interrupted", "--json"]).await.expecting(0, &[]);
    assert_eq!(interrupted.json_lines().len(), 1);
    folder.run(&["resume"]).await.expecting(0, &["resuming"]);
}

#[tokio::test]
async fn run_is_shown_as_soon_as_it_is_submitted() {
    let folder = Folder::with(HOLD);
    let mut run = folder.start(&["run", "wf.yaml"]);
    wait_for_message(&mut run, "submitted").await;
    run.kill().await.expect("is killed");
    for _ in 0..2 {
        let listed = folder.run(&["runs", "list", "--json"]).await.expecting(0, &[]).json_lines();
        assert_eq!((listed.len(), &listed[0]["status"]), (1, &json!("interrupted")), "{listed:#?}");
        let id = listed[0]["run"].as_str().expect("an id");
        let shown = folder.run(&["runs", "show", id, "--json"]).await.expecting(0, &[]).json_lines();
        assert_eq!(shown[0]["steps"][0]["path"], "hold");
    }
    folder.write("open", "");
    folder.run(&["resume"]).await.expecting(0, &["resuming"]);
    let listed = folder.run(&["runs", "list", "--json"]).await.expecting(0, &[]).json_lines();
    assert_eq!((listed.len(), &listed[0]["status"]), (1, &json!("succeeded")), "{listed:#?}");
}
