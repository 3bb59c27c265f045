//! State of one step: what it does now, and the record of what happened.
//!
//! A checkpoint stores this state, so a change of a type is a change of the format: a new field needs a default, any other
//! change raises [`STATE_VERSION`](super::STATE_VERSION).

use longshore_proto::{
    Attempt, AttemptRecord, DeliveryId, EvaluationNumber, Fault, Output, SecretPlace, StepStatus, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::arguments::Arguments;

/// State of one step of a run. A step that has not begun takes no memory beyond this.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Step {
    /// Status of the step.
    pub status: StepStatus,
    /// The step is stopping: it starts no further attempt, and its outstanding call was recalled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) stopped: bool,
    /// The call that is outstanding, or waits for its next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) call: Option<Box<OutstandingCall>>,
    /// History of the step. `None` until the step has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) record: Option<Box<StepRecord>>,
}

/// History of a step.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct StepRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) finished_at: Option<Timestamp>,
    /// Attempts that have ended, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) attempts: Vec<AttemptRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<Box<Output>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Box<Fault>>,
    /// Arguments of a call that has ended, as JSON text, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) arguments: Option<Box<str>>,
    /// Reason why the step was skipped, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) skipped_because: Option<Box<str>>,
    /// Number of the last evaluation of the step by a leader.
    #[serde(default)]
    pub(super) evaluation: EvaluationNumber,
    /// The step waits for that evaluation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_evaluating: bool,
    /// Deadline of a group that has one and has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deadline: Option<Timestamp>,
}

/// A call without an outcome. Its job can be sent again from the state alone.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct OutstandingCall {
    /// First attempt of the job that is outstanding, or that is sent when its timer fires.
    pub(super) attempt: Attempt,
    /// Arguments, rendered once, so that every attempt sends the same.
    pub(super) arguments: Arguments,
    /// Bytes of the arguments that are kept when the call has ended.
    pub(super) kept_bytes: u16,
    /// Places in the arguments where the worker inserts secrets.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub(super) secrets: Box<[SecretPlace]>,
    /// Idempotency key of the step itself, rendered once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) own_key: Option<Box<str>>,
    /// Time of the last dispatch or of the grant. `None` if the job was lost and not sent again. If a call may have begun before,
    /// the newest attempt has its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sent_at: Option<Timestamp>,
    /// The calls are not safe to repeat, so a worker makes one only if it is granted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) needs_grant: bool,
    /// The delivery that makes the calls. No other delivery may make one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) granted: Option<DeliveryId>,
    /// The call needs a grant, and the log lost records of its run: it may have been made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) records_lost: bool,
    /// Time when the next attempt starts, or when the outstanding job is taken for lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) due_at: Option<Timestamp>,
    /// Number of times that the outstanding job was taken for lost and sent again.
    #[serde(default)]
    pub(super) sent_again: u32,
    /// End of the wait for a sign of life of the worker that makes a granted call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) doubt_ends_at: Option<Timestamp>,
    /// End of the wait for the report of a recalled call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) grace_ends_at: Option<Timestamp>,
}

impl Step {
    /// Creates a step that has not begun.
    pub(super) const fn pending() -> Self {
        Self { status: StepStatus::Pending, stopped: false, call: None, record: None }
    }

    /// Returns the attempts that have ended, oldest first.
    pub fn attempts(&self) -> &[AttemptRecord] {
        self.record.as_ref().map_or(&[], |record| &record.attempts)
    }

    /// Returns the output.
    pub(super) fn output(&self) -> Option<&Output> {
        self.record.as_ref()?.output.as_deref()
    }

    /// Returns the fault.
    pub(super) fn error(&self) -> Option<&Fault> {
        self.record.as_ref()?.error.as_deref()
    }

    /// Returns the arguments of the call as JSON text, shortened.
    pub(super) fn arguments(&self) -> Option<Box<str>> {
        let call = self.call.as_ref().map(|call| call.arguments.clone().shown(call.kept_bytes));
        call.or_else(|| self.record.as_ref()?.arguments.clone())
    }

    /// Returns the number of the evaluation that the step waits for.
    pub(super) fn pending_evaluation_number(&self) -> Option<EvaluationNumber> {
        self.record.as_ref().filter(|record| record.is_evaluating).map(|record| record.evaluation)
    }

    /// Returns the record to change.
    pub(super) fn record_mut(&mut self) -> &mut StepRecord {
        self.record.get_or_insert_default()
    }

    /// Returns true if the job of the step was lost with its process and not sent again.
    pub(super) fn is_lost(&self) -> bool {
        self.status == StepStatus::Running && self.call.as_ref().is_some_and(|call| call.sent_at.is_none())
    }

    /// Returns true if the job of the step with this first attempt is outstanding.
    pub(super) fn is_outstanding(&self, attempt: Attempt) -> bool {
        self.status == StepStatus::Running && self.call.as_ref().is_some_and(|call| call.attempt == attempt)
    }

    /// Returns true if the outstanding call needs a grant and has none: it was not made.
    pub fn is_ungranted(&self) -> bool {
        self.call
            .as_ref()
            .is_some_and(|call| call.needs_grant && call.granted.is_none() && !call.records_lost)
    }

    /// Returns true if the outstanding call may have been made and is not safe to repeat.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.granted.is_some() || call.records_lost)
    }

    /// Returns the delivery to which the outstanding call is granted.
    pub(super) fn granted_to(&self) -> Option<&DeliveryId> {
        self.call.as_ref().and_then(|call| call.granted.as_ref())
    }

    /// Returns true if the outstanding call may have begun. It has not if it needs a grant and has none, or if its job was lost
    /// before that, and not sent again.
    pub(super) fn may_have_called(&self) -> bool {
        if self.is_ungranted() {
            return false;
        }
        let newest = self.attempts().last().map(|attempt| attempt.number);
        self.call.as_ref().is_some_and(|call| call.sent_at.is_some() || newest >= Some(call.attempt))
    }

    /// Ends the step, with the fault if it failed.
    pub(super) fn end(&mut self, status: StepStatus, fault: Option<Fault>, at: Timestamp) {
        self.status = status;
        let arguments = self.call.take().map(|call| call.arguments.shown(call.kept_bytes));
        let record = self.record_mut();
        record.arguments = arguments;
        record.is_evaluating = false;
        record.finished_at = Some(at);
        record.error = fault.map(Box::new);
        record.deadline = None;
    }

    /// Returns true if the step failed or is indeterminate.
    pub(super) const fn has_failed(&self) -> bool {
        matches!(self.status, StepStatus::Failed | StepStatus::Indeterminate)
    }
}
