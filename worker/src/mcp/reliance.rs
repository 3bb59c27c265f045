//! The connections of a stateful server that runs rely on.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use longshore_proto::RunId;

/// Runs that are remembered. The one that was answered first is forgotten first; a run that is forgotten counts as new.
const MOST_RUNS: usize = 4096;

/// The connection on which each run was answered, by its number: what its calls left in the server is there and nowhere else.
#[derive(Debug, Default)]
pub(super) struct Reliance(Mutex<VecDeque<(RunId, u64)>>);

impl Reliance {
    /// Remembers that a run was answered on a connection.
    pub(super) fn note(&self, run: RunId, connection: u64) {
        let mut runs = self.runs();
        if let Some((_, on)) = runs.iter_mut().find(|(known, _)| *known == run) {
            *on = connection;
            return;
        }
        if runs.len() == MOST_RUNS {
            runs.pop_front();
        }
        runs.push_back((run, connection));
    }

    /// The connection that a run relies on.
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
    fn a_run_relies_on_one_connection_until_many_others_came() {
        let run = |number| RunId::new(Partition(0), Timestamp::from_millis(number), 1);
        let reliance = Reliance::default();
        assert_eq!(reliance.of(run(0)), None);
        reliance.note(run(0), 7);
        assert_eq!(reliance.of(run(0)), Some(7));
        let many = u64::try_from(MOST_RUNS).expect("a number");
        (1..=many).for_each(|number| reliance.note(run(number), 8));
        assert_eq!((reliance.of(run(0)), reliance.of(run(1))), (None, Some(8)));
    }
}
