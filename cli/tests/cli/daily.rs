//! Everyday use: workflows from stdin, short output, one tool.

use std::process::Stdio;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::folder::{CommandResult, ECHO, Folder};

/// Runs a command with a text on its stdin.
async fn run_with_stdin(folder: &Folder, arguments: &[&str], text: &str) -> CommandResult {
    let mut command = folder.command(arguments);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).await.expect("it reads");
    drop(stdin);
    CommandResult::of(child).await
}

#[tokio::test]
async fn workflow_is_read_from_stdin() {
    let folder = Folder::with(ECHO);
    let valid = run_with_stdin(&folder, &["validate", "-"], ECHO).await.expecting(0, &[]);
    assert_eq!(valid.stdout, "stdin: `echo` is valid\n");
    run_with_stdin(&folder, &["validate", "-"], &ECHO.replace("steps:", "setps:"))
        .await
        .expecting(3, &["stdin:6", "`setps`"]);
    let ran = run_with_stdin(&folder, &["run", "-", "-i", "who=you"], ECHO).await.expecting(0, &[]);
    assert_eq!(ran.json_lines(), [json!({ "text": "Hello, you!" })]);
    let both = run_with_stdin(&folder, &["run", "-", "--input-file", "-"], ECHO).await;
    both.expecting(2, &["cannot both come from stdin", "help:"]);
}

#[tokio::test]
async fn quiet_run_prints_only_its_result_or_error() {
    let folder = Folder::with(ECHO);
    let ran = folder.run(&["run", "-q", "wf.yaml", "-i", "who=you"]).await.expecting(0, &[]);
    assert_eq!((ran.stderr.as_str(), ran.json_lines()), ("", vec![json!({ "text": "Hello, you!" })]));
    folder.run(&["--quiet", "run", "none.yaml"]).await.expecting(5, &["error: the workflow none.yaml"]);
}

#[tokio::test]
async fn single_tool_is_shown_with_its_arguments_and_their_schema() {
    let folder = Folder::with(ECHO);
    let shown = folder.run(&["servers", "tools", "test/strict"]).await.expecting(0, &[]);
    assert!(shown.stdout.contains("\n  text ") && shown.stdout.contains("\"required\""), "{shown:#?}");
    let listed =
        folder.run(&["servers", "tools", "test/strict", "--json"]).await.expecting(0, &[]).json_lines();
    assert_eq!((listed.len(), &listed[0]["name"]), (1, &json!("strict")));
    folder
        .run(&["servers", "tools", "test/stric"])
        .await
        .expecting(5, &["has no tool", "did you mean `strict`?"]);
}

#[tokio::test]
async fn warnings_of_a_servers_file_are_shown_once_for_each_content() {
    let folder = Folder::with(ECHO);
    let text = std::fs::read_to_string(folder.path().join(".mcp.json")).expect("reads");
    let other = text.replace("\"command\"", "\"envFile\": [], \"command\"");
    folder.write(".mcp.json", &other);
    let run = ["run", "wf.yaml", "-i", "who=you"];
    folder.run(&run).await.expecting(0, &["warning:", "envFile"]);
    let again = folder.run(&run).await.expecting(0, &[]);
    assert!(!again.stderr.contains("envFile"), "{again:#?}");
    folder.run(&["servers", "list"]).await.expecting(0, &["envFile"]);
    folder.write(".mcp.json", &other.replace("envFile", "timeout"));
    folder.run(&run).await.expecting(0, &["warning:", "timeout"]);
}

#[tokio::test]
async fn log_lines_of_a_command_are_text() {
    let folder = Folder::with(ECHO);
    let mut command = folder.command(&["run", "wf.yaml", "-i", "who=you"]);
    let ended = CommandResult::of(command.env("LONGSHORE_LOG", "info").spawn().expect("starts")).await;
    let ended = ended.expecting(0, &["INFO", "worker started", "greet  succeeded"]);
    assert!(!ended.stderr.lines().any(|line| line.starts_with('{')), "{}", ended.stderr);
}
