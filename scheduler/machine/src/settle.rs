//! Reports of workers.
//!
//! A report ends its step, or sets the time of the next attempt, or is stale and has no effect.
//! [`advance`](super::advance) starts what follows.

use longshore_proto::{
    AttemptRecord, Fault, FaultClass, JobId, NodeId, Outcome, Settlement, StepStatus, Timestamp,
};
use longshore_workflow::{Plan, StepIndex};

use super::step::Step;
use super::{Effect, Effects, RecordIgnored, Run, attempts};

/// A worker's report of its job, without the outcome.
pub(super) struct WorkerReport<'a> {
    /// The attempts that it made.
    pub(super) attempts: &'a [AttemptRecord],
    /// Another worker had the job before and did not report it.
    pub(super) unreported: bool,
    /// The worker that did not report, if it is known.
    pub(super) unreported_worker: Option<&'a NodeId>,
}

/// Takes a worker's report.
pub(super) fn settle(
    run: &mut Run,
    plan: &Plan,
    (job, settlement): (&JobId, &Settlement),
    report: &WorkerReport<'_>,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<(), RecordIgnored> {
    let index = plan.find(&job.step).ok_or(RecordIgnored::UnknownStep)?;
    let step = run.step(index).ok_or(RecordIgnored::UnknownStep)?;
    let current = step.call.as_ref().ok_or(RecordIgnored::AlreadySettled)?.attempt;
    // A job that was thought lost may still have worked: its output is as good as any, because the call did happen.
    // Its faults are not: a newer attempt is outstanding.
    let is_output = matches!(settlement, Settlement::Done(Outcome::Output(_)));
    let is_current = job.attempt == current;
    if !is_current && !is_output {
        return Err(RecordIgnored::StaleAttempt);
    }
    if !is_current && step.status == StepStatus::Running {
        // The newer job would repeat a call whose output is there.
        effects.extend(run.job_id(index).map(Effect::Recall));
    }
    let unreported = (report.unreported && is_current).then_some(report.unreported_worker);
    run.change(index, |step| {
        attempts::keep_reported(step, report.attempts, unreported, now);
        match settlement {
            Settlement::Done(outcome) => end(step, outcome, now),
            Settlement::Again { at, fault } => {
                // The moment is one of the worker's clock, and so is the end of its last attempt: what lies between them is
                // the delay, whatever that clock says. Our own deadlines are moments of the log.
                let ended = report.attempts.last().map_or(now, |last| last.started_at.plus(last.took));
                again(step, now.plus(at.since(ended)), fault, now);
            }
        }
    });
    Ok(())
}

/// Ends the step with its one outcome.
fn end(step: &mut Step, outcome: &Outcome, now: Timestamp) {
    match outcome {
        Outcome::Output(output) => {
            step.record_mut().output = Some(Box::new(output.clone()));
            step.end(StepStatus::Succeeded, None, now);
        }
        Outcome::Fault(fault) => {
            let was_stopped = step.stopped && fault.class == FaultClass::Cancelled;
            let status = if was_stopped { StepStatus::Cancelled } else { StepStatus::Failed };
            step.end(status, Some(fault.clone()), now);
        }
        Outcome::Indeterminate(fault) => step.end(StepStatus::Indeterminate, Some(fault.clone()), now),
    }
}

/// Sets the time of the next attempt, unless the step is stopping.
fn again(step: &mut Step, at: Timestamp, fault: &Fault, now: Timestamp) {
    if step.stopped {
        return step.end(StepStatus::Cancelled, Some(fault.clone()), now);
    }
    step.record_mut().error = Some(Box::new(fault.clone()));
    step.status = StepStatus::Retrying;
    let made = step.attempts().last().map(|attempt| attempt.number);
    if let Some(call) = &mut step.call {
        // Numbers only grow, or an old report could pass for a new one.
        call.attempt = made.unwrap_or(call.attempt).max(call.attempt).next();
        call.granted = None;
        call.due_at = Some(at);
        call.doubt_ends_at = None;
        call.grace_ends_at = None;
    }
}

/// Records that an outstanding job was lost before a call began, so that no attempt is recorded for it.
pub(super) fn note_not_called(run: &mut Run, plan: &Plan, job: &JobId) -> Result<(), RecordIgnored> {
    let index = plan.find(&job.step).ok_or(RecordIgnored::UnknownStep)?;
    let current = run.step(index).and_then(|step| step.call.as_ref()).ok_or(RecordIgnored::AlreadySettled)?;
    if current.attempt != job.attempt {
        return Err(RecordIgnored::StaleAttempt);
    }
    run.change(index, |step| step.call.as_mut().map(|call| call.sent_at = None));
    Ok(())
}

/// Notes for every outstanding job that no report will arrive. Returns true if there is one.
pub(super) fn lose_jobs(run: &mut Run, alive: Timestamp) -> bool {
    let mut any = false;
    for index in run.frame.indices() {
        if run.step(index).is_some_and(|step| step.call.is_some()) {
            any |= run.change(index, |step| attempts::lose(step, alive)).unwrap_or_default();
        }
    }
    any
}

/// Ends a stopped step whose call was not made.
pub(super) fn end_uncalled(run: &mut Run, index: StepIndex, now: Timestamp) {
    let fault = Fault::new(FaultClass::Cancelled, "cancelled before the call");
    run.change(index, |step| step.end(StepStatus::Cancelled, Some(fault), now));
}
