//! The process between Longshore and a server over stdio: ends the server and everything it started when Longshore has
//! gone, and otherwise ends as the server did.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, Signal, getpgid, getpgrp, getpid, getppid, kill_process, kill_process_group, setpgid,
};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::{BECOME, LaunchFailure, Launcher, NOT_STARTED, Order, limits};

/// How long a server may take to end once its input has ended, while Longshore lives. Longshore itself waits for 3 s at
/// most and then kills the process group.
const LEAVE: Duration = Duration::from_secs(5);

/// How often to look meanwhile whether Longshore is still there.
const PARENT_CHECK: Duration = Duration::from_millis(20);

/// Signals that are meant for the server: the supervisor outlives them, to report how the server ended.
const FOR_THE_SERVER: [SignalKind; 4] =
    [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];

/// Starts the server and waits for its end, or for the end of Longshore.
pub(super) fn supervise(order: Order) -> Result<ExitCode, LaunchFailure> {
    let failure = |what: &str, error: io::Error| LaunchFailure {
        code: NOT_STARTED,
        message: format!("the server has no supervisor: {what}: {error}"),
    };
    let family = Family::new().map_err(|error| failure("no process group", error))?;
    limits::forbid_core_dumps();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failure("no runtime", error))?;
    let ended = runtime.block_on(async {
        let ignored: Result<Vec<_>, _> = FOR_THE_SERVER.into_iter().map(signal).collect();
        let _ignored = ignored.map_err(|error| failure("no signal handler", error))?;
        let input = end_of_input().map_err(|error| failure("no thread", error))?;
        let child = start(&order).map_err(|error| order.failure(&error))?;
        close_output();
        Ok(family.see_through(child, input).await)
    })?;
    // The thread that waits for the end of the input may wait on, and ends with the process.
    runtime.shutdown_background();
    Ok(ended.map_or_else(|| ExitCode::from(NOT_STARTED), end_like))
}

/// Starts the server. Must be called on the main thread, whose end counts as that of the supervisor.
fn start(order: &Order) -> io::Result<Child> {
    let program = Launcher::this_program().ok_or(io::ErrorKind::NotFound)?.program;
    let mut command = Command::new(program);
    command.arg(BECOME).arg(order.limits.to_argument()).arg(&order.command).args(&order.arguments);
    command.spawn()
}

/// Lets go of the server's output, so that its end is noticed when the server closes it.
fn close_output() {
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// Ends when the other end of standard input is closed. Reads nothing: the messages are for the server.
fn end_of_input() -> io::Result<oneshot::Receiver<()>> {
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name("input".to_owned()).spawn(move || {
        let stdin = io::stdin();
        loop {
            let mut watched = [PollFd::new(&stdin, PollFlags::empty())];
            match poll(&mut watched, None) {
                Err(rustix::io::Errno::INTR) => {}
                _ => break,
            }
        }
        // The receiver is gone if the server has ended before.
        let _ = ended.send(());
    })?;
    Ok(end)
}

/// The process group of the server, and the process that started it.
struct Family {
    group: Pid,
    parent: Option<Pid>,
}

impl Family {
    fn new() -> io::Result<Self> {
        let (group, parent) = (getpid(), getppid());
        if getpgrp() != group {
            setpgid(None, None)?;
        }
        Ok(Self { group, parent })
    }

    /// Waits for the end of the server and ends what it left behind. `None` if its status cannot be read.
    async fn see_through(&self, mut child: Child, input: oneshot::Receiver<()>) -> Option<ExitStatus> {
        let status = tokio::select! {
            status = child.wait() => status,
            _ = input => self.leave(&mut child).await,
        };
        if let (Some(parent), false) = (self.parent, self.is_orphaned())
            && getpgid(Some(parent)).is_ok_and(|theirs| setpgid(None, Some(theirs)).is_ok())
        {
            // This process is no longer among those that are killed.
            self.kill();
        } else if self.is_orphaned() {
            self.kill();
        }
        status.ok()
    }

    /// Waits for the end of a server whose input has ended. Kills it if Longshore has gone, or if it takes too long.
    async fn leave(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + LEAVE;
        while !self.is_orphaned() && Instant::now() < deadline {
            if let Ok(status) = timeout(PARENT_CHECK, child.wait()).await {
                return status;
            }
        }
        self.kill();
        // This process is in the group too, and does not come this far.
        sleep(LEAVE).await;
        child.wait().await
    }

    /// Whether the process that started this one has ended: the kernel has given this process another parent.
    fn is_orphaned(&self) -> bool {
        getppid() != self.parent
    }

    fn kill(&self) {
        // The only failure is that the group is empty, which is what is wanted.
        let _ = kill_process_group(self.group, Signal::KILL);
    }
}

/// Ends this process as the server ended: with its exit code, or by its signal.
fn end_like(status: ExitStatus) -> ExitCode {
    if let Some(number) = status.signal() {
        if let Some(signal) = Signal::from_named_raw(number) {
            let _ = kill_process(getpid(), signal);
        }
        // One of those that this process outlives. Shells report a signal in this way.
        return ExitCode::from(u8::try_from(number).unwrap_or_default().saturating_add(128));
    }
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_STARTED))
}
