//! The built `longshore`, started with a deadline: what it printed and how it ended.
//!
//! Output goes to files, not to pipes: a server process that outlives a killed `longshore` holds its end of a pipe
//! open, and whoever reads to the end of it would wait for that one.

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

/// No command here needs a tenth of this. One that does not end is killed, by its pid, and the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";

/// Variables that would change what `longshore` does; tests set what they mean.
const FOREIGN: [&str; 6] =
    ["LONGSHORE_DATA", "LONGSHORE_MCP_CONFIG", "LONGSHORE_LOG", "RUST_LOG", "CLICOLOR_FORCE", "CI"];

/// A command that has not been started.
#[derive(Debug)]
pub struct Longshore {
    command: Command,
    shown: String,
}

/// A command that is running. It is killed when this is dropped.
#[derive(Debug)]
pub struct Started {
    child: Child,
    shown: String,
    since: Instant,
    printed: Printed,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    shown: String,
    status: ExitStatus,
    /// What it printed as its result.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

/// Files that a process writes and a test reads.
#[derive(Debug)]
struct Printed {
    folder: TempDir,
}

impl Longshore {
    /// `longshore` with these arguments, in this folder.
    pub fn new<A: AsRef<str>>(folder: &Path, arguments: impl IntoIterator<Item = A>) -> Self {
        Self::prefixed(folder, Vec::new(), arguments)
    }

    /// The same, seeing a small disk. All paths among the arguments must be absolute.
    pub fn on<A: AsRef<str>>(disk: &SmallDisk, arguments: impl IntoIterator<Item = A>) -> Self {
        Self::prefixed(Path::new("/"), disk.enter(), arguments)
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
        for name in FOREIGN {
            command.env_remove(name);
        }
        Self { command, shown }
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Leaves out every variable of its environment.
    pub fn without_environment(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// The command, to be started in another way.
    pub(crate) fn into_command(self) -> Command {
        self.command
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(mut self) -> Started {
        let since = Instant::now();
        let printed = Printed::new();
        self.command.stdout(printed.file(STDOUT)).stderr(printed.file(STDERR));
        let child = self.command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.shown));
        Started { child, shown: self.shown, since, printed }
    }

    /// Starts it and waits for its end.
    pub async fn run(self) -> Ended {
        self.start().end().await
    }
}

impl Started {
    /// Its process.
    ///
    /// # Panics
    /// When it has ended, and nobody may use the number any more.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("{} has ended", self.shown))
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        self.printed.text(STDOUT)
    }

    /// What it has said so far.
    pub fn stderr(&self) -> String {
        self.printed.text(STDERR)
    }

    /// Sends it SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends it SIGTERM, as whoever wants it to end in order does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else { panic!("{} has no process id", self.shown) };
        // It may have ended in between; then there is nobody to tell.
        let _ = kill_process(pid, signal);
    }

    /// Kills it, as kill -9 does, and waits until it is gone.
    pub async fn kill(mut self) -> Ended {
        // It may have ended in between, which the status tells.
        let _ = self.child.start_kill();
        self.end().await
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`]; it is killed then.
    pub async fn end(mut self) -> Ended {
        let waited = timeout(PATIENCE, self.child.wait()).await;
        let took = self.since.elapsed();
        let (stdout, stderr) = (self.printed.text(STDOUT), self.printed.text(STDERR));
        match waited {
            Ok(Ok(status)) => Ended { shown: self.shown, status, stdout, stderr, took },
            Ok(Err(error)) => panic!("{}: {error}", self.shown),
            Err(_) => panic!("{} did not end within {PATIENCE:?}\n{stdout}\n{stderr}", self.shown),
        }
    }
}

impl Ended {
    /// The exit code; nothing if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Whether a signal ended it.
    pub fn was_killed(&self) -> bool {
        self.status.signal().is_some()
    }

    /// The same, once the exit code is this one.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn expecting(self, code: i32) -> Self {
        assert!(self.code() == Some(code), "the exit code should be {code}\n{self}");
        self
    }

    /// The same, once its messages hold all of these.
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

    /// Its result, which is one JSON document.
    ///
    /// # Panics
    /// When it is something else.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is no JSON: {error}\n{self}"))
    }

    /// Its results, each of which is a JSON document on a line.
    ///
    /// # Panics
    /// When they are something else.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        lines.unwrap_or_else(|error| panic!("stdout is no lines of JSON: {error}\n{self}"))
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { shown, status, stdout, stderr, took } = self;
        write!(f, "{shown}\n{status} after {took:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

impl Printed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no scratch folder: {error}"));
        Self { folder }
    }

    fn file(&self, name: &str) -> File {
        File::create(self.folder.path().join(name))
            .unwrap_or_else(|error| panic!("no file for {name}: {error}"))
    }

    fn text(&self, name: &str) -> String {
        let bytes = std::fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
