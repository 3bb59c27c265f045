//! Early end of a run or a group: by a cancel or a deadline.
//!
//! No further step starts, retries are given up, and outstanding calls are recalled. A recalled call still settles, so that the
//! log records what happened; [`GRACE`] after its recall the run no longer waits for its report.

use std::time::Duration;

use longshore_proto::{Fault, FaultClass, RunStatus, StepStatus, Timestamp, truncate};
use longshore_workflow::{Plan, StepIndex, StepKind};

use super::run::RunError;
use super::step::Step;
use super::{Effect, Effects, RecordIgnored, Run, attempts, settle};

/// Longest wait for the report of a recalled call: longer than a worker takes to cancel a call and to report it, and short
/// for a person who waits.
const GRACE: Duration = Duration::from_secs(30);

/// Longest reason that is kept. It is in every checkpoint of the run and in lists of a thousand runs, and a request may have a
/// megabyte. The log has the whole reason.
const REASON_CHARS: usize = 500;

/// Message of a stopped step whose job was lost with its process before a call began.
const NOT_SENT_AGAIN: &str = "cancelled before the call: its process ended, and the job was not sent again";

/// Message of a stopped step whose job no delivery was granted.
const NOT_GRANTED: &str = "cancelled before the call";

/// Applies a cancel.
pub(super) fn cancel(
    run: &mut Run,
    plan: &Plan,
    reason: &str,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<(), RecordIgnored> {
    if run.status == RunStatus::Cancelling {
        return end_lost(run, now).then_some(()).ok_or(RecordIgnored::AlreadyStopping);
    }
    run.status = RunStatus::Cancelling;
    run.cancel_reason = Some(kept_reason(reason));
    recall(run, plan, |_| true, now, effects);
    Ok(())
}

/// Returns the part of a reason that is kept.
pub(super) fn kept_reason(reason: &str) -> String {
    truncate(reason, REASON_CHARS).into_owned()
}

/// Ends the stopped calls whose process is gone and which were not sent again, because no report of them will arrive. Returns
/// true if there was one.
fn end_lost(run: &mut Run, now: Timestamp) -> bool {
    let mut any = false;
    for index in run.frame.indices() {
        if run.step(index).is_some_and(|step| step.stopped && step.is_lost()) {
            any = true;
            end_unreported(
                run,
                index,
                "its process ended before the call did, and the step was stopped",
                now,
            );
        }
    }
    any
}

/// Stops a run at its deadline.
pub(super) fn run_out_of_time(run: &mut Run, plan: &Plan, now: Timestamp, effects: &mut Effects) {
    let limit = plan.timeout.unwrap_or_default();
    if run.error.is_none() {
        let fault =
            Fault::new(FaultClass::Timeout, format!("the run did not end within its timeout of {limit:?}"));
        run.error = Some(Box::new(RunError { fault, step: None }));
    }
    recall(run, plan, |_| true, now, effects);
}

/// Stops a group at its deadline.
pub(super) fn group_out_of_time(
    run: &mut Run,
    plan: &Plan,
    index: StepIndex,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<(), RecordIgnored> {
    let Some(StepKind::Parallel { timeout, .. }) = plan.step(index).map(|step| &step.kind) else {
        return Err(RecordIgnored::UnknownStep);
    };
    let limit = timeout.unwrap_or_default();
    run.change(index, |group| {
        group.stopped = true;
        let problem = format!("the group did not end within {limit:?}");
        group.record_mut().error = Some(Box::new(Fault::new(FaultClass::Timeout, problem)));
    });
    let is_inside = |step: StepIndex| {
        plan.step(step).is_some_and(|step| plan.groups_around(step).any(|group| group == index))
    };
    recall(run, plan, is_inside, now, effects);
    Ok(())
}

/// Ends a recalled call whose report did not arrive in time, and recalls its job once more: it may still wait for a worker.
pub(super) fn grace_is_over(run: &mut Run, index: StepIndex, now: Timestamp, effects: &mut Effects) {
    effects.extend(run.job_id(index).map(Effect::Recall));
    let why = format!("stopped, and without a report for {} s", GRACE.as_secs());
    end_unreported(run, index, &why, now);
}

/// Ends a call whose report the run no longer waits for.
pub(super) fn end_unreported(run: &mut Run, index: StepIndex, why: &str, now: Timestamp) {
    run.change(index, |step| {
        if let Some(delivery) = step.granted_to() {
            let worker = delivery.worker.clone();
            attempts::note_granted(step, worker, now);
        }
        let message = if step.may_have_called() {
            format!("{why}; the call may have happened")
        } else if step.is_ungranted() {
            NOT_GRANTED.to_owned()
        } else {
            NOT_SENT_AGAIN.to_owned()
        };
        let status = if step.is_in_doubt() { StepStatus::Indeterminate } else { StepStatus::Cancelled };
        step.end(status, Some(Fault::new(FaultClass::Cancelled, message)), now);
    });
}

/// Gives up the retries of some steps, and recalls their outstanding calls.
fn recall(
    run: &mut Run,
    plan: &Plan,
    which: impl Fn(StepIndex) -> bool,
    now: Timestamp,
    effects: &mut Effects,
) {
    for index in run.frame.indices() {
        let Some(step) = run.step(index).filter(|_| which(index)) else { continue };
        if step.call.is_some() {
            recall_step(run, index, now, effects);
        } else if step.pending_evaluation_number().is_some() {
            begin_again(run, plan, index);
        }
    }
    end_lost(run, now);
}

/// Lets a step that waits for an evaluation begin again: it is decided again if it runs at all.
fn begin_again(run: &mut Run, plan: &Plan, index: StepIndex) {
    run.change(index, |step| {
        step.status = StepStatus::Pending;
        let record = step.record_mut();
        record.is_evaluating = false;
        record.started_at = None;
    });
    run.frame.put_back(plan, index);
}

/// Gives up the retries of a step, and recalls its outstanding call. The run waits for the report of a call that may have begun.
fn recall_step(run: &mut Run, index: StepIndex, now: Timestamp, effects: &mut Effects) {
    let is_waiting = run.change(index, |step| {
        step.stopped = true;
        step.status == StepStatus::Retrying
    });
    if is_waiting == Some(true) {
        run.change(index, |step| {
            let status = if step.is_in_doubt() { StepStatus::Indeterminate } else { StepStatus::Cancelled };
            let fault = step.record_mut().error.take().map(|fault| *fault);
            step.end(status, fault, now);
        });
        return;
    }
    effects.extend(run.job_id(index).map(Effect::Recall));
    if run.step(index).is_some_and(Step::is_ungranted) {
        // No delivery can be granted any more, so no call is made and no report is awaited.
        return settle::end_uncalled(run, index, now);
    }
    run.change(index, |step| {
        if !step.is_lost()
            && let Some(call) = &mut step.call
        {
            call.grace_ends_at = Some(now.plus(GRACE));
        }
    });
}
