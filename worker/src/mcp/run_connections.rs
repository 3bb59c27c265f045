//! The connections of a stateful server that have the state of runs.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use longshore_proto::RunId;

/// Maximum number of runs that are remembered. The run whose first answer is oldest is forgotten first; a forgotten run
/// counts as new.
const MOST_RUNS: usize = 4096;

/// The connection number on which each run was answered. Only this connection has the state that the run's calls left.
#[derive(Debug, Default)]
pub(super) struct RunConnections(Mutex<VecDeque<(RunId, u64)>>);

impl RunConnections {
    /// Records that a run was answered on a connection.
    pub(super) fn note(&self, run: RunId, connection: u64) {
        let mut runs = self.runs();
        if let Some((_, number)) = runs.iter_mut().find(|(known, _)| *known == run) {
            *number = connection;
            return;
        }
        if runs.len() == MOST_RUNS {
            runs.pop_front();
        }
        runs.push_back((run, connection));
    }

    /// Returns the connection that has the state of a run.
    pub(super) fn of(&self, run: RunId) -> Option<u64> {
        self.runs().iter().find(|(known, _)| *known == run).map(|(_, connection)| *connection)
    }

    fn runs(&self) -> MutexGuard<'_, VecDeque<(RunId, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use longshore_proto::{Partition, Timestamp};

    use super::*;

    #[test]
    fn connection_of_a_run_is_remembered_until_many_other_runs_were_answered() {
        let run = |number| RunId::new(Partition(0), Timestamp::from_millis(number), 1);
        let connections = RunConnections::default();
        assert_eq!(connections.of(run(0)), None);
        connections.note(run(0), 7);
        assert_eq!(connections.of(run(0)), Some(7));
        let many = u64::try_from(MOST_RUNS).expect("a number");
        (1..=many).for_each(|number| connections.note(run(number), 8));
        assert_eq!((connections.of(run(0)), connections.of(run(1))), (None, Some(8)));
    }
}
