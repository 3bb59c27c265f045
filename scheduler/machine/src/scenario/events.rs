//! Parsers of the events in the scripts of scenarios.

use std::time::Duration;

use longshore_proto::{
    Attempt, AttemptRecord, DeliveryId, Digest, Event, Fault, FaultClass, JobId, Namespace, Outcome, Output,
    Payload, RunId, Semantics, Sent, Settlement, Timer, TimerKind, Timestamp,
};
use longshore_workflow::Plan;
use serde_json::{Map, Value};

use super::TOOK;

pub(crate) fn leader(jobs_lost: bool) -> Event {
    Event::LeaderAnnounced {
        node: "test".parse().expect("a node"),
        version: "0".to_owned(),
        jobs_lost,
        records_lost: false,
    }
}

/// Returns the submit of a run. `inputs` are JSON, or empty.
pub(crate) fn submitted(run: RunId, plan: &Plan, inputs: &str) -> Event {
    let given: Map<String, Value> = match inputs {
        "" => Map::new(),
        text => serde_json::from_str(text).expect("inputs are an object"),
    };
    let inputs = plan.accept_inputs(given).unwrap_or_else(|problems| panic!("{problems}"));
    let namespace: Namespace = "default".parse().expect("a namespace");
    let (workflow, semantics) = (plan.reference(), Semantics::NEWEST);
    Event::Submitted { run, namespace, workflow, semantics, inputs: inputs.into(), trace: None }
}

/// Parses a settlement: `fetch#1 output {"n": 1}`, `fetch#1 large rows`, `fetch#1 fault timeout`, `fetch#1 indeterminate timeout`, `fetch#1 again
/// 5s`, `fetch#1 again 5s by a clock at 9h`.
pub(crate) fn settled(run: RunId, text: &str, at: Timestamp) -> Event {
    let mut started_at = at;
    let (name, rest) = text.split_once(' ').expect("a job and its settlement");
    let job = job_id(run, name);
    let number = job.attempt;
    let (word, rest) = rest.split_once(' ').unwrap_or((rest, "null"));
    let fault = |class: &str| {
        let class = FaultClass::ALL.into_iter().find(|known| known.as_str() == class).expect("a fault class");
        Fault::new(class, "test")
    };
    let settlement = match word {
        "output" => {
            let value: Value = serde_json::from_str(rest).expect("an output is JSON");
            Settlement::Done(Outcome::Output(Output { value: value.into(), content: None }))
        }
        "large" => {
            let value = Payload::Blob { digest: large(rest), bytes: 100_000 };
            Settlement::Done(Outcome::Output(Output { value, content: None }))
        }
        "fault" => Settlement::Done(Outcome::Fault(fault(rest))),
        "indeterminate" => Settlement::Done(Outcome::Indeterminate(fault(rest))),
        "again" => {
            let (delay, clock) = rest.split_once(" by a clock at ").unwrap_or((rest, ""));
            if !clock.is_empty() {
                started_at = Timestamp::from_millis(0).plus(duration(clock));
            }
            let at = started_at.plus(TOOK).plus(duration(delay));
            Settlement::Again { at, fault: fault("unavailable") }
        }
        other => panic!("no such settlement: {other}"),
    };
    let failed = match &settlement {
        Settlement::Done(Outcome::Output(_)) => None,
        Settlement::Done(Outcome::Fault(fault) | Outcome::Indeterminate(fault))
        | Settlement::Again { fault, .. } => Some(fault.clone()),
    };
    Event::Settled {
        job,
        settlement,
        attempts: vec![AttemptRecord {
            number,
            started_at,
            took: TOOK,
            fault: failed,
            sent: Sent::Maybe,
            worker: None,
            process: None,
            masked: Vec::new(),
            rounded: None,
        }],
        worker: "worker".parse().expect("a node"),
        unreported: false,
        unreported_worker: None,
    }
}

/// Returns the id of a job, such as `fetch#1`.
pub(crate) fn job_id(run: RunId, text: &str) -> JobId {
    let (step, attempt) = text.rsplit_once('#').expect("step#attempt");
    let attempt = Attempt(attempt.parse().expect("an attempt"));
    JobId { run, step: step.parse().expect("a path"), attempt }
}

/// Returns the id of a delivery, such as `w1-3`: the third to the worker `w1`.
pub(crate) fn delivery_id(text: &str) -> DeliveryId {
    let (worker, number) = text.rsplit_once('-').expect("worker-number");
    DeliveryId { worker: worker.parse().expect("a node"), number: number.parse().expect("a number") }
}

/// Returns the address of a large value with a name.
pub(crate) fn large(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// Returns a timer as the expected effects name it.
pub(crate) fn timer_text(timer: &Timer) -> String {
    match &timer.kind {
        TimerKind::Retry { step, attempt } => format!("retry {step}#{attempt}"),
        TimerKind::Lost { step, attempt, .. } => format!("lost {step}#{attempt}"),
        TimerKind::Doubt { step, attempt } => format!("doubt of {step}#{attempt}"),
        TimerKind::Step { step } => format!("deadline of {step}"),
        TimerKind::Run => "deadline of the run".to_owned(),
        TimerKind::Grace { step, attempt } => format!("grace of {step}#{attempt}"),
    }
}

pub(crate) fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).expect("a unit"));
    let number: u64 = number.parse().expect("a number");
    match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number * 60),
        "h" => Duration::from_secs(number * 3600),
        other => panic!("no such unit: {other}"),
    }
}
