//! Index of timers by time.
//!
//! The timers are part of each run's state. The index is derived from them and never stored. It also notes which timers the
//! leader has asked the log to record.

use std::collections::BTreeSet;
use std::time::Duration;

use longshore_proto::{IN_PLACE_RETRY_LIMIT, RunId, StepStatus, TimerKind, Timestamp};
use longshore_workflow::{CallStep, Plan};

use super::Run;
use super::timer_key::{StepTimer, TimerChange, TimerKey};

/// Several times the time that a queue takes to notice that a worker is gone and to find another one. A queue rejects a job
/// that is sent again while it is queued, so an early one costs a message.
const LOST_AFTER: Duration = Duration::from_secs(300);

/// Number of times that the wait for a job doubles. Jobs wait in a long queue, and each one that is sent again costs an entry
/// of the log; a lost job is sent again within three quarters of an hour, unless its own timeout is longer.
const DOUBLINGS: u32 = 3;

/// Returns the time after which a job without a report is sent again, after it was sent again `sent` times.
pub(super) fn lost_timeout(call: &CallStep, sent: u32) -> Duration {
    let attempt = call.max_timeout.saturating_add(IN_PLACE_RETRY_LIMIT);
    let once = attempt.saturating_mul(call.retry.attempts).saturating_add(LOST_AFTER);
    once.saturating_mul(1 << sent.min(DOUBLINGS))
}

/// The timers of all live runs by time.
#[derive(Debug, Default)]
pub(super) struct TimerIndex {
    /// Timers that the log was not asked to record.
    waiting: BTreeSet<(Timestamp, RunId, TimerKey)>,
    /// Timers that the log was asked to record.
    asked: BTreeSet<(Timestamp, RunId, TimerKey)>,
}

impl TimerIndex {
    /// Returns the time of the earliest timer that the log was not asked to record.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.waiting.first().map(|(at, ..)| *at)
    }

    /// Returns the earliest timer if it is due, and notes that the log is asked to record it.
    pub(super) fn ask(&mut self, now: Timestamp) -> Option<(RunId, TimerKey)> {
        let first = self.waiting.first().filter(|(at, ..)| *at <= now).copied()?;
        self.waiting.remove(&first);
        self.asked.insert(first);
        let (_, run, key) = first;
        Some((run, key))
    }

    /// Adds all timers of a run.
    pub(super) fn add(&mut self, run: &Run) {
        self.waiting.extend(run.timers().map(|(key, at)| (at, run.id, key)));
    }

    /// Removes all timers of a run.
    pub(super) fn remove(&mut self, run: &Run) {
        for (key, at) in run.timers() {
            self.unset(at, run.id, key);
        }
    }

    /// Follows changes of a run's timers.
    pub(super) fn follow(&mut self, run: RunId, changes: Vec<TimerChange>) {
        for (key, before, after) in changes {
            if let Some(at) = before {
                self.unset(at, run, key);
            }
            if let Some(at) = after {
                self.waiting.insert((at, run, key));
            }
        }
    }

    /// Notes that the log has recorded a timer that is still set, because it was not due. It is asked for again.
    pub(super) fn note_not_due(&mut self, run: RunId, key: TimerKey, at: Timestamp) {
        if self.asked.remove(&(at, run, key)) {
            self.waiting.insert((at, run, key));
        }
    }

    /// Forgets which timers were asked for: a new leader asks again, because records of an earlier one are dropped.
    pub(super) fn reset_asked(&mut self) {
        self.waiting.append(&mut self.asked);
    }

    /// Removes a timer.
    pub(super) fn unset(&mut self, at: Timestamp, run: RunId, key: TimerKey) {
        if !self.waiting.remove(&(at, run, key)) {
            self.asked.remove(&(at, run, key));
        }
    }
}

impl Run {
    /// Returns the timers that are set, with their times.
    pub(super) fn timers(&self) -> impl Iterator<Item = (TimerKey, Timestamp)> {
        self.deadline.map(|at| (TimerKey::Run, at)).into_iter().chain(self.frame.timers())
    }

    /// Returns a timer by its purpose, and its time. `None` if it is not set.
    pub(super) fn find_timer(&self, plan: &Plan, kind: &TimerKind) -> Option<(TimerKey, Timestamp)> {
        let key = match kind {
            TimerKind::Run => TimerKey::Run,
            TimerKind::Retry { step, .. } | TimerKind::Lost { step, .. } => {
                TimerKey::Step(plan.find(step)?.into(), StepTimer::Call)
            }
            TimerKind::Doubt { step, .. } => TimerKey::Step(plan.find(step)?.into(), StepTimer::Doubt),
            TimerKind::Grace { step, .. } => TimerKey::Step(plan.find(step)?.into(), StepTimer::Grace),
            TimerKind::Step { step } => TimerKey::Step(plan.find(step)?.into(), StepTimer::Deadline),
        };
        let at = self.timer_time(key)?;
        (self.timer_kind(key).as_ref() == Some(kind)).then_some((key, at))
    }

    /// Returns the time of a timer, if it is set.
    fn timer_time(&self, key: TimerKey) -> Option<Timestamp> {
        let TimerKey::Step(number, timer) = key else { return self.deadline };
        let step = self.step(number.into())?;
        match timer {
            StepTimer::Call => step.call.as_ref()?.due_at,
            StepTimer::Doubt => step.call.as_ref()?.doubt_ends_at,
            StepTimer::Grace => step.call.as_ref()?.grace_ends_at,
            StepTimer::Deadline => step.record.as_ref()?.deadline,
        }
    }

    /// Returns the purpose of a timer, as the log records it.
    pub(super) fn timer_kind(&self, key: TimerKey) -> Option<TimerKind> {
        let TimerKey::Step(number, timer) = key else { return Some(TimerKind::Run) };
        let index = number.into();
        let path = self.path(index)?.clone();
        let step = self.step(index)?;
        let call = step.call.as_ref();
        Some(match timer {
            StepTimer::Call if step.status == StepStatus::Retrying => {
                TimerKind::Retry { step: path, attempt: call?.attempt }
            }
            StepTimer::Call => TimerKind::Lost { step: path, attempt: call?.attempt, sent: call?.sent_again },
            StepTimer::Doubt => TimerKind::Doubt { step: path, attempt: call?.attempt },
            StepTimer::Grace => TimerKind::Grace { step: path, attempt: call?.attempt },
            StepTimer::Deadline => TimerKind::Step { step: path },
        })
    }
}
