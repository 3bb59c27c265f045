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

use longshore_proto::{DeliveryId, GrantDecision, JobId, StepStatus, Timestamp};
use longshore_workflow::{Plan, StepIndex, StepKind};

use super::step::{OutstandingCall, Step};
use super::{Effect, Effects, RecordIgnored, Run, dispatch, in_doubt, settle, timers};

/// Time in which the worker of a granted call has to show that it lives, after its job was delivered again. A worker that
/// reconnects does so within three seconds, and its job is delivered again 30 seconds after its last sign of life at the earliest.
const DOUBT_LIMIT: Duration = Duration::from_secs(10);

/// Decides about a delivery that asks for a grant.
pub(super) fn decide(
    run: &mut Run,
    plan: &Plan,
    job: &JobId,
    delivery: &DeliveryId,
    now: Timestamp,
) -> GrantDecision {
    let Some((index, step)) = plan.find(&job.step).and_then(|index| Some((index, plan.step(index)?))) else {
        return GrantDecision::Denied;
    };
    let StepKind::Call(call) = &step.kind else { return GrantDecision::Denied };
    let lost_timeout = |sent_again| timers::lost_timeout(call, sent_again);
    let is_asked_for = |step: &Step| {
        step.is_outstanding(job.attempt) && step.call.as_ref().is_some_and(|call| !call.records_lost)
    };
    if !run.step(index).is_some_and(is_asked_for) {
        return GrantDecision::Denied;
    }
    let decide = |step: &mut Step| Some(decide_call(step.call.as_mut()?, delivery, lost_timeout, now));
    run.change(index, decide).flatten().unwrap_or(GrantDecision::Denied)
}

/// Decides about a delivery that asks for an outstanding call.
fn decide_call(
    call: &mut OutstandingCall,
    delivery: &DeliveryId,
    lost_timeout: impl Fn(u32) -> Duration,
    now: Timestamp,
) -> GrantDecision {
    match &call.granted {
        Some(granted) if granted != delivery => {
            call.doubt_ends_at.get_or_insert_with(|| now.plus(DOUBT_LIMIT));
            GrantDecision::Denied
        }
        Some(_) => {
            call.doubt_ends_at = None;
            GrantDecision::Granted
        }
        None => {
            call.granted = Some(delivery.clone());
            call.sent_at = Some(now);
            // Its calls begin now, however long it was queued.
            call.due_at = Some(now.plus(lost_timeout(call.sent_again)));
            GrantDecision::Granted
        }
    }
}

/// Takes a grant back from a delivery that made no call, and sends the job again: the queue may have lost it to a delivery that
/// was denied.
pub(super) fn take_back(
    run: &mut Run,
    plan: &Plan,
    (job, delivery): (&JobId, &DeliveryId),
    now: Timestamp,
    effects: &mut Effects,
) -> Result<(), RecordIgnored> {
    let index = plan.find(&job.step).ok_or(RecordIgnored::UnknownStep)?;
    let is_granted = |step: &Step| step.is_outstanding(job.attempt) && step.granted_to() == Some(delivery);
    if !run.step(index).is_some_and(is_granted) {
        return Err(RecordIgnored::StaleAttempt);
    }
    let is_stopped = run.change(index, |step| {
        if let Some(call) = step.call.as_mut() {
            call.granted = None;
            call.doubt_ends_at = None;
        }
        step.stopped
    });
    if is_stopped == Some(true) {
        settle::end_uncalled(run, index, now);
    } else {
        dispatch::dispatch(run, plan, index, now, 0, effects);
    }
    Ok(())
}

/// Ends a call as [`in_doubt::end_unreported`] does, and recalls its job, so that a worker that lives cancels the call.
pub(super) fn end_and_recall(run: &mut Run, index: StepIndex, now: Timestamp, effects: &mut Effects) -> bool {
    let job = run.job_id(index);
    let ended = in_doubt::end_unreported(run, index, now);
    if ended {
        effects.extend(job.map(Effect::Recall));
    }
    ended
}

/// Notes that the log lost records of a run. Its outstanding calls that are not safe to repeat are in doubt at once.
pub(super) fn lose_records(run: &mut Run, now: Timestamp) {
    run.records_lost = true;
    for index in run.frame.indices() {
        let needs_grant = |step: &Step| step.call.as_ref().is_some_and(|call| call.needs_grant);
        if !run.step(index).is_some_and(needs_grant) {
            continue;
        }
        run.change(index, |step| {
            let is_running = step.status == StepStatus::Running;
            let Some(call) = &mut step.call else { return };
            // The grants of records before the announcement were not sent, and are not sent any more.
            call.granted = None;
            call.records_lost = true;
            if is_running {
                call.doubt_ends_at = Some(now);
            }
        });
    }
}

/// Records that every outstanding job is sent again. A granted call is not: its process may have made it.
pub(super) fn send_again(run: &mut Run, now: Timestamp) {
    for index in run.frame.indices() {
        if in_doubt::end_unreported(run, index, now) {
            continue;
        }
        if run.step(index).is_some_and(|step| step.status == StepStatus::Running && step.call.is_some()) {
            run.change(index, |step| step.call.as_mut().map(|call| call.sent_at = Some(now)));
        }
    }
}
