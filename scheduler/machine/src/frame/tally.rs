//! Sums over the steps of a frame.

use longshore_proto::{StepStatus, Timestamp};

use crate::step::Step;
use crate::timer_key::StepTimer;

/// Sums over the steps of a frame.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    /// Calls without an outcome, and steps that wait for an evaluation.
    pub(super) calls: u32,
    /// Calls whose job is outstanding.
    pub(super) jobs_out: u32,
    /// Size of the arguments of calls without an outcome, as JSON text in bytes.
    pub(super) argument_bytes: usize,
    /// Steps that are indeterminate.
    pub(super) indeterminate: u32,
}

/// The part of a step that counts for the sums, the order and the timers.
pub(super) struct Footprint {
    pub(super) has_ended: bool,
    is_indeterminate: bool,
    call: bool,
    job_out: bool,
    argument_bytes: usize,
    due_at: Option<Timestamp>,
    doubt_ends_at: Option<Timestamp>,
    grace_ends_at: Option<Timestamp>,
    deadline: Option<Timestamp>,
}

impl Tally {
    pub(super) fn add(&mut self, step: &Footprint) {
        self.calls += u32::from(step.call);
        self.jobs_out += u32::from(step.job_out);
        self.argument_bytes = self.argument_bytes.saturating_add(step.argument_bytes);
        self.indeterminate += u32::from(step.is_indeterminate);
    }

    pub(super) fn subtract(&mut self, step: &Footprint) {
        self.calls -= u32::from(step.call);
        self.jobs_out -= u32::from(step.job_out);
        self.argument_bytes = self.argument_bytes.saturating_sub(step.argument_bytes);
        self.indeterminate -= u32::from(step.is_indeterminate);
    }
}

impl Footprint {
    pub(super) fn of(step: &Step) -> Self {
        let call = step.call.as_deref();
        Self {
            has_ended: step.status.is_terminal(),
            is_indeterminate: step.status == StepStatus::Indeterminate,
            call: call.is_some() || step.pending_evaluation_number().is_some(),
            job_out: call.is_some() && step.status == StepStatus::Running,
            argument_bytes: call.map_or(0, |call| call.arguments.bytes_in_state()),
            due_at: call.and_then(|call| call.due_at),
            doubt_ends_at: call.and_then(|call| call.doubt_ends_at),
            grace_ends_at: call.and_then(|call| call.grace_ends_at),
            deadline: step.record.as_ref().and_then(|record| record.deadline),
        }
    }

    /// Returns the time of a timer, if it is set.
    pub(super) const fn timer(&self, timer: StepTimer) -> Option<Timestamp> {
        match timer {
            StepTimer::Call => self.due_at,
            StepTimer::Doubt => self.doubt_ends_at,
            StepTimer::Grace => self.grace_ends_at,
            StepTimer::Deadline => self.deadline,
        }
    }
}
