//! Sums over the steps of a frame.

use longshore_proto::{Payload, StepStatus, Timestamp};

use crate::step::Step;
use crate::timers::StepTimer;

/// Sums over the steps of a frame.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    /// Calls without an outcome.
    pub(super) calls: u32,
    /// Calls whose job is outstanding.
    pub(super) jobs_out: u32,
    /// Size of the arguments of calls without an outcome, as JSON text in bytes.
    pub(super) argument_bytes: usize,
    /// Steps with a large value.
    pub(super) blobs: u32,
}

/// The part of a step that counts for the sums, the order and the timers.
pub(super) struct Footprint {
    pub(super) has_ended: bool,
    call: bool,
    job_out: bool,
    argument_bytes: usize,
    blob: bool,
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
        self.blobs += u32::from(step.blob);
    }

    pub(super) fn subtract(&mut self, step: &Footprint) {
        self.calls -= u32::from(step.call);
        self.jobs_out -= u32::from(step.job_out);
        self.argument_bytes = self.argument_bytes.saturating_sub(step.argument_bytes);
        self.blobs -= u32::from(step.blob);
    }
}

impl Footprint {
    pub(super) fn of(step: &Step) -> Self {
        let call = step.call.as_deref();
        let is_blob = |payload: &Payload| payload.blob().is_some();
        let has_blob = |output: &longshore_proto::Output| {
            is_blob(&output.value) || output.content.as_ref().is_some_and(is_blob)
        };
        Self {
            has_ended: step.status.is_terminal(),
            call: call.is_some(),
            job_out: call.is_some() && step.status == StepStatus::Running,
            argument_bytes: call.map_or(0, |call| call.arguments.len()),
            blob: step.output().is_some_and(has_blob),
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
