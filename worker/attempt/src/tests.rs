//! Histories of jobs as text. Each line is `input => effect`.

mod calls;
mod claims;
mod grants;
mod interrupts;

use std::time::Duration;

use longshore_proto::{
    Attempt, AttemptRecord, ClaimKey, ClaimResult, Event, Fault, FaultClass, GrantDecision, Job, JobId,
    NodeId, OnToolError, Outcome, Output, Partition, Payload, RepeatSafety, RetryPolicy, RunId, Sent,
    Settlement, Timestamp,
};
use serde_json::{Value, json};

use super::{DeliveryEnd, Effect, Input, Interrupt, InterruptEffect, Machine};
use crate::call::{Answer, CallFault, FinishedCall, SpilledAnswer};

/// Returns a job that is safe to repeat: three attempts, 400 ms and 800 ms apart.
fn safe() -> Job {
    Job {
        id: JobId {
            run: RunId::new(Partition(0), Timestamp::from_millis(1), 1),
            step: "fetch".parse().expect("a path"),
            attempt: Attempt::FIRST,
        },
        submitted_at: Timestamp::default(),
        namespace: "default".parse().expect("a namespace"),
        workflow: "demo".parse().expect("a workflow name"),
        server: "tables".parse().expect("a server name"),
        tool: "sum".parse().expect("a tool name"),
        arguments: Payload::Inline(json!({})),
        secrets: Vec::new(),
        timeout: Duration::from_secs(5),
        max_timeout: Duration::from_secs(5),
        retry: RetryPolicy { jitter: false, delay: Duration::from_millis(400), ..RetryPolicy::default() },
        safety: RepeatSafety::Safe,
        idempotency_key: "key".into(),
        own_key: false,
        on_tool_error: OnToolError::Fail,
        keep_content: false,
        trace: None,
    }
}

/// Returns the same job with an idempotency key of the step.
fn with_own_key() -> Job {
    Job { own_key: true, ..safe() }
}

/// Returns the same job without the statement that it is safe to repeat.
fn unsafe_to_repeat() -> Job {
    Job { safety: RepeatSafety::Unknown, ..safe() }
}

/// Applies the left side of each line to a machine, and compares its effects with the right side.
#[track_caller]
fn check(job: Job, history: &str) {
    let worker: NodeId = "w1".parse().expect("a node id");
    let mut machine = Machine::new(&job, &worker);
    let (mut actual, mut expected) = (String::new(), String::new());
    for line in history.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (input, effect) = line.split_once("=>").expect("a line is `input => effect`");
        let (input, effect) = (input.trim(), effect.trim());
        actual += &format!("{input} => {}\n", apply(&mut machine, input, job.keep_content));
        expected += &format!("{input} => {effect}\n");
    }
    assert!(actual == expected, "the effects are\n{actual}\nexpected\n{expected}");
}

fn apply(machine: &mut Machine<'_>, text: &str, keep_content: bool) -> String {
    let interrupt = match text {
        "recalled" => Interrupt::Recalled,
        "stopping" => Interrupt::Stopping,
        "claim lost" => Interrupt::ClaimLost,
        _ => return show(&machine.handle(input(text, keep_content))),
    };
    match machine.interrupt(interrupt) {
        InterruptEffect::Continue => "continue".into(),
        InterruptEffect::CancelCall => "cancel the call".into(),
        InterruptEffect::ReplaceWith(effect) => show(&effect),
    }
}

fn input(text: &str, keep_content: bool) -> Input {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    match verb {
        "no" => Input::NoSlot,
        "delivered" => {
            let (count, more) = rest.split_once(", ").unwrap_or((rest, ""));
            let delivery_count = count.parse().expect("a number");
            Input::Delivered { delivery_count, is_recalled: more == "recalled" }
        }
        "granted" => Input::Decided(GrantDecision::Granted),
        "denied" => Input::Decided(GrantDecision::Denied),
        "grant" => Input::GrantReturned,
        "claim" if rest == "denied" => Input::ClaimDenied,
        "claim" => Input::ClaimResult { claimed: claimed(rest), now: Timestamp::from_millis(10_000) },
        "answers" => {
            let value: Value = serde_json::from_str(rest).expect("JSON");
            let answer = Answer {
                value,
                content: json!(["content"]),
                meta: Value::Null,
                is_error: false,
                error_text: String::new(),
                rounded: None,
            };
            call_ended(Ok(answer.spill(keep_content)))
        }
        "reports" => {
            let answer = Answer {
                value: json!(rest),
                content: json!([]),
                meta: Value::Null,
                is_error: true,
                error_text: rest.to_owned(),
                rounded: None,
            };
            call_ended(Ok(answer.spill(keep_content)))
        }
        "faults" => {
            let (class, sent) = rest.split_once(' ').expect("a class and how far the request came");
            let class = FaultClass::ALL.into_iter().find(|c| c.as_str() == class).expect("a class");
            let sent = if sent == "never" { Sent::Never } else { Sent::Maybe };
            call_ended(Err(CallFault { fault: Fault::new(class, "x"), sent }))
        }
        "retry" => Input::RetryDue,
        "settled" => Input::Settled,
        "failed" => Input::EffectFailed,
        _ => panic!("`{text}` is no input"),
    }
}

