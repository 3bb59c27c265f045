//! Records of attempts, including those that no worker reported.

use longshore_proto::{AttemptRecord, Fault, FaultClass, NodeId, Sent, StepStatus, Timestamp};

use super::step::Step;

/// Attempts of one step that are kept in its record: all of them under any sane policy; a policy of a million
/// attempts keeps the newest.
const ATTEMPTS_KEPT: usize = 100;

/// Message of an attempt that was lost with its process.
const LOST: &str =
    "the process that had the job ended without a report; whether it made the call is not known";

/// Message of an attempt of an earlier delivery of a job, if its worker is not known.
const UNREPORTED: &str = "a worker that had the job did not report it: it was lost, or gave the job back; whether it made \
                          the call is not known";

/// Records an unreported attempt for an outstanding job, unless no call can have been made. Returns true if a job was
/// outstanding. The job is sent again under the same number: it is unknown whether a call was made, so none is counted.
pub(super) fn lose(step: &mut Step, alive: Timestamp) -> bool {
    if step.is_ungranted()
        && let Some(call) = &mut step.call
    {
        return call.sent_at.take().is_some();
    }
    let Some(lost) = unreported(step, LOST.to_owned(), None, alive) else { return false };
    keep(step, None, &[lost]);
    true
}

/// Adds the attempts of a report. `unreported_by` is the worker of an earlier delivery that did not report the job, if there was
/// one and it may be known.
pub(super) fn keep_reported(
    step: &mut Step,
    reported: &[AttemptRecord],
    unreported_by: Option<Option<&NodeId>>,
    now: Timestamp,
) {
    let until = reported.first().map_or(now, |first| first.started_at);
    let unreported = unreported_by.and_then(|worker| earlier_delivery(step, worker, until));
    keep(step, unreported, reported);
}

/// Adds the attempt of a granted call that its worker did not report.
pub(super) fn note_granted(step: &mut Step, worker: NodeId, now: Timestamp) {
    let why = format!("worker {worker} did not report it; whether it made the call is not known");
    let unreported = unreported(step, why, Some(worker), now);
    keep(step, unreported, &[]);
}

/// Returns an attempt for an earlier delivery of the outstanding job. If the attempt is recorded already, adds the worker's name
/// to that record and returns `None`.
fn earlier_delivery(step: &mut Step, worker: Option<&NodeId>, until: Timestamp) -> Option<AttemptRecord> {
    let current = step.call.as_ref()?.attempt;
    if let Some(noted) = step.record_mut().attempts.last_mut().filter(|last| last.number >= current) {
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
    unreported(step, why, worker.cloned(), until)
}

/// Returns the outstanding job as an attempt with an unknown result, which began when the job was sent.
fn unreported(
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
        rounded: None,
    })
}

/// Adds an unreported attempt, and behind it the new ones, by number and time; bounds the whole. The moment of an unreported
/// attempt is one of the log's clock, which may be ahead of the worker's, so no report is measured against it.
fn keep(step: &mut Step, unreported: Option<AttemptRecord>, new: &[AttemptRecord]) {
    let kept = &mut step.record_mut().attempts;
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
