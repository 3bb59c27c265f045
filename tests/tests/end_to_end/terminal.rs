//! `longshore` at a terminal: the question about a servers file that was found, tables, and output of tools that must not
//! control the terminal.

use std::fs;
use std::path::Path;

use longshore_tests::longshore::Longshore;
use longshore_tests::scratch::Scratch;
use longshore_tests::terminal::TerminalSession;
use longshore_tests::wait::until;
use serde_json::{Value, json};

/// The part of the question that does not depend on the file.
const QUESTION: &str = "Type yes or no";

/// Returns a servers file with one server, which creates a file when it is started, and ends.
fn touching_server(name: &str) -> Value {
    json!({ "marks": { "command": "sh", "args": ["-c", format!("touch {name}; echo ${{TERM}}")], "env": { "A": "${HOME}" } } })
}

fn list(scratch: &Scratch, state: &Path) -> Longshore {
    let state = state.display().to_string();
    Longshore::new(scratch.path(), ["servers", "list"]).env("XDG_STATE_HOME", &state)
}

/// Returns true if the server was started.
fn was_started(scratch: &Scratch, name: &str) -> bool {
    scratch.path().join(name).exists()
}

/// Runs `servers list` at a terminal and answers its question. Returns the exit code and the screen.
async fn answer_question(scratch: &Scratch, state: &Path, answer: &str) -> (Option<i32>, String) {
    let mut terminal = TerminalSession::start(list(scratch, state));
    terminal.shows(QUESTION).await;
    terminal.types(answer);
    terminal.end().await
}

#[tokio::test]
async fn found_servers_file_is_asked_about_once_for_each_content() {
    let (scratch, state) = (Scratch::new(&touching_server("first")), Scratch::new(&json!({})));
    let (code, screen) = answer_question(&scratch, state.path(), "no").await;
    assert_eq!(code, Some(4), "{screen}");
    for part in [
        ".mcp.json was found and not named",
        "starts A=${HOME} sh -c",
        "HOME",
        "--mcp-config",
        "is not trusted",
    ] {
        assert!(screen.contains(part), "{part}\n{screen}");
    }
    assert!(!was_started(&scratch, "first"), "nothing runs before the answer, or after a no");

    let (_, screen) = answer_question(&scratch, state.path(), "yes").await;
    assert!(was_started(&scratch, "first"), "{screen}");

    let (_, screen) = TerminalSession::start(list(&scratch, state.path())).end().await;
    assert!(!screen.contains(QUESTION), "the answer is remembered\n{screen}");

    scratch.servers(&touching_server("second"));
    let (code, screen) = answer_question(&scratch, state.path(), "").await;
    assert!(screen.contains("has changed since you trusted it"), "{screen}");
    assert_eq!((code, was_started(&scratch, "second")), (Some(4), false), "no answer is a no\n{screen}");
}

#[tokio::test]
async fn named_or_trusted_servers_file_is_not_asked_about() {
    let (scratch, state) = (Scratch::new(&touching_server("named")), Scratch::new(&json!({})));
    let named = list(&scratch, state.path()).env("LONGSHORE_MCP_CONFIG", ".mcp.json");
    let (_, screen) = TerminalSession::start(named).end().await;
    assert!(was_started(&scratch, "named") && !screen.contains(QUESTION), "{screen}");

    scratch.servers(&touching_server("trusted"));
    let state_path = state.path().display().to_string();
    let trust = Longshore::new(scratch.path(), ["servers", "trust"]).env("XDG_STATE_HOME", &state_path);
    trust.run().await.expecting(0).saying(&["is trusted now", "starts A=${HOME} sh -c"]);
    let (_, screen) = TerminalSession::start(list(&scratch, state.path())).end().await;
    assert!(was_started(&scratch, "trusted") && !screen.contains(QUESTION), "{screen}");
}

#[tokio::test]
async fn without_a_terminal_the_found_file_is_used_and_named() {
    let (scratch, state) = (Scratch::new(&touching_server("piped")), Scratch::new(&json!({})));
    let ended = list(&scratch, state.path()).run().await;
    let path = scratch.path().join(".mcp.json").canonicalize().expect("a path").display().to_string();
    let ended = ended.saying(&["using the servers file", &path, "found and not named"]);
    assert!(was_started(&scratch, "piped"), "{ended}");
}

#[tokio::test]
async fn answer_of_a_tool_cannot_control_a_terminal_and_keeps_its_value() {
    let scratch = Scratch::new(&json!({ "noop": { "type": "noop" } }));
    let text = "a\u{9b}31mb\u{202e}c\u{1b}[2Jd\u{7f}\u{2028}\u{61c}\u{200f}\u{2067}";
    let arguments = json!({ "text": text }).to_string();
    let call = |more: &[&str]| {
        let words = ["servers", "call", "noop/echo", &arguments, "--mcp-config", ".mcp.json"];
        Longshore::new(scratch.path(), words.iter().chain(more)).env("NO_COLOR", "1")
    };
    for more in [&["--json"][..], &[]] {
        let (code, screen) = TerminalSession::start(call(more)).end().await;
        assert_eq!(code, Some(0), "{screen}");
        let is_direction = |c: char| "\u{202e}\u{2028}\u{61c}\u{200f}\u{2067}".contains(c);
        let harmful = |c: char| is_direction(c) || c.is_control() && !matches!(c, '\n' | '\r');
        assert!(!screen.contains(harmful), "{screen:?}");
        let shown: Value = serde_json::from_str(&screen).expect("JSON");
        let shown = if more.is_empty() { &shown["text"] } else { &shown["value"]["text"] };
        assert_eq!(shown, text);
        let piped = call(more).run().await.expecting(0);
        assert!(piped.stdout.contains('\u{9b}'), "for a program it is as the tool gave it\n{piped}");
    }
}

