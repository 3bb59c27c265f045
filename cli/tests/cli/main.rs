//! Tests of the built `longshore`: its output, its exit codes, and the files that it leaves.
//!
//! Each test has its own folder with a servers file; its server is the small one in `fixtures`.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod credentials;
mod daily;
mod folder;
mod recorded;
mod refusals;
mod shared_directory;
mod stopping;

use serde_json::json;

use crate::folder::{CommandResult, ECHO, Folder};

#[tokio::test]
async fn run_prints_its_outputs_and_is_listed() {
    let folder = Folder::with(ECHO);
    let ran = folder.run(&["run", "wf.yaml", "-i", "who=you"]).await.expecting(0, &["greet  succeeded"]);
    assert_eq!(ran.json_lines(), [json!({ "text": "Hello, you!" })]);

    let ran = folder.run(&["run", "wf.yaml", "-i", "who=me", "--json"]).await.expecting(0, &[]);
    let [document] = &ran.json_lines()[..] else { panic!("{ran:#?}") };
    assert_eq!((&document["schema"], &document["version"]), (&json!("longshore.run"), &json!(1)));
    assert_eq!(document["outputs"], json!({ "text": "Hello, me!" }));

    let listed = folder.run(&["runs", "list", "--status", "succeeded", "--json"]).await.expecting(0, &[]);
    let listed = listed.json_lines();
    assert_eq!((listed.len(), &listed[0]["run"]), (2, &document["run"]), "newest first: {listed:#?}");
    assert_eq!(listed[0]["schema"], "longshore.run-summary");

    let id = document["run"].as_str().expect("an id");
    let shown = folder.run(&["runs", "show", &id[id.len() - 8..], "--json"]).await.expecting(0, &[]);
    assert_eq!(shown.json_lines()[0]["steps"][0]["attempts"][0]["number"], 1);
    let shown = folder.run(&["runs", "show", id]).await.expecting(0, &[]);
    assert!(shown.stdout.contains("attempt 1") && shown.stdout.contains("Hello, me!"), "{shown:#?}");
    folder.run(&["runs", "show", "zzzz"]).await.expecting(5, &["no run `zzzz`"]);
}

