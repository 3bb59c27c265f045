//! Grants of calls that are not safe to repeat.
//!
//! A worker makes such a call only after the log has granted it. It appends [`Event::Starting`](longshore_proto::Event), and
//! the first delivery that asks for an outstanding job is granted. No other delivery is, so whatever a queue or a store loses
//! or repeats, the call is made at most once. If a second delivery asks, the worker of the first one is probably gone. It
//! gets [`DOUBT_LIMIT`] to report or to ask again; then the step is indeterminate.
//!
//! If an older copy of the log was put back, the grants since are lost. The leader notices that from the newest checkpoint, and
//! records it; then no run that has not ended makes such a call any more.

use std::time::Duration;

use longshore_proto::{
    Attempt, DeliveryId, Fault, FaultClass, GrantDecision, JobId, NodeId, StepPath, StepStatus, TimerKind,
    Timestamp,
};
use longshore_workflow::{Plan, StepIndex};

use super::run::Step;
use super::{RecordIgnored, Run, advance, settle, timers};

/// Time in which the worker of a granted call has to show that it lives, after its job was delivered again. A worker that
/// reconnects does so within three seconds, and its job is delivered again 30 seconds after its last sign of life at the earliest.
const DOUBT_LIMIT: Duration = Duration::from_secs(10);

/// Message of a call that may be one of the lost records.
const RECORDS_LOST: &str = "the log has lost its newest records (an older copy of NATS was put back); this call may have been \
                            made before, and is not repeated because the step does not say that it is safe (`retry`)";

/// Decides about a delivery that asks for a grant.
pub(super) fn decide(
    run: &mut Run,
    plan: &Plan,
    job: &JobId,
    delivery: &DeliveryId,
    now: Timestamp,
) -> GrantDecision {
    let Some(index) = run.find(&job.step).filter(|_| !run.records_lost) else { return GrantDecision::Denied };
    let asked_for = |step: &Step| step.is_outstanding(job.attempt);
    let Some(call) = run.step_if(index, asked_for).and_then(|step| step.call.as_mut()) else {
        return GrantDecision::Denied;
    };
    let doubt = TimerKind::Doubt { step: job.step.clone(), attempt: job.attempt };
    match &call.granted {
        Some(granted) if granted != delivery => {
            run.timers.entry(doubt).or_insert_with(|| now.plus(DOUBT_LIMIT));
            GrantDecision::Denied
        }
        Some(_) => {
            run.timers.remove(&doubt);
            GrantDecision::Granted
        }
        None => {
            call.granted = Some(delivery.clone());
            call.sent_at = Some(now);
            postpone_lost(run, plan, index, now);
            GrantDecision::Granted
        }
    }
}

/// Counts the time after which an outstanding job is taken for lost from now on: its calls begin, however long it was queued.
fn postpone_lost(run: &mut Run, plan: &Plan, index: StepIndex, now: Timestamp) {
    let Some(job) = advance::job(run, plan, index) else { return };
    for (kind, at) in &mut run.timers {
        if let TimerKind::Lost { step, sent, .. } = kind
            && *step == job.id.step
        {
            *at = now.plus(timers::lost_timeout(&job, *sent));
        }
    }
}

/// Takes a grant back from a delivery that made no call.
pub(super) fn take_back(run: &mut Run, job: &JobId, delivery: &DeliveryId) -> Result<(), RecordIgnored> {
    let index = run.find(&job.step).ok_or(RecordIgnored::UnknownStep)?;
    let granted = |step: &Step| step.is_outstanding(job.attempt) && step.granted_to() == Some(delivery);
    let step = run.step_if(index, granted).ok_or(RecordIgnored::StaleAttempt)?;
    if let Some(call) = step.call.as_mut() {
        call.granted = None;
    }
    run.timers.remove(&TimerKind::Doubt { step: job.step.clone(), attempt: job.attempt });
    Ok(())
}

/// Ends a granted call whose worker did not show that it lives.
pub(super) fn doubt_is_over(
    run: &mut Run,
    plan: &Plan,
    path: &StepPath,
    attempt: Attempt,
    now: Timestamp,
) -> Result<(), RecordIgnored> {
    let index = run.find(path).ok_or(RecordIgnored::UnknownStep)?;
    let outstanding = run.step(index).is_some_and(|step| step.is_outstanding(attempt));
    if outstanding && end_unreported(run, plan, index, now) {
        Ok(())
    } else {
        Err(RecordIgnored::AlreadySettled)
    }
}

/// Ends a call that may have been made, and of which no report will arrive, as indeterminate. Returns false if the step has none.
pub(super) fn end_unreported(run: &mut Run, plan: &Plan, index: StepIndex, now: Timestamp) -> bool {
    let records_lost = run.records_lost;
    let may_have_been_made = |step: &Step| step.granted_to().is_some() || records_lost && step.is_ungranted();
    let Some(step) = run.step_if(index, may_have_been_made) else { return false };
    let message = match step.granted_to().map(|delivery| delivery.worker.clone()) {
        Some(worker) => {
            let message = unreported(&worker);
            settle::note_granted_attempt(step, worker, now);
            message
        }
        None => RECORDS_LOST.to_owned(),
    };
    step.error = Some(Fault::new(FaultClass::Unavailable, message));
    step.end(StepStatus::Indeterminate, now);
    let path = step.path.clone();
    settle::forget_timers(run, &path);
    advance::note_failure(run, plan, index);
    true
}

/// Notes that the log lost records of a run. Its outstanding calls that are not safe to repeat are in doubt at once.
pub(super) fn lose_records(run: &mut Run, now: Timestamp) {
    run.records_lost = true;
    for step in &run.steps {
        if let Some(call) = step.call.as_ref().filter(|call| call.needs_grant)
            && step.status == StepStatus::Running
        {
            run.timers.insert(TimerKind::Doubt { step: step.path.clone(), attempt: call.attempt }, now);
        }
    }
}

fn unreported(worker: &NodeId) -> String {
    format!(
        "worker {worker} began this call and did not report it; the call may have happened, and is not repeated because the \
         step does not say that it is safe (`retry`)"
    )
}
