//! The built `longshore`, as a shell sees it: what it prints where, how it ends, and what it leaves behind.
//!
//! Each test has a folder of its own with a servers file; the server is a small one beside this file.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// No command here needs a tenth of this.
const PATIENCE: Duration = Duration::from_secs(60);

const ECHO: &str = "
longshore: v1
name: echo
inputs:
  who: { type: string, required: true }
steps:
  - { id: greet, call: test/echo, with: { text: 'Hello, ${{ inputs.who }}!' } }
outputs:
  text: ${{ steps.greet.output.text }}
";

/// A workflow that waits until the file `open` is there. Waiting may be repeated.
const HOLD: &str = "
longshore: v1
name: hold
steps:
  - { id: hold, call: test/hold, with: { held: true }, retry: 3 }
outputs:
  held: ${{ steps.hold.output.held }}
";

/// A workflow that tidies up after itself, also when it is cancelled; both steps wait for the file `open`.
const TIDY: &str = "
longshore: v1
name: tidy
steps:
  - { id: hold, call: test/hold, retry: 3 }
  - { id: tidy, call: test/hold, retry: 3, if: always() }
";

/// A folder with a workflow and a servers file.
struct Folder(TempDir);

impl Folder {
    fn with(workflow: &str) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.write("wf.yaml", workflow);
        folder.serve(&[]);
        folder
    }

    /// Writes the servers file.
    fn serve(&self, arguments: &[&str]) {
        let mut all = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/echo_server.py")];
        all.extend(arguments);
        let servers = json!({ "mcpServers": { "test": { "command": "python3", "args": all } } });
        self.write(".mcp.json", &servers.to_string());
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("writes");
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("starts")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
        for name in ["LONGSHORE_DATA", "LONGSHORE_MCP_CONFIG", "LONGSHORE_LOG", "RUST_LOG", "CLICOLOR_FORCE"]
        {
            command.env_remove(name);
        }
        command.args(arguments).current_dir(self.path()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.start(arguments)).await
    }

    /// Waits until the server has been called so many times.
    async fn called(&self, times: usize) {
        let calls = || std::fs::read_to_string(self.path().join("calls")).unwrap_or_default().lines().count();
        let waited = timeout(PATIENCE, async {
            while calls() < times {
                sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.expect("the call is made");
    }
}

/// What a command printed, and how it ended.
#[derive(Debug)]
struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Ended {
    async fn of(child: Child) -> Self {
        let ended = timeout(PATIENCE, child.wait_with_output()).await.expect("ends in time");
        let Output { status, stdout, stderr } = ended.expect("is waited for");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { status, stdout: text(stdout), stderr: text(stderr) }
    }

    #[track_caller]
    fn expecting(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} in {self:#?}");
        }
        self
    }

    #[track_caller]
    fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON document")).collect()
    }
}

/// Reads messages until one holds `words`; they are read off.
async fn until_it_says(child: &mut Child, words: &str) {
    let stderr = child.stderr.as_mut().expect("a pipe");
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains(words) {
        let read = timeout(PATIENCE, stderr.read_buf(&mut said)).await.expect("says something");
        assert_ne!(read.expect("reads"), 0, "it ended: {}", String::from_utf8_lossy(&said));
    }
}

fn send(child: &Child, signal: rustix::process::Signal) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("it runs"), signal).expect("is sent");
}