#[tokio::test]
async fn number_that_is_passed_on_in_another_form_causes_a_warning() {
    let text = "longshore: v1\nname: any\ninputs: { any: {}, number: { type: number }, pin: { secret: true } }\n\
                steps: [{ set: { a: 1 } }]\noutputs: { any: '${{ inputs.?any }}' }\n";
    let folder = Folder::with(text);
    let words =
        ["warning: input `any` has no type, and `1.10` is passed on as text; as a number it would be 1.1"];
    let run =
        folder.run(&["run", "wf.yaml", "-i", "any=1.10", "-i", "number=1.10"]).await.expecting(0, &words);
    assert_eq!(run.json_lines(), [json!({ "any": "1.10" })]);
    folder.write("in.json", r#"{"any": {"version": 1.10}, "number": 2.50}"#);
    let words = ["warning: input `any` has no type, and the number 1.10 is passed on as 1.1"];
    let run = folder.run(&["run", "wf.yaml", "--input-file", "in.json"]).await.expecting(0, &words);
    assert_eq!(run.json_lines(), [json!({ "any": { "version": 1.1 } })]);
    let fine = folder.run(&["run", "wf.yaml", "-i", "any=1.1", "-i", "number=1.10"]).await.expecting(0, &[]);
    assert!(!fine.stderr.contains("warning"), "{fine:#?}");
    let secret =
        folder.run(&["run", "wf.yaml", "-i", "pin=4711.10"]).await.expecting(3, &["`pin` is secret"]);
    assert!(!secret.stderr.contains("4711"), "{secret:#?}");
}

#[tokio::test]
async fn failed_run_is_reported_with_step_and_fault() {
    let folder = Folder::with("longshore: v1\nname: bad\nsteps:\n  - { id: it, call: test/fail }\n");
    let words = ["failed at step `it`: tool_error", "row 7 has no number", "longshore runs show run_00_"];
    let ran = folder.run(&["run", "wf.yaml"]).await.expecting(20, &words);
    assert_eq!(ran.stdout, "");
}

#[tokio::test]
async fn servers_commands_report_working_and_broken_servers() {
    let folder = Folder::with(ECHO);
    let listed = folder.run(&["servers", "list", "--json"]).await.expecting(0, &[]).json_lines();
    assert_eq!(listed[0]["protocol_version"], "2025-11-25");
    assert_eq!((&listed[0]["status"], &listed[0]["tools"]), (&json!("ready"), &json!(5)));
    let tools = folder.run(&["servers", "tools", "test", "--json"]).await.expecting(0, &[]).json_lines();
    assert!(
        tools.iter().any(|tool| tool["name"] == "echo" && tool["hints"]["read_only"] == true),
        "{tools:#?}"
    );

    let called =
        folder.run(&["servers", "call", "test/echo", r#"{"a": 1}"#, "-a", "b=x"]).await.expecting(0, &[]);
    assert_eq!(called.json_lines(), [json!({ "a": 1, "b": "x" })]);
    // A program gets a text unchanged, with its control characters.
    let plain = ["servers", "call", "test/echo", "-a", "plain=\u{1b}[31mred\u{1b}[0m\u{7}"];
    let called = folder.run(&plain).await.expecting(0, &[]);
    assert_eq!(called.stdout, "\u{1b}[31mred\u{1b}[0m\u{7}\n");
    let typed = ["servers", "call", "test/strict", "-a", "text=02142", "-a", "count=5"];
    let called = folder.run(&typed).await.expecting(0, &[]);
    assert_eq!(called.json_lines(), [json!({ "text": "02142", "count": 5 })]);
    let unknown = |tool: &'static str| ["servers", "call", tool, "-a", "text=x", "-a", "cuont=1"];
    let words = ["takes no argument `cuont`", "did you mean `count`?"];
    folder.run(&unknown("test/strict")).await.expecting(3, &words);
    let words = ["warning: `cuont` is not an argument of `test/open`", "did you mean `count`?"];
    folder.run(&unknown("test/open")).await.expecting(0, &words);
    folder.run(&["servers", "call", "test/echo", "@-"]).await.expecting(3, &["$(cat arguments.json)"]);
    folder.run(&["servers", "call", "test/fail"]).await.expecting(1, &["row 7 has no number"]);
    folder.run(&["servers", "call", "test/ehco"]).await.expecting(5, &["did you mean `echo`?"]);
    folder.run(&["servers", "call", "tset/echo"]).await.expecting(5, &["did you mean `test`?"]);
    folder.run(&["servers", "call", "test/hold", "--timeout", "200ms"]).await.expecting(1, &["timeout"]);

    folder.write(".mcp.json", r#"{"mcpServers": {"gone": {"command": "/no/such/program"}}}"#);
    let listed = folder.run(&["servers", "list", "--json"]).await.expecting(1, &[]).json_lines();
    assert_eq!((&listed[0]["server"], &listed[0]["status"]), (&json!("gone"), &json!("broken")));
}

#[tokio::test]
async fn closed_stdout_is_no_error() {
    let folder = Folder::with(ECHO);
    let mut listing = folder.start(&["completions", "bash"]);
    drop(listing.stdout.take());
    CommandResult::of(listing).await.expecting(0, &[]);
}

#[tokio::test]
async fn codes_and_completions_are_printed() {
    let folder = Folder::with(ECHO);
    let explained = folder.run(&["explain", "ls0107"]).await.expecting(0, &[]);
    assert!(explained.stdout.starts_with("LS0107: "), "{explained:#?}");
    let explained = folder.run(&["explain", "LS0107", "--json"]).await.expecting(0, &[]);
    assert_eq!(explained.json_lines()[0]["schema"], "longshore.explanation");
    folder.run(&["explain", "LS9999"]).await.expecting(5, &["no code `LS9999`"]);
    for shell in ["bash", "zsh", "fish"] {
        let script = folder.run(&["completions", shell]).await.expecting(0, &[]);
        assert!(script.stdout.contains("mcp-config"), "{shell}");
    }
    let version = folder.run(&["--version"]).await.expecting(0, &[]);
    assert_eq!(version.stdout, concat!("longshore ", env!("CARGO_PKG_VERSION"), "\n"));
    folder.run(&["walk"]).await.expecting(2, &["unrecognized subcommand"]);
}

#[tokio::test]
async fn absence_of_an_input_is_a_warning_unless_it_is_given() {
    let text = "longshore: v1\nname: any\ninputs: { x: { type: string } }\n\
                steps: [{ id: a, set: { x: '${{ inputs.x }}' } }]\n";
    let folder = Folder::with(text);
    let given = folder.run(&["run", "wf.yaml", "-i", "x=1"]).await.expecting(0, &[]);
    assert!(!given.stderr.contains("LS0504"), "{given:#?}");
    folder.run(&["run", "wf.yaml"]).await.expecting(20, &["LS0504"]);
}
