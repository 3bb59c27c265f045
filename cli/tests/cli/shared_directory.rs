//! Several processes in one data directory: each executes its own runs, and all of them can be shown, watched and cancelled.

use serde_json::{Value, json};

use crate::folder::{CommandResult, ECHO, Folder};
use crate::stopping::{CLEANUP, HOLD, wait_for_message};

/// Returns the newest run of `runs list`.
async fn newest(folder: &Folder) -> Value {
    let listed = folder.run(&["runs", "list", "--json", "--limit", "1"]).await.expecting(0, &[]);
    listed.json_lines().into_iter().next().expect("a run")
}

async fn status_of(folder: &Folder, run: &str) -> Value {
    let shown = folder.run(&["runs", "show", run, "--json"]).await.expecting(0, &[]);
    shown.json_lines().first().map(|run| run["status"].clone()).expect("a run")
}

fn id(run: &Value) -> &str {
    run["run"].as_str().expect("an id")
}

#[tokio::test]
async fn runs_of_two_processes_are_listed() {
    let folder = Folder::with(HOLD);
    let first = folder.start(&["run", "wf.yaml"]);
    let second = folder.start(&["run", "wf.yaml"]);
    folder.called(2).await;
    let listed = folder.run(&["runs", "list", "--status", "running", "--json"]).await.expecting(0, &[]);
    let listed = listed.json_lines();
    assert_eq!(listed.len(), 2, "{listed:#?}");
    assert_ne!(id(&listed[0])[..7], id(&listed[1])[..7], "each has a partition of its own");
    folder.write("open", "");
    for process in [first, second] {
        assert_eq!(
            CommandResult::of(process).await.expecting(0, &[]).json_lines(),
            [json!({ "held": true })]
        );
    }
    // A directory without unended runs is used again from its first partition on.
    folder.run(&["run", "wf.yaml"]).await.expecting(0, &[]);
    assert!(id(&newest(&folder).await).starts_with("run_00_"));
}

#[tokio::test]
async fn killed_process_does_not_affect_another_one_and_its_run_is_resumed() {
    let folder = Folder::with(HOLD);
    let mut killed = folder.start(&["run", "wf.yaml"]);
    folder.called(1).await;
    let killed_run = newest(&folder).await;
    let other = folder.start(&["run", "wf.yaml"]);
    folder.called(2).await;
    killed.kill().await.expect("is killed");
    assert_eq!(status_of(&folder, id(&killed_run)).await, "interrupted");
    assert_eq!(newest(&folder).await["status"], "running");
    let list = ["runs", "list", "--status", "interrupted", "--json"];
    let listed = folder.run(&list).await.expecting(0, &[]).json_lines();
    assert_eq!((listed.len(), id(&listed[0])), (1, id(&killed_run)), "{listed:#?}");

    folder.write("open", "");
    let resumed = folder.run(&["resume"]).await.expecting(0, &["resuming", id(&killed_run)]);
    assert_eq!(resumed.json_lines(), [json!({ "held": true })]);
    assert_eq!(CommandResult::of(other).await.expecting(0, &[]).json_lines(), [json!({ "held": true })]);
}

#[tokio::test]
async fn run_is_cancelled_by_another_process() {
    let folder = Folder::with(HOLD);
    let run = folder.start(&["run", "wf.yaml"]);
    folder.called(1).await;
    folder
        .run(&["runs", "cancel", "last", "--reason", "wrong file"])
        .await
        .expecting(0, &["cancelling run_00"]);
    CommandResult::of(run).await.expecting(21, &["was cancelled: wrong file"]);
    folder.run(&["runs", "cancel", "last"]).await.expecting(0, &["has already ended: it has been cancelled"]);
    folder.run(&["runs", "cancel", "--all", "--yes"]).await.expecting(0, &["no such runs"]);
}

