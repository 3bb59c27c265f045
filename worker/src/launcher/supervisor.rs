//! The process between Longshore and a server over stdio. When Longshore ends, it kills the server and its children. Otherwise it
//! ends with the exit status of the server.

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

use super::{EXEC, LaunchFailure, LaunchRequest, Launcher, NOT_STARTED, limits};

/// Time for a server to end after its input has ended, while Longshore runs. Longshore itself waits for 3 s at most and then
/// kills the process group.
const EXIT_LIMIT: Duration = Duration::from_secs(5);

/// Interval of the checks during this time that Longshore still runs.
const PARENT_CHECK: Duration = Duration::from_millis(20);

/// Signals that are meant for the server. The supervisor ignores them, so that it can report how the server ended.
const IGNORED_SIGNALS: [SignalKind; 4] =
    [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];

/// Starts the server, and waits until the server or Longshore ends.
pub(super) fn supervise(request: LaunchRequest) -> Result<ExitCode, LaunchFailure> {
    let failure = |what: &str, error: io::Error| LaunchFailure {
        code: NOT_STARTED,
        message: format!("cannot supervise the server: {what}: {error}"),
    };
    let group = ServerGroup::new().map_err(|error| failure("no process group", error))?;
    limits::forbid_core_dumps();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failure("no runtime", error))?;
    let status = runtime.block_on(async {
        let handlers: Result<Vec<_>, _> = IGNORED_SIGNALS.into_iter().map(signal).collect();
        let _handlers = handlers.map_err(|error| failure("no signal handler", error))?;
        let input_ended = watch_input().map_err(|error| failure("no thread", error))?;
        let child = start(&request).map_err(|error| request.failure(&error))?;
        close_output();
        Ok(group.wait(child, input_ended).await)
    })?;
    // The thread that watches the input may still wait. It ends with the process.
    runtime.shutdown_background();
    Ok(status.map_or_else(|| ExitCode::from(NOT_STARTED), end_like))
}

/// Starts the server. Must be called on the main thread: for the kernel, the end of this thread is the end of the supervisor.
fn start(request: &LaunchRequest) -> io::Result<Child> {
    let program = Launcher::this_program().ok_or(io::ErrorKind::NotFound)?.program;
    let mut command = Command::new(program);
    command.arg(EXEC).arg(request.limits.to_argument()).arg(&request.command).args(&request.arguments);
    command.spawn()
}

/// Closes the supervisor's copies of the server's output, so that Longshore notices when the server closes it.
fn close_output() {
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// Watches standard input until its other end is closed. Reads nothing, since the messages are for the server.
fn watch_input() -> io::Result<oneshot::Receiver<()>> {
    let (ended, receiver) = oneshot::channel();
    std::thread::Builder::new().name("input".to_owned()).spawn(move || {
        let stdin = io::stdin();
        loop {
            let mut watched = [PollFd::new(&stdin, PollFlags::empty())];
            match poll(&mut watched, None) {
                Err(rustix::io::Errno::INTR) => {}
                _ => break,
            }
        }
        // The receiver is dropped if the server has ended before.
        let _ = ended.send(());
    })?;
    Ok(receiver)
}

/// The process group of the server, which this process leads, and the process that started this one.
struct ServerGroup {
    group: Pid,
    parent: Option<Pid>,
}

impl ServerGroup {
    fn new() -> io::Result<Self> {
        let (group, parent) = (getpid(), getppid());
        if getpgrp() != group {
            setpgid(None, None)?;
        }
        Ok(Self { group, parent })
    }

    /// Waits for the end of the server, and kills the processes that it left behind. Returns `None` if its status cannot be read.
    async fn wait(&self, mut child: Child, input_ended: oneshot::Receiver<()>) -> Option<ExitStatus> {
        let status = tokio::select! {
            status = child.wait() => status,
            _ = input_ended => self.wait_after_input(&mut child).await,
        };
        if let (Some(parent), false) = (self.parent, self.is_orphaned())
            && getpgid(Some(parent)).is_ok_and(|theirs| setpgid(None, Some(theirs)).is_ok())
        {
            // This process has left the group and is not killed.
            self.kill();
        } else if self.is_orphaned() {
            self.kill();
        }
        status.ok()
    }

    /// Waits for the end of a server whose input has ended. Kills it if Longshore has ended, or after [`EXIT_LIMIT`].
    async fn wait_after_input(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + EXIT_LIMIT;
        while !self.is_orphaned() && Instant::now() < deadline {
            if let Ok(status) = timeout(PARENT_CHECK, child.wait()).await {
                return status;
            }
        }
        self.kill();
        // This process is in the group too, so it has been killed before this line.
        sleep(EXIT_LIMIT).await;
        child.wait().await
    }

    /// Returns true if the process that started this one has ended, so that the kernel has given this process another parent.
    fn is_orphaned(&self) -> bool {
        getppid() != self.parent
    }

    fn kill(&self) {
        // The only error is that the group is empty, which is the wanted state.
        let _ = kill_process_group(self.group, Signal::KILL);
    }
}

/// Ends this process with the exit status of the server: its exit code or its signal.
fn end_like(status: ExitStatus) -> ExitCode {
    if let Some(number) = status.signal() {
        if let Some(signal) = Signal::from_named_raw(number) {
            let _ = kill_process(getpid(), signal);
        }
        // This process ignores the signal. Shells report a signal in this way.
        return ExitCode::from(u8::try_from(number).unwrap_or_default().saturating_add(128));
    }
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_STARTED))
}
