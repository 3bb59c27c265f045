//! The built `longshore`, started with a time limit: its output and its exit status.
//!
//! Output goes to files, not to pipes: a server process that outlives a killed `longshore` keeps its end of a pipe open, and
//! a test that reads to the end of the pipe would wait for that process.

#![expect(clippy::panic, reason = "a program that does not start or end has failed the test")]

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::small_disk::SmallDisk;
use crate::tools::program;

/// The limit for a command and for a condition: many times what any of them needs, also while eight tests run on two cores. A command that exceeds it is killed, by its
/// process id, and the test fails.
pub const PATIENCE: Duration = Duration::from_secs(180);

const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";

/// Environment variables that would change the behaviour of `longshore`. A test sets those that it needs.
const UNSET: [&str; 6] =
    ["LONGSHORE_DATA", "LONGSHORE_MCP_CONFIG", "LONGSHORE_LOG", "RUST_LOG", "CLICOLOR_FORCE", "CI"];

/// A command that has not been started.
#[derive(Debug)]
pub struct Longshore {
    command: Command,
    shown: String,
}

/// A command that was started. It is killed when this is dropped.
#[derive(Debug)]
pub struct StartedCommand {
    child: Child,
    shown: String,
    since: Instant,
    output: OutputFiles,
}

/// A command that has ended.
#[derive(Debug)]
pub struct EndedCommand {
    shown: String,
    status: ExitStatus,
    /// The results that it printed.
    pub stdout: String,
    /// The messages that it printed.
    pub stderr: String,
    /// The time from its start to its end.
    pub took: Duration,
}

/// The files that hold the output of a process.
#[derive(Debug)]
struct OutputFiles {
    folder: TempDir,
}

impl Longshore {
    /// Returns `longshore` with these arguments, to run in this folder.
    pub fn new<A: AsRef<str>>(folder: &Path, arguments: impl IntoIterator<Item = A>) -> Self {
        Self::prefixed(folder, Vec::new(), arguments)
    }

    /// Returns `longshore` with these arguments, to run where a small disk is mounted. Paths in the arguments must be absolute.
    pub fn on<A: AsRef<str>>(disk: &SmallDisk, arguments: impl IntoIterator<Item = A>) -> Self {
        Self::prefixed(Path::new("/"), disk.command_prefix(), arguments)
    }

    fn prefixed<A: AsRef<str>>(
        folder: &Path,
        mut line: Vec<String>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        line.push(program("longshore").display().to_string());
        line.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        let shown = line.join(" ");
        let mut line = line.into_iter();
        let mut command = Command::new(line.next().unwrap_or_default());
        command.args(line).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
        for name in UNSET {
            command.env_remove(name);
        }
        Self { command, shown }
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes all variables of its environment.
    pub fn without_environment(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// Returns the command, for a caller that starts it differently.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    /// Starts the command.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(mut self) -> StartedCommand {
        let since = Instant::now();
        let output = OutputFiles::new();
        self.command.stdout(output.create(STDOUT)).stderr(output.create(STDERR));
        let child = self.command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.shown));
        StartedCommand { child, shown: self.shown, since, output }
    }

    /// Starts the command and waits for its end.
    pub async fn run(self) -> EndedCommand {
        self.start().end().await
    }
}

impl StartedCommand {
    /// Returns the process id.
    ///
    /// # Panics
    /// When the command was seen to have ended: the system may give its id to another process.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("{} has ended", self.shown))
    }

    /// Returns true until the command has ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Returns the results that it has printed so far.
    pub fn stdout(&self) -> String {
        self.output.text(STDOUT)
    }

    /// Returns the messages that it has printed so far. A process writes its log on another thread, so a line may follow later:
    /// wait for it with [`until`](crate::wait::until), or end the process first.
    pub fn stderr(&self) -> String {
        self.output.text(STDERR)
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends SIGTERM, which asks for an orderly end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else { panic!("{} has no process id", self.shown) };
        // It may have ended in between.
        let _ = kill_process(pid, signal);
    }

    /// Kills the command, as kill -9 does, and waits until it is gone.
    pub async fn kill(mut self) -> EndedCommand {
        // It may have ended in between, which its status shows.
        let _ = self.child.start_kill();
        self.end().await
    }

    /// Waits for the end of the command.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`]. It is killed then.
    pub async fn end(mut self) -> EndedCommand {
        let waited = timeout(PATIENCE, self.child.wait()).await;
        let took = self.since.elapsed();
        let (stdout, stderr) = (self.output.text(STDOUT), self.output.text(STDERR));
        match waited {
            Ok(Ok(status)) => EndedCommand { shown: self.shown, status, stdout, stderr, took },
            Ok(Err(error)) => panic!("{}: {error}", self.shown),
            Err(_) => panic!("{} did not end within {PATIENCE:?}\n{stdout}\n{stderr}", self.shown),
        }
    }
}

impl EndedCommand {
    /// Returns the exit code, or `None` if a signal ended the command.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Returns true if a signal ended the command.
    pub fn was_killed(&self) -> bool {
        self.status.signal().is_some()
    }

    /// Asserts the exit code.
    ///
    /// # Panics
    /// When the exit code is another one.
    #[track_caller]
    pub fn expecting(self, code: i32) -> Self {
        assert!(self.code() == Some(code), "the exit code should be {code}\n{self}");
        self
    }

    /// Asserts that the messages contain all of these texts.
    ///
    /// # Panics
    /// When one is missing.
    #[track_caller]
    pub fn saying(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "the messages should hold {word:?}\n{self}");
        }
        self
    }

    /// Returns the result, which is one JSON document.
    ///
    /// # Panics
    /// When the result is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is not JSON: {error}\n{self}"))
    }

    /// Returns the results, each a JSON document on a line of its own.
    ///
    /// # Panics
    /// When a line is not JSON.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        lines.unwrap_or_else(|error| panic!("a line of stdout is not JSON: {error}\n{self}"))
    }
}

impl std::fmt::Display for EndedCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { shown, status, stdout, stderr, took } = self;
        write!(f, "{shown}\n{status} after {took:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

impl OutputFiles {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no scratch folder: {error}"));
        Self { folder }
    }

    fn create(&self, name: &str) -> File {
        File::create(self.folder.path().join(name))
            .unwrap_or_else(|error| panic!("no file for {name}: {error}"))
    }

    fn text(&self, name: &str) -> String {
        let bytes = std::fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
