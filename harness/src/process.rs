//! A process that a measurement or a test started: its output, its memory and processor time, and its end.
//!
//! A process that is dropped is killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::error::{StartError, failed_to};
use crate::port::OwnedPort;

/// The limit until a started server answers: a server on a busy machine may have to read much data first.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// The pause between attempts to reach a started server.
const ANSWER_PAUSE: Duration = Duration::from_millis(5);

/// The time for an orderly end, before the process is killed.
const END_LIMIT: Duration = Duration::from_secs(10);

/// The number of lines that are shown of the end of its output.
const TAIL_LINES: usize = 5;

/// A command line and the surroundings of its process.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The name of the process in figures and messages. Its output goes to a file of this name.
    pub name: String,
    /// The folder in which it runs, and which holds its output.
    pub folder: PathBuf,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Environment variables that it does not inherit.
    pub unset: Vec<String>,
    /// The process has a process group of its own, so that Ctrl-C at the terminal does not reach it.
    pub has_own_group: bool,
}

/// A started process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

/// Memory and processor time of a process so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Resident memory now, in MiB.
    pub mib: f64,
    /// The highest resident memory so far.
    pub most_mib: f64,
    /// Processor time, in the process and in the kernel for it.
    pub cpu: Duration,
}

impl Launch {
    /// Returns a launch of a program without arguments.
    pub fn new(name: impl Into<String>, folder: &Path, program: &Path) -> Self {
        Self {
            name: name.into(),
            folder: folder.to_owned(),
            program: program.to_owned(),
            arguments: Vec::new(),
            unset: Vec::new(),
            has_own_group: false,
        }
    }

    /// Returns the file that holds the output of the process: `<name>.log`, with hyphens for spaces.
    pub fn output(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name).replace(' ', "-"))
    }

    /// Starts the process. Its output replaces that of an earlier start.
    ///
    /// # Errors
    /// [`StartError::System`] if the program or the folder is not there.
    pub fn start(&self) -> Result<Process, StartError> {
        let action = || format!("start {} as {}", self.program.display(), self.name);
        let output = self.output();
        let file = File::create(&output).map_err(failed_to(action()))?;
        let other = file.try_clone().map_err(failed_to(action()))?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.folder).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(file).stderr(other);
        if self.has_own_group {
            command.process_group(0);
        }
        for variable in &self.unset {
            command.env_remove(variable);
        }
        let child = command.spawn().map_err(failed_to(action()))?;
        Ok(Process { name: self.name.clone(), child, output })
    }
}

impl Process {
    /// Returns the name of the process.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the process id, until the process was seen to have ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Returns the output so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Returns the exit status and the end of the output, once the process has ended.
    pub fn has_ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
        Some(format!("{} has ended with {status}:\n  {}", self.name, tail.join("\n  ")))
    }

    /// Returns memory and processor time; zero once the process has ended.
    pub fn usage(&self) -> Usage {
        self.pid().and_then(usage).unwrap_or_default()
    }

    /// Sends SIGTERM, without waiting.
    pub fn terminate(&self) {
        if let Some(pid) = self.pid().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // The process may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits until the process has ended, and kills it if that takes too long.
    pub async fn end(&mut self) {
        if timeout(END_LIMIT, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Kills the process, as kill -9 does, and waits until it is gone.
    pub async fn kill(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill().await;
    }
}

/// The result of one attempt to find out which server answers on a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Identity {
    /// The started server answered.
    Confirmed,
    /// Another server answered.
    Foreign,
    /// No server answered, or the started server is not ready.
    NoAnswer,
}

/// The wait for a started server until it answers as itself.
pub(crate) struct AnswerWait {
    deadline: Instant,
}

impl AnswerWait {
    /// Begins to wait.
    pub(crate) fn new() -> Self {
        Self { deadline: Instant::now() + ANSWER_LIMIT }
    }

    /// Returns true once the server has answered as itself, and pauses before the next attempt otherwise.
    pub(crate) async fn is_over(
        &self,
        process: &mut Process,
        port: &OwnedPort,
        identity: Identity,
    ) -> Result<bool, StartError> {
        if let Some(ended) = process.has_ended() {
            return Err(StartError::Ended(ended));
        }
        let (name, port) = (process.name.clone(), port.number());
        match identity {
            Identity::Confirmed => return Ok(true),
            Identity::Foreign => return Err(StartError::ForeignServer { name, port }),
            Identity::NoAnswer if Instant::now() >= self.deadline => {
                return Err(StartError::NoAnswer { name, port, limit: ANSWER_LIMIT });
            }
            Identity::NoAnswer => sleep(ANSWER_PAUSE).await,
        }
        Ok(false)
    }
}

/// Reads the counters of the kernel for a process. See proc(5): `utime` and `stime` are the 14th and 15th field, in ticks.
fn usage(id: u32) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let mib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib / 1024.0)
    };
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is the name in brackets, and may hold spaces.
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people; ticks of years fit exactly")]
    let cpu = Duration::from_secs_f64(ticks as f64 / per_second as f64);
    Some(Usage { mib: mib("VmRSS:")?, most_mib: mib("VmHWM:")?, cpu })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn process_is_measured_and_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut launch = Launch::new("sleep", folder.path(), Path::new("sleep"));
        launch.arguments = vec!["60".to_owned()];
        let mut process = launch.start().expect("starts");
        assert!(process.usage().mib > 0.0 && process.has_ended().is_none());
        process.terminate();
        process.end().await;
        assert!(process.has_ended().is_some_and(|text| text.contains("sleep has ended")));
        assert!(process.usage().mib <= 0.0);
    }
}
