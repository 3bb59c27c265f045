//! Reports of workers.
//!
//! A report ends its step, or sets the time of the next attempt, or is stale and has no effect.
//! [`advance`](super::advance) starts what follows.

use longshore_proto::{
    AttemptRecord, Fault, FaultClass, JobId, NodeId, Outcome, Sent, Settlement, StepPath, StepStatus,
    TimerKind, Timestamp,
};
use longshore_workflow::{Plan, StepIndex};

use super::failure::note_failure;
use super::run::Step;
use super::{RecordIgnored, Run};

/// Attempts of one step that are kept in its record: all of them under any sane policy; a policy of a million
/// attempts keeps the newest.
const ATTEMPTS_KEPT: usize = 100;

/// Message of an attempt that was lost with its process.
const LOST: &str =
    "the process that had the job ended without a report; whether it made the call is not known";

/// Message of an attempt of an earlier delivery of a job, if its worker is not known.
const UNREPORTED: &str = "a worker that had the job did not report it: it was lost, or gave the job back; whether it made \
                          the call is not known";

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
    job: &JobId,
    settlement: &Settlement,
    report: &WorkerReport<'_>,
    now: Timestamp,
) -> Result<(), RecordIgnored> {
    let index = run.find(&job.step).ok_or(RecordIgnored::UnknownStep)?;
    let step = run.step_mut(index).ok_or(RecordIgnored::UnknownStep)?;
    let current = step.call.as_ref().ok_or(RecordIgnored::AlreadySettled)?.attempt;
    // A job that was thought lost may still have worked: its output is as good as any, because the call did happen.
    // Its faults are not: a newer attempt is outstanding.
    let is_output = matches!(settlement, Settlement::Done(Outcome::Output(_)));
    if job.attempt != current && !is_output {
        return Err(RecordIgnored::StaleAttempt);
    }
    let attempts = report.attempts;
    let unreported = if report.unreported && job.attempt == current {
        let until = attempts.first().map_or(now, |first| first.started_at);
        note_unreported(step, report.unreported_worker, until)
    } else {
        None
    };
    keep_attempts(&mut step.attempts, unreported, attempts);
    forget_timers(run, &job.step);
    match settlement {
        Settlement::Done(outcome) => end(run, index, outcome, now),
        Settlement::Again { at, fault } => {
            // The moment is one of the worker's clock, and so is the end of its last attempt: what lies between them is
            // the delay, whatever that clock says. Our own deadlines are moments of the log.
            let ended = attempts.last().map_or(now, |last| last.started_at.plus(last.took));
            again(run, index, now.plus(at.since(ended)), fault, now);
        }
    }
    note_failure(run, plan, index);
    Ok(())
}

/// Ends the step with its one outcome.
fn end(run: &mut Run, index: StepIndex, outcome: &Outcome, now: Timestamp) {
    let Some(step) = run.step_mut(index) else { return };
    match outcome {
        Outcome::Output(output) => {
            step.output = Some(output.clone());
            step.error = None;
            step.end(StepStatus::Succeeded, now);
        }
        Outcome::Fault(fault) => {
            let was_stopped = step.stopped && fault.class == FaultClass::Cancelled;
            step.error = Some(fault.clone());
            step.end(if was_stopped { StepStatus::Cancelled } else { StepStatus::Failed }, now);
        }
        Outcome::Indeterminate(fault) => {
            step.error = Some(fault.clone());
            step.end(StepStatus::Indeterminate, now);
        }
    }
}

/// Sets the timer of the next attempt, unless the step is stopping.
fn again(run: &mut Run, index: StepIndex, at: Timestamp, fault: &Fault, now: Timestamp) {
    let Some(step) = run.step_mut(index) else { return };
    step.error = Some(fault.clone());
    if step.stopped {
        step.end(StepStatus::Cancelled, now);
        return;
    }
    step.status = StepStatus::Retrying;
    let made = step.attempts.last().map(|attempt| attempt.number);
    if let Some(call) = &mut step.call {
        // Numbers only grow, or an old report could pass for a new one.
        call.attempt = made.unwrap_or(call.attempt).max(call.attempt).next();
        call.granted = None;
        let kind = TimerKind::Retry { step: step.path.clone(), attempt: call.attempt };
        run.timers.insert(kind, at);
    }
}

