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
    Attempt, DeliveryId, GrantDecision, JobId, StepPath, StepStatus, TimerKind, Timestamp,
};
use longshore_workflow::{Plan, StepIndex};

use super::run::Step;
use super::{Effect, Effects, RecordIgnored, Run, advance, in_doubt, settle, timers};

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
    let Some(index) = run.find(&job.step) else { return GrantDecision::Denied };
    let asked_for = |step: &Step| {
        step.is_outstanding(job.attempt) && step.call.as_ref().is_some_and(|call| !call.records_lost)
    };
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

/// Takes a grant back from a delivery that made no call, and sends the job again: the queue may have lost it to a delivery that
/// was denied.
pub(super) fn take_back(
    run: &mut Run,
    plan: &Plan,
    (job, delivery): (&JobId, &DeliveryId),
    now: Timestamp,
    effects: &mut Effects,
) -> Result<(), RecordIgnored> {
    let index = run.find(&job.step).ok_or(RecordIgnored::UnknownStep)?;
    let granted = |step: &Step| step.is_outstanding(job.attempt) && step.granted_to() == Some(delivery);
    let step = run.step_if(index, granted).ok_or(RecordIgnored::StaleAttempt)?;
    if let Some(call) = step.call.as_mut() {
        call.granted = None;
    }
    if step.stopped {
        settle::end_uncalled(run, index, now);
        return Ok(());
    }
    run.timers.remove(&TimerKind::Doubt { step: job.step.clone(), attempt: job.attempt });
    advance::dispatch(run, plan, index, now, 0, effects);
    Ok(())
}

/// Ends a granted call whose worker did not show that it lives.
pub(super) fn doubt_is_over(
    run: &mut Run,
    plan: &Plan,
    (path, attempt): (&StepPath, Attempt),
    now: Timestamp,
    effects: &mut Effects,
) -> Result<(), RecordIgnored> {
    let index = run.find(path).ok_or(RecordIgnored::UnknownStep)?;
    let outstanding = run.step(index).is_some_and(|step| step.is_outstanding(attempt));
    if !outstanding || !end_and_recall(run, plan, index, now, effects) {
        return Err(RecordIgnored::AlreadySettled);
    }
    Ok(())
}

/// Ends a call as [`in_doubt::end_unreported`] does, and recalls its job, so that a worker that lives cancels the call.
pub(super) fn end_and_recall(
    run: &mut Run,
    plan: &Plan,
    index: StepIndex,
    now: Timestamp,
    effects: &mut Effects,
) -> bool {
    let job = run.job_id(index);
    let ended = in_doubt::end_unreported(run, plan, index, now);
    if ended {
        effects.extend(job.map(Effect::Recall));
    }
    ended
}

/// Notes that the log lost records of a run. Its outstanding calls that are not safe to repeat are in doubt at once.
pub(super) fn lose_records(run: &mut Run, now: Timestamp) {
    run.records_lost = true;
    for step in &mut run.steps {
        let Some(call) = step.call.as_mut().filter(|call| call.needs_grant) else { continue };
        // The grants of records before the announcement were not sent, and are not sent any more.
        call.granted = None;
        call.records_lost = true;
        if step.status == StepStatus::Running {
            run.timers.insert(TimerKind::Doubt { step: step.path.clone(), attempt: call.attempt }, now);
        }
    }
}

/// Records that every outstanding job is sent again. A granted call is not: its process may have made it.
pub(super) fn send_again(run: &mut Run, plan: &Plan, now: Timestamp) {
    for index in (0..run.steps.len()).map(StepIndex) {
        if in_doubt::end_unreported(run, plan, index, now) {
            continue;
        }
        if let Some(step) = run.step_if(index, |step| step.status == StepStatus::Running)
            && let Some(call) = step.call.as_mut()
        {
            call.sent_at = Some(now);
        }
    }
}
