//! Progress that a server reports: at a terminal, in plain lines, and from a cluster.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a surprise fails the test")]

use async_nats::Subscriber;
use futures::StreamExt;
use longshore_tests::cluster::Cluster;
use longshore_tests::longshore::PATIENCE;
use longshore_tests::scratch::Scratch;
use longshore_tests::terminal::TerminalSession;
use longshore_tests::tools::Tools;
use serde_json::{Value, json};
use tokio::time::timeout;

/// Returns a workflow of one call that takes this long, reports progress each second, and may be repeated.
fn workflow(seconds: u32) -> String {
    let with = json!({ "duration": seconds, "steps": seconds });
    let step =
        json!({ "id": "it", "call": "everything/trigger-long-running-operation", "with": with, "retry": 2 });
    json!({ "longshore": "v1", "name": "long", "steps": [step] }).to_string()
}

fn scratch(seconds: u32) -> Scratch {
    Scratch::with(&workflow(seconds), &json!({ "everything": Tools::find().everything().entry() }))
}

/// Returns the lines of a text that show progress.
fn progress_lines(text: &str, seconds: u32) -> Vec<&str> {
    let ending = format!("/{seconds}");
    text.lines()
        .filter(|line| line.contains("  it  running  everything/") && line.ends_with(&ending))
        .collect()
}

/// Starts `longshore` with these arguments at a terminal.
fn at_terminal(scratch: &Scratch, words: &[&str]) -> TerminalSession {
    let longshore = scratch.longshore(words.iter().chain(&["--mcp-config", ".mcp.json"]));
    TerminalSession::start(longshore.env("TERM", "xterm").env("NO_COLOR", "1"))
}

#[tokio::test]
async fn tree_shows_how_far_a_call_has_come() {
    let scratch = scratch(6);
    let terminal = at_terminal(&scratch, &["run", "workflow.yaml"]);
    // Any report: a slow machine paints few frames.
    terminal.shows("/6").await;
    let (code, screen) = terminal.end().await;
    assert_eq!(code, Some(0), "{screen}");
    let last = screen.rsplit("it  succeeded").next().unwrap();
    assert!(!last.contains("/6"), "progress goes with the end of the call\n{screen}");
}

#[tokio::test]
async fn call_of_a_person_shows_its_progress() {
    let scratch = scratch(6);
    let (tool, arguments) = ("everything/trigger-long-running-operation", r#"{"duration": 6, "steps": 6}"#);
    let terminal = at_terminal(&scratch, &["servers", "call", tool, arguments]);
    terminal.shows("/6").await;
    let (code, screen) = terminal.end().await;
    assert_eq!(code, Some(0), "{screen}");
    let below = screen.rsplit("\u{1b}[J").next().unwrap();
    assert!(below.starts_with("Long running operation completed"), "nothing of the call stays\n{screen}");
}

#[tokio::test]
async fn progress_is_shown_again_after_a_kill_and_a_resume() {
    let scratch = scratch(7);
    let run = at_terminal(&scratch, &["run", "workflow.yaml"]);
    run.shows("/7").await;
    run.kill().await;
    let resume = at_terminal(&scratch, &["resume"]);
    resume.shows("attempt 1/2").await;
    resume.shows("/7").await;
    resume.kill().await;
    let ended = scratch.longshore(["resume", "--mcp-config", ".mcp.json"]).run().await.expecting(0);
    assert!((1..=2).contains(&progress_lines(&ended.stderr, 7).len()), "{ended}");
    assert!(!ended.stderr.contains(" attempts"), "no attempt has failed\n{ended}");
    let shown = scratch.longshore(["runs", "show", "last"]).run().await.expecting(0);
    let attempts: Vec<_> = shown.stdout.lines().filter_map(|line| line.trim().split_once("  20")).collect();
    let heads: Vec<_> =
        attempts.iter().map(|(head, _)| *head).filter(|head| head.starts_with("attempt")).collect();
    assert_eq!(heads, ["attempt 1 (unreported)", "attempt 1 (unreported)", "attempt 1"], "{shown}");
}

#[tokio::test]
async fn plain_lines_show_progress_every_few_seconds() {
    let ended = scratch(7).run().await.expecting(0);
    // A line after five seconds, and not one for every report. A machine that starts the server slowly has time for a second one.
    assert!((1..=2).contains(&progress_lines(&ended.stderr, 7).len()), "{ended}");
}

/// Makes a folder with a server that takes three seconds to start, and a call with a shorter timeout.
fn slow_start() -> Scratch {
    let everything = Tools::find().everything().entry();
    let (command, args) =
        (everything["command"].clone(), everything["args"].as_array().expect("arguments").clone());
    let wrapped = [json!("-c"), json!("sleep 3; exec \"$0\" \"$@\""), command].into_iter().chain(args);
    let entry = json!({ "command": "sh", "args": wrapped.collect::<Vec<_>>(), "longshore": { "connect_timeout_ms": 60_000 } });
    let step =
        json!({ "id": "it", "call": "everything/get-sum", "with": { "a": 1, "b": 2 }, "timeout": "2s" });
    let workflow = json!({ "longshore": "v1", "name": "slow", "steps": [step] });
    Scratch::with(&workflow.to_string(), &json!({ "everything": entry }))
}

#[tokio::test]
async fn start_of_a_server_is_shown_and_not_counted_by_the_timeout() {
    let scratch = slow_start();
    let ended = scratch.run().await.expecting(0);
    let lines =
        ended.stderr.lines().filter(|line| line.ends_with("everything/get-sum  starting server everything"));
    assert_eq!(lines.count(), 1, "{ended}");
    let run = scratch.longshore(["run", "workflow.yaml", "--mcp-config", ".mcp.json"]).env("TERM", "xterm");
    let terminal = TerminalSession::start(run.env("NO_COLOR", "1"));
    terminal.shows("everything/get-sum  starting server everything").await;
    let (code, screen) = terminal.end().await;
    assert_eq!(code, Some(0), "{screen}");
}

async fn next(updates: &mut Subscriber) -> (String, Value) {
    let message = timeout(PATIENCE, updates.next()).await.expect("in time").expect("an update");
    let update = serde_json::from_slice(&message.payload).expect("JSON");
    (message.subject.to_string(), update)
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_comes_from_the_workers_of_a_cluster() {
    let cluster = Cluster::start_in(scratch(7), 1, 1).await;
    let client = async_nats::connect(cluster.nats.url()).await.expect("connects");
    let mut updates = client.subscribe("longshore.v1.evt.default.long.*.call").await.expect("subscribes");
    client.flush().await.expect("the server has the subscription");
    let watched = cluster.client(["submit", "workflow.yaml", "--watch"]).run().await.expecting(0);
    assert!((1..=2).contains(&progress_lines(&watched.stderr, 7).len()), "{watched}");
    let (subject, mut update) = next(&mut updates).await;
    while update["activity"] != "progress" {
        // On a slow machine, a message about the start of the server comes first.
        (_, update) = next(&mut updates).await;
    }
    let run = update["run"].as_str().expect("a run");
    assert_eq!(subject, format!("longshore.v1.evt.default.long.{run}.call"));
    let wanted = json!({
        "run": run, "step": "it", "attempt": 1, "activity": "progress", "done": update["done"], "total": 7.0,
    });
    assert_eq!(update, wanted);
    let (_, later) = next(&mut updates).await;
    assert!(later["done"].as_f64() > update["done"].as_f64(), "{update} {later}");
}
