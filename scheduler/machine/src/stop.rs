//! What stops a run, or a part of it, before its end: a cancel, and deadlines.
//!
//! Nothing new begins, retries are given up, and the calls that are out are recalled. A recalled call still settles,
//! so that what really happened is recorded; after [`GRACE`] nobody waits for its word any longer.

use std::time::Duration;

use longshore_proto::{
    Fault, FaultClass, RepeatSafety, RunStatus, StepPath, StepStatus, TimerKind, Timestamp, truncate,
};
use longshore_workflow::{Plan, StepIndex, StepKind};

use super::run::{RunError, Step};
use super::{Effect, Effects, Refused, Run, advance};

/// How long the word of a recalled call is waited for: longer than a worker takes to cancel a call and to report
/// it, short enough for a person who waits.
const GRACE: Duration = Duration::from_secs(30);

/// How much of a reason is kept. It stands in every checkpoint of the run and in lists of a thousand runs, and a request
/// may bring a megabyte; the log has the whole.
const REASON_CHARS: usize = 500;

/// Somebody wants the run to stop.
pub(super) fn cancel(
    run: &mut Run,
    plan: &Plan,
    reason: &str,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<(), Refused> {
    if run.status == RunStatus::Cancelling {
        return end_lost(run, plan, now).then_some(()).ok_or(Refused::AlreadyStopping);
    }
    run.status = RunStatus::Cancelling;
    run.cancel_reason = Some(truncate(reason, REASON_CHARS).into_owned());
    recall(run, plan, |_| true, now, effects);
    Ok(())
}

/// Ends the stopped calls whose process is gone and which were not sent again: no word of them will come. Says whether there
/// was one.
fn end_lost(run: &mut Run, plan: &Plan, now: Timestamp) -> bool {
    let lost = |step: &Step| step.stopped && step.is_lost();
    end_unheard(run, plan, lost, "its process ended before the call did, and the step was told to stop", now)
}

/// The run has reached its deadline.
pub(super) fn run_out_of_time(run: &mut Run, plan: &Plan, now: Timestamp, effects: &mut Effects) {
    let limit = plan.timeout.unwrap_or_default();
    if run.error.is_none() {
        let fault =
            Fault::new(FaultClass::Timeout, format!("the run did not end within its timeout of {limit:?}"));
        run.error = Some(RunError { fault, step: None });
    }
    recall(run, plan, |_| true, now, effects);
}

/// A group has reached its deadline.
pub(super) fn group_out_of_time(
    run: &mut Run,
    plan: &Plan,
    path: &StepPath,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<(), Refused> {
    let index = run.find(path).ok_or(Refused::UnknownStep)?;
    let Some(StepKind::Parallel { timeout, .. }) = plan.step(index).map(|step| &step.kind) else {
        return Err(Refused::UnknownStep);
    };
    let limit = timeout.unwrap_or_default();
    let group = run.step_if(index, |group| !group.status.is_terminal()).ok_or(Refused::AlreadySettled)?;
    group.stopped = true;
    group.error = Some(Fault::new(FaultClass::Timeout, format!("the group did not end within {limit:?}")));
    let inside = |step: StepIndex| {
        plan.step(step).is_some_and(|step| advance::groups_above(plan, step).any(|group| group == index))
    };
    recall(run, plan, inside, now, effects);
    Ok(())
}

/// Nobody waits any longer for calls that were told to stop.
pub(super) fn grace_is_over(run: &mut Run, plan: &Plan, now: Timestamp) {
    let why = format!("told to stop, and not heard of for {} s", GRACE.as_secs());
    end_unheard(run, plan, |step| step.stopped && step.call.is_some(), &why, now);
}

/// Ends calls of which no word is waited for any longer. Says whether there was one.
fn end_unheard(run: &mut Run, plan: &Plan, which: impl Fn(&Step) -> bool, why: &str, now: Timestamp) -> bool {
    let mut any = false;
    for number in 0..run.steps.len() {
        let index = StepIndex(number);
        let Some(step) = run.step_if(index, &which) else {
            continue;
        };
        any = true;
        let in_doubt = matches!(
            plan.step(index).map(|step| &step.kind),
            Some(StepKind::Call(call)) if call.safety == RepeatSafety::Unknown
        );
        step.error = Some(Fault::new(FaultClass::Cancelled, format!("{why}; the call may have happened")));
        step.end(if in_doubt { StepStatus::Indeterminate } else { StepStatus::Cancelled }, now);
        let path = step.path.clone();
        run.timers.retain(|kind, _| !matches!(kind, TimerKind::Lost { step, .. } if *step == path));
        advance::note_failure(run, plan, index);
    }
    any
}

/// Gives up the retries of some steps, and recalls what they have out.
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
                step.end(StepStatus::Cancelled, now);
                run.timers.retain(|kind, _| !matches!(kind, TimerKind::Retry { step, .. } if *step == path));
            }
            (_, Some(job)) => {
                out |= !step.is_lost();
                effects.push(Effect::Recall(job));
            }
            (_, None) => {}
        }
    }
    end_lost(run, plan, now);
    if out {
        run.timers.insert(TimerKind::Grace, now.plus(GRACE));
    }
}