#[tokio::test]
async fn times_are_local_at_a_terminal_and_in_utc_elsewhere() {
    let scratch = Scratch::with("longshore: v1\nname: short\nsteps: [{ set: { a: 1 } }]\n", &json!({}));
    scratch.run().await.expecting(0);
    let show = |more: &[&str]| {
        let words = ["runs", "show", "last"];
        Longshore::new(scratch.path(), words.iter().chain(more)).env("TZ", "XYZ-5:45").env("NO_COLOR", "1")
    };
    let submitted = |text: &str| text.lines().find(|line| line.contains("submitted")).map(str::to_owned);
    let (_, screen) = TerminalSession::start(show(&[])).end().await;
    assert!(submitted(&screen).is_some_and(|line| line.trim_end().ends_with("+05:45")), "{screen}");
    let piped = show(&[]).run().await.expecting(0);
    assert!(submitted(&piped.stdout).is_some_and(|line| line.ends_with('Z')), "{piped}");
}

#[tokio::test]
async fn list_at_a_narrow_terminal_keeps_every_column_and_a_piped_one_is_whole() {
    let name = "a-report-with-a-name-that-is-longer-than-most-others";
    let text = format!("longshore: v1\nname: {name}\nsteps: [{{ id: wrong, call: s/t }}]\n");
    let scratch = Scratch::with(&text, &json!({ "s": { "command": "false" } }));
    let failed = scratch.run().await.expecting(20);
    let run = scratch.newest().await.summary.run.to_string();
    let list = || Longshore::new(scratch.path(), ["runs", "list"]).env("NO_COLOR", "1");
    let (_, screen) = TerminalSession::start(list()).end().await;
    let rows: Vec<&str> = screen.lines().map(str::trim_end).collect();
    let row = rows.iter().find(|row| row.contains("failed")).expect("a row");
    assert!(rows[0].contains("TOOK") && rows[0].contains("ERROR") && row.contains("wrong:"), "{screen}");
    assert!(row.contains(&run[run.len() - 6..]) && row.chars().count() <= 80, "{screen}");
    let piped = list().run().await.expecting(0);
    for whole in [name, &run, "wrong: unavailable: "] {
        assert!(piped.stdout.contains(whole), "{piped}{failed}");
    }
}

#[tokio::test]
async fn reason_of_a_broken_server_is_whole_at_a_narrow_terminal_and_in_a_pipe() {
    let scratch = Scratch::new(&json!({}));
    let complaint = format!("{} the end of the reason", "a sentence of some length ".repeat(6));
    let script = format!("echo '{complaint}' >&2; exit 3");
    scratch.servers(&json!({ "broken": { "command": "sh", "args": ["-c", script] } }));
    let list = || {
        let list = Longshore::new(scratch.path(), ["servers", "list", "--mcp-config", ".mcp.json"]);
        list.env("NO_COLOR", "1").env("TERM", "dumb")
    };
    let (_, screen) = TerminalSession::start(list()).end().await;
    let rows: Vec<&str> = screen.lines().map(str::trim_end).collect();
    assert!(rows.iter().all(|row| row.chars().count() <= 80), "{screen}");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&screen).contains(&words(&complaint)), "{screen}");
    let piped = list().run().await.expecting(1);
    assert!(piped.stdout.lines().any(|line| line.contains(&complaint)), "{piped}");
}

#[tokio::test]
async fn servers_are_shown_as_they_answer() {
    let scratch = Scratch::new(&json!({}));
    let open = scratch.path().join("open");
    let wait = format!("while [ ! -e {} ]; do sleep 0.05; done", open.display());
    let slow =
        json!({ "command": "sh", "args": ["-c", wait], "longshore": { "connect_timeout_ms": 60_000 } });
    scratch.servers(&json!({ "quick": { "type": "noop" }, "slow": slow }));
    let list = || {
        let list = Longshore::new(scratch.path(), ["servers", "list", "--mcp-config", ".mcp.json"]);
        list.env("NO_COLOR", "1").env("TERM", "xterm")
    };
    let (terminal, piped) = (TerminalSession::start(list()), list().start());
    terminal.shows("quick  ready").await;
    terminal.shows("waiting for slow").await;
    until("the first server is printed", || piped.stdout().contains("quick  ready")).await;
    assert!(
        !piped.stderr().contains("waiting for"),
        "progress is shown at a terminal only: {}",
        piped.stderr()
    );
    fs::write(open, "").expect("a file");
    let piped = piped.end().await.expecting(1);
    assert!(piped.stdout.lines().any(|line| line.contains("slow   broken")), "{piped}");
    let (code, screen) = terminal.end().await;
    assert_eq!(code, Some(1), "{screen}");
    let whole = screen.rsplit("waiting for").next().unwrap_or_default();
    assert!(whole.contains("quick  ready") && whole.contains("slow   broken"), "{screen}");
}
