//! A temporary folder for a test, and the built `longshore` in it.

use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Deadline of a command, more than ten times what any of them needs.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// A workflow of one step that answers at once.
pub(crate) const ECHO: &str = "
longshore: v1
name: echo
inputs:
  who: { type: string, required: true }
steps:
  - { id: greet, call: test/echo, with: { text: 'Hello, ${{ inputs.who }}!' } }
outputs:
  text: ${{ steps.greet.output.text }}
";

/// A folder with a workflow and a servers file.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn with(workflow: &str) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.write("wf.yaml", workflow);
        folder.serve(&[]);
        folder
    }

    /// Writes the servers file, with these arguments for the server.
    pub(crate) fn serve(&self, arguments: &[&str]) {
        let mut all = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/echo_server.py")];
        all.extend(arguments);
        let servers = json!({ "mcpServers": { "test": { "command": "python3", "args": all } } });
        self.write(".mcp.json", &servers.to_string());
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("writes");
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("starts")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
        // Variables that name a cluster would make commands use it instead of the folder.
        let ours = |name: &String| name.starts_with("LONGSHORE_");
        let others = ["NATS_URL", "REDIS_URL", "RUST_LOG", "CLICOLOR_FORCE"].map(str::to_owned);
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for name in names.filter(ours).chain(others) {
            command.env_remove(name);
        }
        command.args(arguments).current_dir(self.path()).kill_on_drop(true);
        command.env("XDG_STATE_HOME", self.path().join("state"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> CommandResult {
        CommandResult::of(self.start(arguments)).await
    }

    /// Waits until the server has been called this number of times.
    pub(crate) async fn called(&self, times: usize) {
        let calls = || std::fs::read_to_string(self.path().join("calls")).unwrap_or_default().lines().count();
        let waited = timeout(COMMAND_TIMEOUT, async {
            while calls() < times {
                sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.expect("the call is made");
    }
}

/// The output and the exit status of a command.
#[derive(Debug)]
pub(crate) struct CommandResult {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl CommandResult {
    pub(crate) async fn of(child: Child) -> Self {
        let ended = timeout(COMMAND_TIMEOUT, child.wait_with_output()).await.expect("ends in time");
        let Output { status, stdout, stderr } = ended.expect("is waited for");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { status, stdout: text(stdout), stderr: text(stderr) }
    }

    #[track_caller]
    pub(crate) fn expecting(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} in {self:#?}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON document")).collect()
    }
}
