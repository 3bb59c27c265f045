//! Starts the processes of MCP servers so that they end with this process, and within limits.
//!
//! ```text
//! longshore worker ──► longshore __mcp-server (supervisor) ──► command of the server ──► its own children
//!        └────────────── standard input, a pipe ──────────────────►┘
//!                                └ reads nothing, but notices when nobody holds the other end
//! ```
//!
//! A process that is killed with SIGKILL cannot end its children. The supervisor does it in its place: it holds the
//! server's standard input as well, and learns from the kernel when the worker has gone. All of them are in one process
//! group, which the supervisor leads, so that what a wrapper (`npx`, `sh -c`) started ends too. The supervisor is this
//! program again, started with `SUPERVISE` as its first argument. It starts this program once more (`BECOME`), which takes the
//! limits on itself, asks the kernel to be killed when the supervisor is, and becomes the server.

mod limits;
mod supervisor;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) use limits::Limits;

/// The first argument of the program when it is to be a supervisor. The limits as JSON, the command and its arguments
/// follow.
const SUPERVISE: &str = "__mcp-server";

/// The first argument of the program when it is to limit itself and become the server. The rest is the same.
const BECOME: &str = "__mcp-server-exec";

/// The exit codes of shells for a command that is not there, and for one that cannot be started.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;

/// The program that starts servers.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
}

impl Launcher {
    /// This program, whose `main` must call [`launched`] before anything else. `None` if its file is not known.
    pub fn this_program() -> Option<Self> {
        // Linux keeps this name true when the file is replaced by another version while the program runs.
        let linux = Path::new("/proc/self/exe");
        if linux.exists() {
            return Some(Self { program: linux.to_owned() });
        }
        std::env::current_exe().ok().map(|program| Self { program })
    }

    /// The command that starts a server under a supervisor.
    pub(crate) fn command(&self, limits: &Limits, command: &str) -> tokio::process::Command {
        let mut line = tokio::process::Command::new(&self.program);
        line.arg0("longshore").arg(SUPERVISE).arg(limits.to_argument()).arg(command);
        line
    }
}

/// Is a supervisor, if the program was started as one. Returns the exit code then.
pub fn launched() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let stage = arguments.next()?;
    let ended = if stage == SUPERVISE {
        Order::read(arguments).and_then(supervisor::supervise)
    } else if stage == BECOME {
        Order::read(arguments).and_then(become_server)
    } else {
        return None;
    };
    Some(ended.unwrap_or_else(|failure| {
        // Standard error is the server's, so this ends up in the fault of the call.
        let _ = writeln!(std::io::stderr(), "{}", failure.message);
        ExitCode::from(failure.code)
    }))
}

/// What a supervisor is to start.
struct Order {
    limits: Limits,
    command: OsString,
    arguments: Vec<OsString>,
}

/// Why a server was not started.
struct LaunchFailure {
    code: u8,
    message: String,
}

impl Order {
    fn read(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, LaunchFailure> {
        let limits = arguments.next().and_then(|limits| Limits::from_argument(limits.to_str()?));
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

/// Limits this process, binds its life to that of the supervisor, and replaces it by the server. The limits would keep a supervisor
/// from starting anything.
fn become_server(order: Order) -> Result<ExitCode, LaunchFailure> {
    use std::os::unix::process::CommandExt as _;
    end_with_supervisor().map_err(|error| order.failure(&error))?;
    let mut command = std::process::Command::new(&order.command);
    command.args(&order.arguments);
    order.limits.apply().map_err(|message| LaunchFailure { code: NOT_STARTED, message })?;
    Err(order.failure(&command.exec()))
}

/// Makes the kernel kill this process when the supervisor ends, also after it has become the server. What the server starts is
/// not bound in this way.
#[cfg(target_os = "linux")]
fn end_with_supervisor() -> std::io::Result<()> {
    use rustix::process::{Signal, getpgrp, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The supervisor leads the process group. It may have ended before the kernel was asked.
    let is_orphaned = getppid() != Some(getpgrp());
    if is_orphaned { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}

/// Other systems than Linux know nothing like it.
#[cfg(not(target_os = "linux"))]
fn end_with_supervisor() -> std::io::Result<()> {
    Ok(())
}