/// Records that an outstanding job was lost before a call began, so that no attempt is recorded for it.
pub(super) fn note_not_called(run: &mut Run, job: &JobId) -> Result<(), RecordIgnored> {
    let index = run.find(&job.step).ok_or(RecordIgnored::UnknownStep)?;
    let step = run.step_mut(index).ok_or(RecordIgnored::UnknownStep)?;
    let call = step.call.as_mut().ok_or(RecordIgnored::AlreadySettled)?;
    if call.attempt != job.attempt {
        return Err(RecordIgnored::StaleAttempt);
    }
    call.sent_at = None;
    Ok(())
}

/// Notes for every outstanding job that no report will arrive. Returns true if there is one.
pub(super) fn lose_jobs(run: &mut Run, alive: Timestamp) -> bool {
    run.steps.iter_mut().map(|step| lose(step, alive)).fold(false, |any, lost| any | lost)
}

/// Records an unreported attempt for an outstanding job, unless no call can have been made. The job is sent again under the
/// same number: it is unknown whether a call was made, so none is counted.
fn lose(step: &mut Step, alive: Timestamp) -> bool {
    if step.is_ungranted()
        && let Some(call) = &mut step.call
    {
        return call.sent_at.take().is_some();
    }
    let Some(lost) = unreported_attempt(step, LOST.to_owned(), None, alive) else { return false };
    keep_attempts(&mut step.attempts, None, &[lost]);
    true
}

/// Returns an attempt for an earlier delivery of the outstanding job. If the attempt is recorded already, adds the worker's name
/// to that record and returns `None`.
fn note_unreported(step: &mut Step, worker: Option<&NodeId>, until: Timestamp) -> Option<AttemptRecord> {
    let current = step.call.as_ref()?.attempt;
    if let Some(noted) = step.attempts.last_mut().filter(|last| last.number >= current) {
        noted.worker = noted.worker.take().or_else(|| worker.cloned());
        return None;
    }
    let why = match worker {
        Some(worker) => {
            format!(
                "worker {worker} claimed this call and did not report it; whether it made the call is not known"
            )
        }
        None => UNREPORTED.to_owned(),
    };
    unreported_attempt(step, why, worker.cloned(), until)
}

/// Returns the outstanding job as an attempt with an unknown result, which began when the job was sent.
fn unreported_attempt(
    step: &mut Step,
    why: String,
    worker: Option<NodeId>,
    until: Timestamp,
) -> Option<AttemptRecord> {
    let call = step.call.as_mut().filter(|_| step.status == StepStatus::Running)?;
    let started_at = call.sent_at.take()?;
    Some(AttemptRecord {
        number: call.attempt,
        started_at,
        took: until.since(started_at),
        fault: Some(Fault::new(FaultClass::Unavailable, why)),
        sent: Sent::Maybe,
        worker,
        process: None,
        masked: Vec::new(),
    })
}

/// Adds an unreported attempt, and behind it the new ones, by number and time; bounds the whole. The moment of an unreported
/// attempt is one of the log's clock, which may be ahead of the worker's, so no report is measured against it.
fn keep_attempts(kept: &mut Vec<AttemptRecord>, unreported: Option<AttemptRecord>, new: &[AttemptRecord]) {
    let place = |attempt: &AttemptRecord| (attempt.number, attempt.started_at);
    let mut newest = kept.last().map(place);
    kept.extend(unreported);
    for attempt in new {
        if newest.is_none_or(|newest| newest < place(attempt)) {
            newest = Some(place(attempt));
            kept.push(attempt.clone());
        }
    }
    let surplus = kept.len().saturating_sub(ATTEMPTS_KEPT);
    kept.drain(..surplus);
}

/// Adds the attempt of a granted call that its worker did not report.
pub(super) fn note_granted_attempt(step: &mut Step, worker: NodeId, now: Timestamp) {
    let why = format!("worker {worker} did not report it; whether it made the call is not known");
    let unreported = unreported_attempt(step, why, Some(worker), now);
    keep_attempts(&mut step.attempts, unreported, &[]);
}

/// Ends a stopped step whose call was not made.
pub(super) fn end_uncalled(run: &mut Run, index: StepIndex, now: Timestamp) {
    let Some(step) = run.step_mut(index) else { return };
    step.error = Some(Fault::new(FaultClass::Cancelled, "cancelled before the call"));
    step.end(StepStatus::Cancelled, now);
    let path = step.path.clone();
    forget_timers(run, &path);
}

/// Removes the timers of a job that was reported.
pub(super) fn forget_timers(run: &mut Run, path: &StepPath) {
    run.timers.retain(|kind, _| match kind {
        TimerKind::Lost { step, .. } | TimerKind::Retry { step, .. } | TimerKind::Doubt { step, .. } => {
            step != path
        }
        TimerKind::Step { .. } | TimerKind::Run | TimerKind::Grace => true,
    });
}
