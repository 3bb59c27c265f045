//! Starts the processes of MCP servers, so that they end with this process and keep within resource limits.
//!
//! ```text
//! longshore worker ──► longshore __mcp-server (supervisor) ──► command of the server ──► its own children
//!        └────────────── standard input, a pipe ──────────────────►┘
//!                                └ reads nothing, but notices when the other end is closed
//! ```
//!
//! A process that is killed with SIGKILL cannot end its children. The supervisor ends them instead: it holds the server's
//! standard input too, and the kernel reports the end of the worker there. All of them are in one process group, which the
//! supervisor leads, so that children of a wrapper (`npx`, `sh -c`) end too. The supervisor is this program again, started
//! with `SUPERVISE` as its first argument. It starts this program once more (`EXEC`), which sets its own limits, asks the
//! kernel to kill it when the supervisor ends, and executes the server.

mod limits;
mod supervisor;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) use limits::ProcessLimits;

/// The first argument that makes this program a supervisor. The limits as JSON, the command and its arguments follow.
const SUPERVISE: &str = "__mcp-server";

/// The first argument that makes this program limit itself and execute the server. The other arguments are the same.
const EXEC: &str = "__mcp-server-exec";

/// The exit code of shells for a command that does not exist.
const NOT_FOUND: u8 = 127;
/// The exit code of shells for a command that cannot be started.
const NOT_STARTED: u8 = 126;

/// The program that starts servers.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
}

impl Launcher {
    /// Returns the launcher that starts this program, whose `main` must call [`run_if_launched`] first. Returns `None` if the
    /// program's file is not known.
    pub fn this_program() -> Option<Self> {
        // On Linux this name means the running program even after its file was replaced by another version.
        let linux = Path::new("/proc/self/exe");
        if linux.exists() {
            return Some(Self { program: linux.to_owned() });
        }
        std::env::current_exe().ok().map(|program| Self { program })
    }

    /// Returns the command that starts a server under a supervisor.
    pub(crate) fn command(&self, limits: &ProcessLimits, command: &str) -> tokio::process::Command {
        let mut supervisor = tokio::process::Command::new(&self.program);
        supervisor.arg0("longshore").arg(SUPERVISE).arg(limits.to_argument()).arg(command);
        supervisor
    }
}

/// Runs as a supervisor or executes a server, if a launcher started this program for that. Returns the exit code, or `None`
/// for any other start.
pub fn run_if_launched() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let stage = arguments.next()?;
    let exit_code = if stage == SUPERVISE {
        LaunchRequest::read(arguments).and_then(supervisor::supervise)
    } else if stage == EXEC {
        LaunchRequest::read(arguments).and_then(exec_server)
    } else {
        return None;
    };
    Some(exit_code.unwrap_or_else(|failure| {
        // The worker reads standard error as that of the server, so the fault of the call shows this message.
        let _ = writeln!(std::io::stderr(), "{}", failure.message);
        ExitCode::from(failure.code)
    }))
}

/// A server to start.
struct LaunchRequest {
    limits: ProcessLimits,
    command: OsString,
    arguments: Vec<OsString>,
}

/// The error of a server that was not started.
struct LaunchFailure {
    code: u8,
    message: String,
}

impl LaunchRequest {
    fn read(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, LaunchFailure> {
        let limits = arguments.next().and_then(|limits| ProcessLimits::from_argument(limits.to_str()?));
        let (Some(limits), Some(command)) = (limits, arguments.next()) else {
            let message = format!("`longshore {SUPERVISE}` is for longshore itself: it starts MCP servers");
            return Err(LaunchFailure { code: NOT_STARTED, message });
        };
        Ok(Self { limits, command, arguments: arguments.collect() })
    }

    fn failure(&self, error: &std::io::Error) -> LaunchFailure {
        let code = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_STARTED };
        LaunchFailure { code, message: format!("{}: {error}", self.command.display()) }
    }
}

/// Limits this process and replaces it by the server, which the kernel kills when the supervisor ends. The supervisor cannot set
/// the limits itself, since they would keep it from starting the server.
fn exec_server(request: LaunchRequest) -> Result<ExitCode, LaunchFailure> {
    use std::os::unix::process::CommandExt as _;
    end_with_supervisor().map_err(|error| request.failure(&error))?;
    let mut command = std::process::Command::new(&request.command);
    command.args(&request.arguments);
    request.limits.apply().map_err(|message| LaunchFailure { code: NOT_STARTED, message })?;
    Err(request.failure(&command.exec()))
}

/// Makes the kernel kill this process when the supervisor ends. This holds after `exec` too, but not for children of the server.
#[cfg(target_os = "linux")]
fn end_with_supervisor() -> std::io::Result<()> {
    use rustix::process::{Signal, getpgrp, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The supervisor leads the process group. It may have ended before the call above.
    let is_orphaned = getppid() != Some(getpgrp());
    if is_orphaned { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}

/// Does nothing: only Linux has this function.
#[cfg(not(target_os = "linux"))]
fn end_with_supervisor() -> std::io::Result<()> {
    Ok(())
}