#[tokio::test]
async fn a_workflow_gives_its_outputs_and_is_listed_afterwards() {
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
async fn a_run_that_fails_says_where_and_why() {
    let folder = Folder::with("longshore: v1\nname: bad\nsteps:\n  - { id: it, call: test/fail }\n");
    let words = ["failed at step `it`: tool_error", "row 7 has no number", "longshore runs show run_00_"];
    let ran = folder.run(&["run", "wf.yaml"]).await.expecting(20, &words);
    assert_eq!(ran.stdout, "");
}

#[tokio::test]
async fn what_can_be_refused_is_refused_before_anything_is_written() {
    let folder = Folder::with(ECHO);
    folder.run(&["run", "wf.yaml"]).await.expecting(3, &["`who` is required", "help:"]);
    folder.run(&["run", "wf.yaml", "-i", "whom=x"]).await.expecting(3, &["did you mean `who`?"]);
    folder.run(&["run", "none.yaml"]).await.expecting(5, &["none.yaml"]);
    folder.run(&["run", "wf.yaml", "-i", "who"]).await.expecting(2, &["name=value"]);
    folder.write("wf.yaml", &ECHO.replace("test/echo", "tset/echo").replace(", required: true", ""));
    folder.run(&["run", "wf.yaml"]).await.expecting(3, &["`greet`", "`tset`", "did you mean `test`?"]);
    std::fs::remove_file(folder.path().join(".mcp.json")).expect("removes");
    folder.run(&["run", "wf.yaml"]).await.expecting(3, &["no servers file .mcp.json", "--mcp-config"]);
    assert!(!folder.path().join(".longshore").exists(), "nothing was written");
    folder.run(&["runs", "list"]).await.expecting(5, &[".longshore"]);
    folder.run(&["resume"]).await.expecting(5, &["no data directory .longshore"]);
}

#[tokio::test]
async fn what_cannot_be_used_is_told_with_how_to_mend_it() {
    let folder = Folder::with("longshore: v1\nname: fine\nsteps:\n  - call: test/echo\n");
    folder.run(&["run", "wf.yaml", "--slots", "0"]).await.expecting(2, &["a whole number from 1 to 65535"]);
    for command in [["run", "wf.yaml"], ["runs", "list"], ["runs", "show"]] {
        let arguments = [command.as_slice(), &["--data", ".mcp.json"]].concat();
        let arguments = if command[1] == "show" { [&arguments[..], &["x"]].concat() } else { arguments };
        folder.run(&arguments).await.expecting(2, &[".mcp.json is not a directory: name a directory"]);
    }
    let mut command = folder.command(&["runs", "list"]);
    command.env("LONGSHORE_LOG", "inof");
    let ended = Ended::of(command.spawn().expect("starts")).await;
    ended.expecting(2, &["LONGSHORE_LOG: `inof` is no level", "did you mean `info`?"]);
}

#[tokio::test]
async fn validate_finds_problems_in_text_servers_and_tools() {
    let folder = Folder::with(ECHO);
    let fine = folder.run(&["validate", "wf.yaml", "--online"]).await.expecting(0, &[]);
    assert_eq!(fine.stdout, "wf.yaml: `echo` is valid\n");
    folder.write("tool.yaml", &ECHO.replace("test/echo", "test/ecko"));
    folder.run(&["validate", "tool.yaml"]).await.expecting(0, &[]);
    let words = ["LS0403", "has no tool `ecko`", "tool.yaml:7:29", "did you mean `echo`?"];
    folder.run(&["validate", "tool.yaml", "--online"]).await.expecting(3, &words);
    folder.write("server.yaml", &ECHO.replace("test/echo", "tset/echo"));
    let words = ["LS0401", "no server `tset`", "server.yaml:7:24", "did you mean `test`?"];
    folder.run(&["validate", "server.yaml"]).await.expecting(3, &words);
    let strict = ECHO.replace("test/echo", "test/strict").replace("text:", "txt:");
    folder.write("strict.yaml", &strict.replace("}!' }", "}!', count: many }"));
    folder.run(&["validate", "strict.yaml"]).await.expecting(0, &[]);
    let words = [
        "LS0404",
        "takes no argument `txt`",
        "did you mean `text`?",
        "LS0405",
        "requires the argument `text`",
        "add `text` to `with`",
        "LS0406",
        "`count` must be of type integer, and this is string",
        "strict.yaml has 3 problems",
    ];
    folder.run(&["validate", "strict.yaml", "--online"]).await.expecting(3, &words);
    folder.write("bad.yaml", &ECHO.replace("steps:", "setps:"));
    let bad = folder
        .run(&["validate", "bad.yaml", "wf.yaml"])
        .await
        .expecting(3, &["bad.yaml:6", "`steps`", "LS0"]);
    assert_eq!(bad.stdout, "wf.yaml: `echo` is valid\n", "the second file is checked all the same");

    let json =
        folder.run(&["validate", "bad.yaml", "wf.yaml", "--json"]).await.expecting(3, &[]).json_lines();
    assert_eq!([&json[0]["valid"], &json[1]["valid"]], [&json!(false), &json!(true)]);
    assert!(
        json[0]["problems"].as_array().is_some_and(|all| all.iter().any(|one| one["line"] == 6)),
        "{json:#?}"
    );
}

#[tokio::test]
async fn validate_counts_a_file_that_cannot_be_read_as_invalid() {
    let folder = Folder::with("longshore: v1\nname: fine\nsteps:\n  - call: test/echo\n");
    std::fs::write(folder.path().join("latin.yaml"), b"name: \xff").expect("writes");
    let words = ["none.yaml cannot be read", "latin.yaml is not UTF-8"];
    let files = ["validate", "none.yaml", "latin.yaml", "wf.yaml"];
    let told = folder.run(&files).await.expecting(3, &words);
    assert_eq!(told.stdout, "wf.yaml: `fine` is valid\n");
    let told = folder.run(&[&files[..], &["--json"]].concat()).await.expecting(3, &[]);
    let json = told.json_lines();
    let valid: Vec<_> = json.iter().map(|one| (one["file"].as_str(), one["valid"].as_bool())).collect();
    let expected = [("none.yaml", false), ("latin.yaml", false), ("wf.yaml", true)];
    assert_eq!(valid, expected.map(|(file, valid)| (Some(file), Some(valid))));
    assert!(json[0]["error"].as_str().is_some_and(|error| error.contains("cannot be read")), "{json:#?}");
}

#[tokio::test]
async fn the_doctor_tells_good_servers_from_bad_ones() {
    let folder = Folder::with(ECHO);
    let listed = folder.run(&["servers", "list", "--json"]).await.expecting(0, &[]).json_lines();
    assert_eq!(listed[0]["protocol_version"], "2025-11-25");
    assert_eq!((&listed[0]["status"], &listed[0]["tools"]), (&json!("ready"), &json!(4)));
    let tools = folder.run(&["servers", "tools", "test", "--json"]).await.expecting(0, &[]).json_lines();
    assert!(
        tools.iter().any(|tool| tool["name"] == "echo" && tool["hints"]["read_only"] == true),
        "{tools:#?}"
    );

    let called =
        folder.run(&["servers", "call", "test/echo", r#"{"a": 1}"#, "-a", "b=x"]).await.expecting(0, &[]);
    assert_eq!(called.json_lines(), [json!({ "a": 1, "b": "x" })]);
    folder.run(&["servers", "call", "test/fail"]).await.expecting(1, &["row 7 has no number"]);
    folder.run(&["servers", "call", "test/ehco"]).await.expecting(5, &["did you mean `echo`?"]);
    folder.run(&["servers", "call", "tset/echo"]).await.expecting(5, &["did you mean `test`?"]);
    folder.run(&["servers", "call", "test/hold", "--timeout", "200ms"]).await.expecting(1, &["timeout"]);

    folder.write(".mcp.json", r#"{"mcpServers": {"gone": {"command": "/no/such/program"}}}"#);
    let listed = folder.run(&["servers", "list", "--json"]).await.expecting(1, &[]).json_lines();
    assert_eq!((&listed[0]["server"], &listed[0]["status"]), (&json!("gone"), &json!("broken")));
}

#[tokio::test]
async fn a_data_directory_belongs_to_one_process_and_others_may_look() {
    let folder = Folder::with(HOLD);
    let first = folder.start(&["run", "wf.yaml"]);
    folder.called(1).await;
    let pid = first.id().expect("it runs").to_string();
    folder.run(&["run", "wf.yaml"]).await.expecting(1, &["in use", &pid]);
    folder.write("open", "");
    let ended = Ended::of(first).await.expecting(0, &[]);
    assert_eq!(ended.json_lines(), [json!({ "held": true })]);
}

#[tokio::test]
async fn ctrl_c_cancels_the_run() {
    let folder = Folder::with(HOLD);
    let run = folder.start(&["run", "wf.yaml", "--json"]);
    folder.called(1).await;
    send(&run, rustix::process::Signal::INT);
    let ended = Ended::of(run).await.expecting(21, &["cancelling", "was cancelled"]);
    assert_eq!(ended.json_lines()[0]["status"], "cancelled");
    folder.run(&["resume"]).await.expecting(0, &["nothing to resume"]);
}

#[tokio::test]
async fn a_second_ctrl_c_stops_at_once_and_the_cancelled_run_can_be_resumed() {
    let folder = Folder::with(TIDY);
    let mut run = folder.start(&["run", "wf.yaml"]);
    folder.called(1).await;
    send(&run, rustix::process::Signal::INT);
    until_it_says(&mut run, "cancelling").await;
    folder.called(2).await;
    // The second call never ends, and the run waits for it.
    send(&run, rustix::process::Signal::INT);
    Ended::of(run).await.expecting(130, &["longshore resume"]);

    let listed = folder.run(&["runs", "list", "--json"]).await.expecting(0, &[]).json_lines();
    assert_eq!(listed[0]["status"], "cancelling");
    folder.write("open", "");
    let resumed = folder.run(&["resume", "--json"]).await.expecting(21, &["1 of 2 steps have ended"]);
    assert_eq!(resumed.json_lines()[0]["steps"][1]["status"], "succeeded");
}

#[tokio::test]
async fn the_result_is_printed_before_the_servers_are_closed_and_ctrl_c_does_not_wait_for_them() {
    let folder = Folder::with(ECHO);
    folder.serve(&["--linger"]);
    let mut run = folder.start(&["run", "wf.yaml", "-i", "who=me"]);
    let stdout = run.stdout.as_mut().expect("a pipe");
    let mut printed = Vec::new();
    while !printed.ends_with(b"\n") {
        let read = timeout(PATIENCE, stdout.read_buf(&mut printed)).await.expect("prints").expect("reads");
        assert_ne!(read, 0, "it ended without a result");
    }
    assert_eq!(String::from_utf8_lossy(&printed), "{\"text\":\"Hello, me!\"}\n");
    send(&run, rustix::process::Signal::INT);
    Ended::of(run).await.expecting(0, &[]);
    assert!(!folder.path().join("terminated").exists(), "nobody waited for the server to leave by itself");
}

#[tokio::test]
async fn a_run_that_was_stopped_at_once_is_resumed() {
    let folder = Folder::with(HOLD);
    let mut run = folder.start(&["run", "wf.yaml"]);
    folder.called(1).await;
    send(&run, rustix::process::Signal::TERM);
    until_it_says(&mut run, "stopping").await;
    // The call never ends, and the drain would wait for it.
    send(&run, rustix::process::Signal::INT);
    Ended::of(run).await.expecting(130, &["longshore resume"]);

    let listed = folder.run(&["runs", "list", "--json"]).await.expecting(0, &[]).json_lines();
    let id = listed[0]["run"].as_str().expect("an id");
    folder.run(&["resume", "zzzz"]).await.expecting(5, &["no run `zzzz` among the interrupted ones"]);
    folder.write("open", "");
    let resumed = folder.run(&["resume", id]).await.expecting(0, &["resuming", "0 of 1 steps have ended"]);
    assert_eq!(resumed.json_lines(), [json!({ "held": true })]);
}

#[tokio::test]
async fn an_interrupted_run_is_left_for_resume_by_the_next_one() {
    let folder = Folder::with(HOLD);
    let mut first = folder.start(&["run", "wf.yaml"]);
    folder.called(1).await;
    first.kill().await.expect("is killed");
    folder.write("open", "");
    folder.write("wf.yaml", ECHO);
    folder
        .run(&["run", "wf.yaml", "-i", "who=me"])
        .await
        .expecting(0, &["1 interrupted run is left as before"]);
    let interrupted = folder.run(&["runs", "list", "--status", "running", "--json"]).await.expecting(0, &[]);
    assert_eq!(interrupted.json_lines().len(), 1);
    folder.run(&["resume"]).await.expecting(0, &["resuming"]);
}

#[tokio::test]
async fn a_run_is_shown_from_the_moment_it_was_submitted() {
    let folder = Folder::with(HOLD);
    let mut run = folder.start(&["run", "wf.yaml"]);
    until_it_says(&mut run, "submitted").await;
    run.kill().await.expect("is killed");
    for _ in 0..2 {
        let listed = folder.run(&["runs", "list", "--json"]).await.expecting(0, &[]).json_lines();
        assert_eq!((listed.len(), &listed[0]["status"]), (1, &json!("running")), "{listed:#?}");
        let id = listed[0]["run"].as_str().expect("an id");
        let shown = folder.run(&["runs", "show", id, "--json"]).await.expecting(0, &[]).json_lines();
        assert_eq!(shown[0]["steps"][0]["path"], "hold");
    }
    folder.write("open", "");
    folder.run(&["resume"]).await.expecting(0, &["resuming"]);
    let listed = folder.run(&["runs", "list", "--json"]).await.expecting(0, &[]).json_lines();
    assert_eq!((listed.len(), &listed[0]["status"]), (1, &json!("succeeded")), "{listed:#?}");
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_error() {
    let folder = Folder::with(ECHO);
    let mut listing = folder.start(&["completions", "bash"]);
    drop(listing.stdout.take());
    Ended::of(listing).await.expecting(0, &[]);
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
