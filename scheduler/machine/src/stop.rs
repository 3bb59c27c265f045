//! Early end of a run or a group: by a cancel or a deadline.
//!
//! No further step starts, retries are given up, and outstanding calls are recalled. A recalled call still settles, so that the
//! log records what happened; after [`GRACE`] the run no longer waits for its report.

use std::time::Duration;

use longshore_proto::{Fault, FaultClass, RunStatus, StepPath, StepStatus, TimerKind, Timestamp, truncate};
use longshore_workflow::{Plan, StepIndex, StepKind};

use super::failure::note_failure;
use super::run::{RunError, Step};
use super::{Effect, Effects, RecordIgnored, Run, advance, settle};

/// Longest wait for the report of a recalled call: longer than a worker takes to cancel a call and to report it, and short
/// for a person who waits.
const GRACE: Duration = Duration::from_secs(30);

/// Longest reason that is kept. It is in every checkpoint of the run and in lists of a thousand runs, and a request may have a
/// megabyte. The log has the whole reason.
const REASON_CHARS: usize = 500;

/// Message of a stopped step whose job was lost with its process before a call began.
const NOT_CALLED: &str = "cancelled before the call: its process ended, and the job was not sent again";

/// Applies a cancel.
pub(super) fn cancel(
    run: &mut Run,
    plan: &Plan,
    reason: &str,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<(), RecordIgnored> {
    if run.status == RunStatus::Cancelling {
        return end_lost(run, plan, now).then_some(()).ok_or(RecordIgnored::AlreadyStopping);
    }
    run.status = RunStatus::Cancelling;
    run.cancel_reason = Some(truncate(reason, REASON_CHARS).into_owned());
    recall(run, plan, |_| true, now, effects);
    Ok(())
}

/// Ends the stopped calls whose process is gone and which were not sent again, because no report of them will arrive. Returns
/// true if there was one.
fn end_lost(run: &mut Run, plan: &Plan, now: Timestamp) -> bool {
    let lost = |step: &Step| step.stopped && step.is_lost();
    end_unreported(run, plan, lost, "its process ended before the call did, and the step was stopped", now)
}

/// Stops a run at its deadline.
pub(super) fn run_out_of_time(run: &mut Run, plan: &Plan, now: Timestamp, effects: &mut Effects) {
    let limit = plan.timeout.unwrap_or_default();
    if run.error.is_none() {
        let fault =
            Fault::new(FaultClass::Timeout, format!("the run did not end within its timeout of {limit:?}"));
        run.error = Some(RunError { fault, step: None });
    }
    recall(run, plan, |_| true, now, effects);
}

/// Stops a group at its deadline.
pub(super) fn group_out_of_time(
    run: &mut Run,
    plan: &Plan,
    path: &StepPath,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<(), RecordIgnored> {
    let index = run.find(path).ok_or(RecordIgnored::UnknownStep)?;
    let Some(StepKind::Parallel { timeout, .. }) = plan.step(index).map(|step| &step.kind) else {
        return Err(RecordIgnored::UnknownStep);
    };
    let limit = timeout.unwrap_or_default();
    let group =
        run.step_if(index, |group| !group.status.is_terminal()).ok_or(RecordIgnored::AlreadySettled)?;
    group.stopped = true;
    group.error = Some(Fault::new(FaultClass::Timeout, format!("the group did not end within {limit:?}")));
    let inside = |step: StepIndex| {
        plan.step(step).is_some_and(|step| advance::groups_above(plan, step).any(|group| group == index))
    };
    recall(run, plan, inside, now, effects);
    Ok(())
}

/// Ends the calls of a stopping run whose grace period is over.
pub(super) fn grace_is_over(run: &mut Run, plan: &Plan, now: Timestamp) {
    let why = format!("stopped, and without a report for {} s", GRACE.as_secs());
    end_unreported(run, plan, |step| step.stopped && step.call.is_some(), &why, now);
}

/// Ends calls whose reports the run no longer waits for. Returns true if there was one.
fn end_unreported(
    run: &mut Run,
    plan: &Plan,
    which: impl Fn(&Step) -> bool,
    why: &str,
    now: Timestamp,
) -> bool {
    let mut any = false;
    for number in 0..run.steps.len() {
        let index = StepIndex(number);
        let Some(step) = run.step_if(index, &which) else {
            continue;
        };
        any = true;
        let is_in_doubt = step.is_in_doubt();
        let message = if step.may_have_called() {
            format!("{why}; the call may have happened")
        } else {
            NOT_CALLED.to_owned()
        };
        step.error = Some(Fault::new(FaultClass::Cancelled, message));
        step.end(if is_in_doubt { StepStatus::Indeterminate } else { StepStatus::Cancelled }, now);
        let path = step.path.clone();
        settle::forget_timers(run, &path);
        note_failure(run, plan, index);
    }
    any
}

/// Gives up the retries of some steps, and recalls their outstanding calls.
fn recall(
    run: &mut Run,
    plan: &Plan,
    which: impl Fn(StepIndex) -> bool,
    now: Timestamp,
    effects: &mut Effects,
) {
    let mut out = false;
    for number in 0..run.steps.len() {
        let index = StepIndex(number);
        let job = run.job_id(index);
        let Some(step) = run.step_if(index, |step| which(index) && step.call.is_some()) else {
            continue;
        };
        step.stopped = true;
        match (step.status, job) {
            (StepStatus::Retrying, _) => {
                let path = step.path.clone();
                let is_in_doubt = step.is_in_doubt();
                step.end(if is_in_doubt { StepStatus::Indeterminate } else { StepStatus::Cancelled }, now);
                run.timers.retain(|kind, _| !matches!(kind, TimerKind::Retry { step, .. } if *step == path));
            }
            (_, Some(job)) => {
                effects.push(Effect::Recall(job));
                if step.is_ungranted() {
                    // No delivery can be granted any more, so no call is made and no report is awaited.
                    settle::end_uncalled(run, index, now);
                } else {
                    out |= !step.is_lost();
                }
            }
            (_, None) => {}
        }
    }
    end_lost(run, plan, now);
    if out {
        run.timers.insert(TimerKind::Grace, now.plus(GRACE));
    }
}