#[tokio::test]
async fn interrupted_run_is_cancelled_without_its_servers() {
    let folder = Folder::with(HOLD);
    let mut run = folder.start(&["run", "wf.yaml"]);
    folder.called(1).await;
    run.kill().await.expect("is killed");
    folder.write(".mcp.json", "{ \"mcpServers\": {} }");
    let cancelled = folder.run(&["runs", "cancel", "--all", "--yes", "--json"]).await.expecting(0, &[]);
    let run = newest(&folder).await;
    assert_eq!(status_of(&folder, id(&run)).await, "cancelled");
    let [document] = &cancelled.json_lines()[..] else { panic!("{cancelled:#?}") };
    let of = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    assert_eq!([of("schema"), of("run"), of("outcome")], ["longshore.cancel", id(&run), "cancelled"]);
    folder.run(&["resume"]).await.expecting(0, &["nothing to resume"]);
    folder.run(&["resume", "last"]).await.expecting(21, &["has already ended", "longshore run"]);
}

#[tokio::test]
async fn cleanup_steps_of_a_cancelled_run_are_executed_by_resume() {
    let folder = Folder::with(CLEANUP);
    let mut run = folder.start(&["run", "wf.yaml"]);
    folder.called(1).await;
    run.kill().await.expect("is killed");
    folder
        .run(&["runs", "cancel", "last"])
        .await
        .expecting(0, &["steps to execute", "longshore resume run_00"]);
    assert_eq!(newest(&folder).await["status"], "interrupted");
    folder.write("open", "");
    let resumed = folder.run(&["resume", "--json"]).await.expecting(21, &[]);
    assert_eq!(resumed.json_lines()[0]["steps"][1]["status"], "succeeded");
}

#[tokio::test]
async fn local_run_is_watched_until_it_ends() {
    let folder = Folder::with(HOLD);
    let run = folder.start(&["run", "wf.yaml"]);
    folder.called(1).await;
    let mut watch = folder.start(&["watch", "last", "--json"]);
    wait_for_message(&mut watch, "hold  running").await;
    folder.write("open", "");
    let watched = CommandResult::of(watch).await.expecting(0, &["run  succeeded"]);
    assert_eq!(watched.json_lines()[0]["outputs"], json!({ "held": true }));
    CommandResult::of(run).await.expecting(0, &[]);
    folder.run(&["watch", "last"]).await.expecting(0, &[]);
}

#[tokio::test]
async fn watch_ends_when_the_process_of_the_run_is_killed() {
    let folder = Folder::with(HOLD);
    let mut run = folder.start(&["run", "wf.yaml"]);
    folder.called(1).await;
    let mut watch = folder.start(&["watch", "last"]);
    wait_for_message(&mut watch, "hold  running").await;
    run.kill().await.expect("is killed");
    CommandResult::of(watch).await.expecting(130, &["is interrupted", "longshore resume"]);
}

#[tokio::test]
async fn resume_of_a_failed_run_reports_its_end() {
    let folder = Folder::with("longshore: v1\nname: bad\nsteps:\n  - { id: it, call: test/fail }\n");
    folder.run(&["run", "wf.yaml"]).await.expecting(20, &[]);
    let words =
        ["has already ended: it has failed", "row 7 has no number", "longshore runs show", "longshore run"];
    folder.run(&["resume", "last"]).await.expecting(20, &words);
}

#[tokio::test]
async fn runs_of_a_data_directory_are_filtered() {
    let folder = Folder::with(HOLD);
    folder.write("open", "");
    folder.run(&["run", "wf.yaml"]).await.expecting(0, &[]);
    folder.write("wf.yaml", ECHO);
    folder.run(&["run", "wf.yaml", "-i", "who=me"]).await.expecting(0, &[]);
    let list = async |more: &[&str]| {
        let line = [&["runs", "list", "--json"], more].concat();
        folder.run(&line).await.expecting(0, &[]).json_lines().len()
    };
    assert_eq!(list(&["--workflow", "hold"]).await, 1);
    assert_eq!(list(&["--workflow", "hold", "--status", "interrupted"]).await, 0);
    assert_eq!(list(&["--since", "1h"]).await, 2);
    assert_eq!(list(&["--since", "2999-01-01"]).await, 0);
    let newest = folder.run(&["runs", "show", "last"]).await.expecting(0, &[]);
    assert!(newest.stdout.contains("Hello, me!"), "{}", newest.stdout);
}
