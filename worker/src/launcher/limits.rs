//! Resource limits of a server's processes.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// Processor time after which a process that ignores the signal at its limit is killed.
const CPU_GRACE_SECONDS: u64 = 5;

const MIB: u64 = 1024 * 1024;

/// The limits of each process of a server. `None` leaves the limit as it is in Longshore's own process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProcessLimits {
    /// Memory for data: heap, private mappings and stacks of threads. Reserved address space, of which Node.js and Go take
    /// gigabytes, does not count.
    pub(crate) memory_mb: Option<u64>,
    /// Open files, sockets and pipes.
    pub(crate) open_files: Option<u64>,
    /// Processor time.
    pub(crate) cpu_seconds: Option<u64>,
    /// Size of each written file.
    pub(crate) file_mb: Option<u64>,
}

impl ProcessLimits {
    /// Returns the limits as an argument of the launcher.
    pub(super) fn to_argument(self) -> String {
        serde_json::to_string(&self).unwrap_or_default()
    }

    /// Reads the argument of the launcher.
    pub(super) fn from_argument(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Returns true if there is a limit.
    pub(crate) fn has_limit(&self) -> bool {
        *self != Self::default()
    }

    /// Limits this process and the processes that it starts from now on.
    pub(super) fn apply(&self) -> Result<(), String> {
        let mib = |mib: Option<u64>| mib.map(|mib| mib.saturating_mul(MIB));
        limit("open_files", Resource::Nofile, self.open_files, 0)?;
        limit("file_mb", Resource::Fsize, mib(self.file_mb), 0)?;
        limit("cpu_seconds", Resource::Cpu, self.cpu_seconds, CPU_GRACE_SECONDS)?;
        // Set last, because this process may already hold more memory than the server is allowed.
        limit("memory_mb", Resource::Data, mib(self.memory_mb), 0)
    }

    /// Returns the limit that ended a process, if its exit status shows one.
    pub(crate) fn exceeded(&self, status: ExitStatus) -> Option<&'static str> {
        let signal = status.signal().and_then(Signal::from_named_raw)?;
        match signal {
            Signal::XCPU if self.cpu_seconds.is_some() => Some("cpu_seconds"),
            Signal::XFSZ if self.file_mb.is_some() => Some("file_mb"),
            _ => None,
        }
    }
}

/// Disables core dumps of this process and of the processes that it starts: a server's memory holds credentials.
pub(super) fn forbid_core_dumps() {
    // Lowering a limit is always allowed.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

fn limit(name: &str, resource: Resource, wanted: Option<u64>, grace: u64) -> Result<(), String> {
    let Some(wanted) = wanted else { return Ok(()) };
    // Only a privileged process may raise an inherited limit.
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let current = wanted.min(most);
    let maximum = wanted.saturating_add(grace).min(most);
    let limits = Rlimit { current: Some(current), maximum: Some(maximum) };
    setrlimit(resource, limits)
        .map_err(|error| format!("the limit `{name}` of the server cannot be set to {wanted}: {error}"))
}
