//! Index of timers by time.
//!
//! The timers are part of each run's state. The index is derived from them and never stored. It also notes which timers the
//! leader has asked the log to record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use longshore_proto::{IN_PLACE_RETRY_LIMIT, Job, RunId, Timer, TimerKind, Timestamp};

use super::Run;

/// Several times the time that a queue takes to notice that a worker is gone and to find another one. A queue rejects a job
/// that is sent again while it is queued, so an early one costs a message.
const LOST_AFTER: Duration = Duration::from_secs(300);

/// Number of times that the wait for a job doubles. Jobs wait in a long queue, and each one that is sent again costs an entry
/// of the log; a lost job is sent again within three quarters of an hour, unless its own timeout is longer.
const DOUBLINGS: u32 = 3;

/// Returns the time after which a job without a report is sent again, after it was sent again `sent` times.
pub(super) fn lost_timeout(job: &Job, sent: u32) -> Duration {
    let attempt = job.max_timeout.saturating_add(IN_PLACE_RETRY_LIMIT);
    let once = attempt.saturating_mul(job.retry.attempts).saturating_add(LOST_AFTER);
    once.saturating_mul(1 << sent.min(DOUBLINGS))
}

/// The runs that have timers, by the time of the earliest one that the log was not asked to record.
#[derive(Debug, Default)]
pub(super) struct TimerIndex {
    by_moment: BTreeSet<(Timestamp, RunId)>,
    by_run: BTreeMap<RunId, Timestamp>,
    asked: BTreeSet<Timer>,
}

impl TimerIndex {
    /// Returns the time of the earliest timer.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.by_moment.first().map(|(at, _)| *at)
    }

    /// Returns a run whose earliest timer is due.
    pub(super) fn due(&self, now: Timestamp) -> Option<RunId> {
        self.by_moment.first().filter(|(at, _)| *at <= now).map(|(_, run)| *run)
    }

    /// Updates the index for a run that changed.
    pub(super) fn follow(&mut self, run: &Run) {
        let earliest =
            run.timers.iter().filter(|(kind, _)| !self.has_asked(run.id, kind)).map(|(_, at)| *at).min();
        if self.by_run.get(&run.id).copied() == earliest {
            return;
        }
        self.forget(run.id);
        if let Some(at) = earliest {
            self.by_moment.insert((at, run.id));
            self.by_run.insert(run.id, at);
        }
    }

    /// Removes a run that ended.
    pub(super) fn forget(&mut self, run: RunId) {
        if let Some(at) = self.by_run.remove(&run) {
            self.by_moment.remove(&(at, run));
        }
    }

    /// Returns the timers of a run that are due and that the log was not asked to record, and notes that it is asked now.
    pub(super) fn ask(&mut self, run: &Run, now: Timestamp) -> Vec<Timer> {
        let due: Vec<_> = run
            .timers
            .iter()
            .filter(|(kind, at)| **at <= now && !self.has_asked(run.id, kind))
            .map(|(kind, _)| Timer { run: run.id, kind: kind.clone() })
            .collect();
        self.asked.extend(due.iter().cloned());
        due
    }

    /// Notes that the log has recorded a timer.
    pub(super) fn note_fired(&mut self, timer: &Timer) {
        self.asked.remove(timer);
    }

    /// Forgets which timers were asked for: a new leader asks again, because records of an earlier one are dropped.
    pub(super) fn reset_asked(&mut self) {
        self.asked.clear();
    }

    fn has_asked(&self, run: RunId, kind: &TimerKind) -> bool {
        // The set is nearly always empty: look before making a key.
        !self.asked.is_empty() && self.asked.contains(&Timer { run, kind: kind.clone() })
    }
}
