//! A process that was started for the measurement: what it takes, what it said, and its end.
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

use super::broken;
use crate::environment;
use crate::failure::Failure;

/// How long a process may take to end in order.
const END_LIMIT: Duration = Duration::from_secs(10);

/// How much is shown of what a process said last.
const TAIL_LINES: usize = 5;

/// A process.
pub(super) struct Process {
    /// What it is, for people.
    pub(super) name: String,
    child: Child,
    said: PathBuf,
}

/// What a process has taken so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// Resident memory now.
    pub(super) mib: f64,
    /// The most it ever had.
    pub(super) most_mib: f64,
    /// Processor time, its own and the system's for it.
    pub(super) cpu: Duration,
}

/// Whether a variable may be a setting of Longshore.
fn is_setting(variable: &str) -> bool {
    ["LONGSHORE_", "NATS_", "REDIS_"].iter().any(|prefix| variable.starts_with(prefix))
}

impl Process {
    /// Starts a program in a folder; what it says goes to a file there.
    pub(super) fn start(
        name: impl Into<String>,
        folder: &Path,
        program: &Path,
        arguments: &[String],
    ) -> Result<Self, Failure> {
        let name = name.into();
        let said = folder.join(format!("{name}.log").replace(' ', "-"));
        let doing = format!("start {} as {name}", program.display());
        let file = File::create(&said).map_err(broken(&doing))?;
        let other = file.try_clone().map_err(broken(&doing))?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(file).stderr(other);
        // They go before a file, and would lead whatever is started here to the cluster of whoever measures.
        for setting in environment::all().into_keys().filter(|name| is_setting(name)) {
            command.env_remove(setting);
        }
        let child = command.spawn().map_err(broken(&doing))?;
        Ok(Self { name, child, said })
    }

    /// How it ended, if it has, and what it said last.
    pub(super) fn has_ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
        Some(format!("{} has ended with {status}:\n  {}", self.name, tail.join("\n  ")))
    }

    /// What it has taken so far; nothing once it has ended.
    pub(super) fn taken(&self) -> Taken {
        self.child.id().and_then(taken).unwrap_or_default()
    }

    /// Tells it to end in order, without waiting.
    pub(super) fn terminate(&self) {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Waits until it has ended, and kills it if that takes too long.
    pub(super) async fn end(&mut self) {
        if timeout(END_LIMIT, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Kills it, as kill -9 does, and waits until it is gone.
    pub(super) async fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill().await;
    }
}

/// Reads what the kernel counts for a process. See proc(5): `utime` and `stime` are the 14th and 15th field, in ticks.
fn taken(id: u32) -> Option<Taken> {
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
    Some(Taken { mib: mib("VmRSS:")?, most_mib: mib("VmHWM:")?, cpu })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_measured_and_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let sleep = ["60".to_owned()];
        let mut process = Process::start("sleep", folder.path(), Path::new("sleep"), &sleep).expect("starts");
        assert!(process.taken().mib > 0.0 && process.has_ended().is_none());
        process.terminate();
        process.end().await;
        assert!(process.has_ended().is_some_and(|how| how.contains("sleep has ended")));
        assert!(process.taken().mib <= 0.0);
    }
}