fn timestamp(millis: &str) -> Timestamp {
    Timestamp::from_millis(millis.parse().expect("milliseconds"))
}

/// Returns the end of a call that began at 1,000 ms and took 10 ms.
fn call_ended(result: Result<SpilledAnswer, CallFault>) -> Input {
    Input::CallEnded(Box::new(FinishedCall {
        process: None,
        started_at: Timestamp::from_millis(1_000),
        took: Duration::from_millis(10),
        masked: Vec::new(),
        result,
    }))
}

fn claimed(answer: &str) -> ClaimResult {
    match answer {
        "won" => ClaimResult::Won,
        "lapsed" => ClaimResult::Lapsed { holder: Some("w0-1-a-7".parse().expect("a node id")) },
        "lapsed without a name" => ClaimResult::Lapsed { holder: None },
        "done" => ClaimResult::Done,
        until => ClaimResult::Busy { until: timestamp(until.trim_start_matches("busy until ")) },
    }
}

fn show(effect: &Effect) -> String {
    let release = |claim: &Option<ClaimKey>| if claim.is_some() { ", releasing the claim" } else { "" };
    match effect {
        Effect::Claim(key) => format!("claim {}", key.step),
        Effect::RequestGrant => "ask for a grant".to_owned(),
        Effect::ReturnGrant => "return the grant".to_owned(),
        Effect::Call(number) => format!("call {number}"),
        Effect::Wait(delay) => format!("wait {delay:?}"),
        Effect::Settle { blobs, release: claim, event } => {
            let Event::Settled { settlement, attempts, unreported, unreported_worker, .. } = &**event else {
                panic!("a worker only settles")
            };
            let sizes: String = blobs.iter().map(|blob| format!(", blob of {}", blob.len())).collect();
            let unreported = match (unreported, unreported_worker) {
                (false, None) => String::new(),
                (false, Some(_)) => panic!("a worker is named without an unreported attempt"),
                (true, None) => " after an unreported attempt".to_owned(),
                (true, Some(worker)) => format!(" after an unreported attempt of {worker}"),
            };
            let (outcome, attempts) = (outcome(settlement), numbered(attempts));
            format!("settle {outcome} [{attempts}]{unreported}{sizes}{}", release(claim))
        }
        Effect::Finish(DeliveryEnd::Acknowledge { complete }) => {
            format!("acknowledge{}", if complete.is_some() { ", claim done" } else { "" })
        }
        Effect::Finish(DeliveryEnd::ReturnToQueue { release: claim, delay }) => {
            let delay = delay.map(|delay| format!(" for {delay:?}")).unwrap_or_default();
            format!("return{delay}{}", release(claim))
        }
    }
}

fn outcome(settlement: &Settlement) -> String {
    match settlement {
        Settlement::Done(Outcome::Output(Output { value, content })) => {
            let content =
                content.as_ref().map(|content| format!(" and {}", payload(content))).unwrap_or_default();
            format!("output {}{content}", payload(value))
        }
        Settlement::Done(Outcome::Fault(fault)) => format!("fault {fault}"),
        Settlement::Done(Outcome::Indeterminate(fault)) => format!("indeterminate {fault}"),
        Settlement::Again { at, fault } => format!("again at {}: {fault}", at.as_millis()),
    }
}

fn payload(payload: &Payload) -> String {
    match payload {
        Payload::Inline(value) => value.to_string(),
        Payload::Blob { bytes, .. } => format!("blob of {bytes}"),
    }
}

fn numbered(attempts: &[AttemptRecord]) -> String {
    let one = |attempt: &AttemptRecord| match &attempt.fault {
        None => format!("{} answered", attempt.number),
        Some(fault) => format!("{} {} {:?}", attempt.number, fault.class, attempt.sent).to_lowercase(),
    };
    attempts.iter().map(one).collect::<Vec<_>>().join(", ")
}
