//! Which moment comes next.
//!
//! The timers themselves are part of every run's state. This is the index over them, derived and never stored, and
//! the memory of which ones a leader has already asked the log to record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use longshore_proto::{IN_PLACE_RETRY_LIMIT, Job, RunId, Timer, TimerKind, Timestamp};

use super::Run;

/// What a queue may take to notice that a worker is gone and to find another one, several times over. A job that is
/// sent again while it is still queued is refused by the queue, so being early costs one message.
const LOST_AFTER: Duration = Duration::from_secs(300);

/// How often the wait for a job doubles while it is sent again in vain. A queue that is long keeps its jobs waiting, and
/// each of them that is sent again costs an entry of the log; one that was lost is sent again within three quarters of
/// an hour all the same, unless its own timeout is longer.
const DOUBLINGS: u32 = 3;

/// How long after its dispatch a job that was not heard of is sent again, after it was sent so many times in vain.
pub(super) fn patience(job: &Job, sent: u32) -> Duration {
    let attempt = job.max_timeout.saturating_add(IN_PLACE_RETRY_LIMIT);
    let once = attempt.saturating_mul(job.retry.attempts).saturating_add(LOST_AFTER);
    once.saturating_mul(1 << sent.min(DOUBLINGS))
}

/// The runs that have timers, by the moment of the earliest one that nobody has asked for.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_moment: BTreeSet<(Timestamp, RunId)>,
    by_run: BTreeMap<RunId, Timestamp>,
    asked: BTreeSet<Timer>,
}

impl Index {
    /// The earliest moment.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.by_moment.first().map(|(at, _)| *at)
    }

    /// A run whose earliest moment has come.
    pub(super) fn due(&self, now: Timestamp) -> Option<RunId> {
        self.by_moment.first().filter(|(at, _)| *at <= now).map(|(_, run)| *run)
    }

    /// Brings the index up to date with a run that has changed.
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

    /// Drops a run that has ended.
    pub(super) fn forget(&mut self, run: RunId) {
        if let Some(at) = self.by_run.remove(&run) {
            self.by_moment.remove(&(at, run));
        }
    }

    /// The timers of a run that are due and not asked for yet; they count as asked for from here on.
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

    /// The log has recorded it, or a new leader has to ask again.
    pub(super) fn heard(&mut self, timer: &Timer) {
        self.asked.remove(timer);
    }

    /// A new term: whatever was asked for before may have been dropped.
    pub(super) fn ask_anew(&mut self) {
        self.asked.clear();
    }

    fn has_asked(&self, run: RunId, kind: &TimerKind) -> bool {
        // The set is nearly always empty: look before making a key.
        !self.asked.is_empty() && self.asked.contains(&Timer { run, kind: kind.clone() })
    }
}
