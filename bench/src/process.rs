//! A process that was started for the measurement: its memory and processor time, its output, and its end.
//!
//! It has a process group of its own, so that Ctrl-C at the terminal reaches the measurement alone, which then ends
//! every process by its id. One that is dropped is killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::error::{BenchError, failed_to};

/// The time for an orderly end, before the process is killed.
const END_LIMIT: Duration = Duration::from_secs(10);

/// The number of lines shown of the end of its output.
const TAIL_LINES: usize = 5;

/// A process.
pub(crate) struct Process {
    /// Its name in figures and messages.
    pub(crate) name: String,
    child: Child,
    output: PathBuf,
}

/// Memory and processor time of a process so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Resident memory now, in MiB.
    pub(crate) mib: f64,
    /// The highest resident memory so far.
    pub(crate) most_mib: f64,
    /// Processor time, in the process and in the kernel for it.
    pub(crate) cpu: Duration,
}

impl Process {
    /// Starts a program in a folder, without the variables in `unset`; its output goes to a file there.
    pub(crate) fn start(
        name: impl Into<String>,
        folder: &Path,
        program: &Path,
        arguments: &[String],
        unset: &[String],
    ) -> Result<Self, BenchError> {
        let name = name.into();
        let output = folder.join(format!("{name}.log").replace(' ', "-"));
        let doing = format!("start {} as {name}", program.display());
        let file = File::create(&output).map_err(failed_to(&doing))?;
        let other = file.try_clone().map_err(failed_to(&doing))?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(file).stderr(other);
        for variable in unset {
            command.env_remove(variable);
        }
        let child = command.spawn().map_err(failed_to(&doing))?;
        Ok(Self { name, child, output })
    }

    /// Returns its exit status and the end of its output, once it has ended.
    pub(crate) fn has_ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
        Some(format!("{} has ended with {status}:\n  {}", self.name, tail.join("\n  ")))
    }

    /// Returns its memory and processor time; zero once it has ended.
    pub(crate) fn usage(&self) -> Usage {
        self.child.id().and_then(usage).unwrap_or_default()
    }

    /// Sends SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits until it has ended, and kills it if that takes too long.
    pub(crate) async fn end(&mut self) {
        if timeout(END_LIMIT, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Kills it, as kill -9 does, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill().await;
    }
}

/// Reads what the kernel counts for a process. See proc(5): `utime` and `stime` are the 14th and 15th field, in ticks.
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
    async fn a_process_is_measured_and_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let sleep = ["60".to_owned()];
        let mut process =
            Process::start("sleep", folder.path(), Path::new("sleep"), &sleep, &[]).expect("starts");
        assert!(process.usage().mib > 0.0 && process.has_ended().is_none());
        process.terminate();
        process.end().await;
        assert!(process.has_ended().is_some_and(|how| how.contains("sleep has ended")));
        assert!(process.usage().mib <= 0.0);
    }
}
