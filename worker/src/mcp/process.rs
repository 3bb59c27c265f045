//! The process of a server over stdio. It starts with a clean environment, and always ends.
//!
//! The child leads a process group of its own, because the command is often a wrapper (`sh -c`, `npx`, `uvx`) whose real server is
//! a grandchild. Signals are sent to the group. With a launcher the child is a supervisor, which also ends the group when this
//! process is killed. A dropped process is killed at once, so that a cancelled future leaves no process behind.

mod output_tail;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::config::StdioServer;
use crate::launcher::{Launcher, ProcessLimits};
pub(crate) use output_tail::OutputTail;

/// Time for a server to exit once its input has ended. Common servers need 0.4 s at most.
const EXIT_LIMIT: Duration = Duration::from_millis(1500);
/// Time for a server to exit after SIGTERM.
const TERMINATE_LIMIT: Duration = Duration::from_millis(1000);
/// Time for a server to exit after SIGKILL. A process in an uninterruptible wait takes longer and is not waited for.
const KILL_LIMIT: Duration = Duration::from_millis(500);

/// Folders in which programs are searched without `PATH`, as in the C library.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A running server and its process group.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    /// The child is a supervisor, which started the server.
    is_supervised: bool,
    limits: ProcessLimits,
    group: Option<Pid>,
    /// Task that reads the standard error until this is dropped.
    _stderr: JoinSet<()>,
}

/// The standard input and output of a server.
#[derive(Debug)]
pub(crate) struct ServerStreams {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
}

impl ServerProcess {
    /// Starts a server, under a supervisor if there is a launcher. Its standard error is added to `tail`.
    ///
    /// # Errors
    /// A description of what could not be started, and why.
    pub(crate) fn start(
        server: &StdioServer,
        limits: ProcessLimits,
        launcher: Option<&Launcher>,
        tail: Arc<OutputTail>,
    ) -> Result<(Self, ServerStreams), String> {
        let mut command = match launcher {
            Some(launcher) => {
                // The supervisor itself always starts, so the command is checked before.
                let found = find_program(server);
                found.map_err(|kind| start_error(server, &kind.into()))?;
                launcher.command(&limits, server.command.value())
            }
            None if limits.has_limit() => {
                return Err("`limits` cannot be kept: this program has no launcher of servers".to_owned());
            }
            None => Command::new(server.command.value()),
        };
        command
            .args(server.args.iter().map(super::config::ExpandedText::value))
            .env_clear()
            .envs(server.env.iter().map(|(name, value)| (name, &value.0)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(cwd) = &server.cwd {
            command.current_dir(cwd.value());
        }
        let mut child = command.spawn().map_err(|error| start_error(server, &error))?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(format!("`{}` started without its standard streams", server.command));
        };
        let mut drain = JoinSet::new();
        drain.spawn(async move { tail.follow(stderr).await });
        let is_supervised = launcher.is_some();
        Ok((Self { child, is_supervised, limits, group, _stderr: drain }, ServerStreams { stdin, stdout }))
    }

    /// Returns the process id of the server while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        let child = self.child.id()?;
        let server = if self.is_supervised { only_child_of(child) } else { None };
        Some(server.unwrap_or(child))
    }

    /// Ends the server and its children, in at most three seconds. The caller has closed its input before. Returns a description of
    /// its exit.
    pub(crate) async fn end(mut self) -> String {
        let limits = self.limits;
        match self.end_group().await {
            Some(status) => match limits.exceeded(status) {
                Some(limit) => format!("the server ended with {status}, at its limit `{limit}`"),
                None => format!("the server ended with {status}"),
            },
            None => "the server was killed".to_owned(),
        }
    }

    async fn end_group(&mut self) -> Option<ExitStatus> {
        let mut status = self.wait(EXIT_LIMIT).await;
        if status.is_none() {
            self.signal(Signal::TERM);
            status = self.wait(TERMINATE_LIMIT).await;
        }
        // Children of a wrapper may still run even if the wrapper has exited.
        self.signal(Signal::KILL);
        if status.is_none() {
            status = self.wait(KILL_LIMIT).await;
        }
        self.group = None;
        status
    }

    async fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        timeout(limit, self.child.wait()).await.ok()?.ok()
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // The only error is that the group is empty, which is the wanted state.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Returns the process that a supervisor started. Returns `None` if the system does not report it.
fn only_child_of(supervisor: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Searches the program of a server in the folders in which the system would search it.
fn find_program(server: &StdioServer) -> Result<(), std::io::ErrorKind> {
    let command = Path::new(server.command.value());
    let folder = server.cwd.as_ref().map_or_else(|| Path::new("."), |cwd| Path::new(cwd.value()));
    let is_path = command.components().count() > 1 || server.command.value().contains('/');
    let path = server.env.get("PATH").map_or(DEFAULT_PATH, |path| path.0.as_str());
    let candidates: Vec<_> = if is_path {
        vec![folder.join(command)]
    } else {
        std::env::split_paths(path).map(|searched| folder.join(searched).join(command)).collect()
    };
    let metadata = || candidates.iter().filter_map(|candidate| std::fs::metadata(candidate).ok());
    let files = || metadata().filter(std::fs::Metadata::is_file);
    if files().any(|file| file.permissions().mode() & 0o111 != 0) {
        Ok(())
    } else if files().next().is_some() {
        Err(std::io::ErrorKind::PermissionDenied)
    } else {
        Err(std::io::ErrorKind::NotFound)
    }
}

/// Describes why a command cannot be started, and how to fix that.
fn start_error(server: &StdioServer, error: &std::io::Error) -> String {
    let command = &server.command;
    if let Some(cwd) = &server.cwd
        && !Path::new(cwd.value()).is_dir()
    {
        return format!("its folder `{cwd}` does not exist");
    }
    let folder = server.cwd.as_ref().map_or_else(|| Path::new("."), |cwd| Path::new(cwd.value()));
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied
            if folder.join(command.value()).is_dir() =>
        {
            format!("`{command}` is a folder; write the path of the program itself as `command`")
        }
        std::io::ErrorKind::NotFound => {
            format!("no program `{command}`; is it installed, and in the PATH that the server gets?")
        }
        std::io::ErrorKind::PermissionDenied => format!("`{command}` may not be executed"),
        _ => format!("`{command}`: {error}"),
    }
}
