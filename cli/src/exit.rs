//! Exit codes of commands.
//!
//! The codes follow common practice where there is one (2 for wrong usage, 130 for an interrupt) and never change their
//! meaning. They are documented for users in `docs/cli.md`; a test compares the two.

use longshore_proto::RunStatus;

/// The exit codes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The command did what was asked; a run succeeded.
    Success = 0,
    /// An unexpected error: a disk, a process, or a server that does not answer.
    Error = 1,
    /// The command line is wrong, or a setting in the environment.
    Usage = 2,
    /// The workflow, its inputs or the servers file are wrong.
    Invalid = 3,
    /// NATS or Redis does not accept the credentials, denies a permission, or has a version or a setting that Longshore cannot rely
    /// on; or a person does not trust the servers file.
    Denied = 4,
    /// There is no such run, server, tool, code or data directory.
    NotFound = 5,
    /// NATS or Redis did not answer in time, or no scheduler did.
    Unreachable = 6,
    /// `doctor --strict`: nothing is wrong, and something is doubtful.
    Doubtful = 7,
    /// The cluster answers and has no room: a store is full, or a limit is reached.
    Full = 8,
    /// The run failed.
    RunFailed = 20,
    /// The run was cancelled.
    RunCancelled = 21,
    /// The command was interrupted; runs that had begun can be resumed. 128 plus the number of SIGINT, as in shells.
    Interrupted = 130,
}

impl Exit {
    /// Returns the number.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the exit code for several runs. A failed run outweighs a cancelled one.
    pub(crate) fn worst(statuses: impl IntoIterator<Item = RunStatus>) -> Self {
        statuses.into_iter().fold(Self::Success, |worst, status| match (status, worst) {
            (RunStatus::Failed | RunStatus::Failing, _) | (_, Self::RunFailed) => Self::RunFailed,
            (RunStatus::Cancelled | RunStatus::Cancelling, _) => Self::RunCancelled,
            (RunStatus::Succeeded | RunStatus::Running | RunStatus::Interrupted, worst) => worst,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_run_outweighs_a_cancelled_one() {
        use RunStatus::{Cancelled, Failed, Succeeded};
        assert_eq!(Exit::worst([]), Exit::Success);
        assert_eq!(Exit::worst([Succeeded, Succeeded]), Exit::Success);
        assert_eq!(Exit::worst([Succeeded, Cancelled]), Exit::RunCancelled);
        assert_eq!(Exit::worst([Cancelled, Succeeded]), Exit::RunCancelled);
        assert_eq!(Exit::worst([Failed, Cancelled, Succeeded]), Exit::RunFailed);
    }

    #[test]
    fn every_exit_code_is_documented() {
        let reference = include_str!("../../docs/cli.md");
        let all = [
            Exit::Success,
            Exit::Error,
            Exit::Usage,
            Exit::Invalid,
            Exit::Denied,
            Exit::NotFound,
            Exit::Unreachable,
            Exit::Doubtful,
            Exit::Full,
            Exit::RunFailed,
            Exit::RunCancelled,
            Exit::Interrupted,
        ];
        for exit in all {
            assert!(reference.contains(&format!("| {} |", exit.code())), "{exit:?}");
        }
    }
}
