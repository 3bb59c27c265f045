//! Lives of jobs, as text: what happened `=>` what follows.

mod calls;
mod claims;
mod interrupts;

use std::time::Duration;

use longshore_proto::{
    Attempt, AttemptRecord, ClaimKey, ClaimResult, Event, Fault, FaultClass, Job, JobId, NodeId, OnToolError,
    Outcome, Output, Partition, Payload, RepeatSafety, RetryPolicy, RunId, Sent, Settlement, Timestamp,
};
use serde_json::{Value, json};

use super::{Effect, End, Input, Interrupt, Machine, Reaction};
use crate::call::{Answer, CallFault};

/// A job that may be repeated: three attempts, 400 ms and 800 ms apart.
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

/// The same, of which nobody said that it may be repeated.
fn unsafe_to_repeat() -> Job {
    Job { safety: RepeatSafety::Unknown, ..safe() }
}

/// Plays the left side of each line, and compares what follows with the right side.
#[track_caller]
fn check(job: Job, life: &str) {
    let worker: NodeId = "w1".parse().expect("a node id");
    let mut machine = Machine::new(&job, &worker);
    let (mut seen, mut expected) = (String::new(), String::new());
    for line in life.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (when, then) = line.split_once("=>").expect("a line is `when => then`");
        let (when, then) = (when.trim(), then.trim());
        seen += &format!("{when} => {}\n", play(&mut machine, when));
        expected += &format!("{when} => {then}\n");
    }
    assert!(seen == expected, "what follows is\n{seen}\nand ought to be\n{expected}");
}

fn play(machine: &mut Machine<'_>, when: &str) -> String {
    let interrupt = match when {
        "recalled" => Interrupt::Recalled,
        "stopping" => Interrupt::Stopping,
        "claim lost" => Interrupt::ClaimLost,
        _ => return show(&machine.handle(input(when))),
    };
    match machine.interrupt(interrupt) {
        Reaction::GoOn => "go on".into(),
        Reaction::CancelCall => "cancel the call".into(),
        Reaction::Instead(effect) => show(&effect),
    }
}

fn input(when: &str) -> Input {
    let (verb, rest) = when.split_once(' ').unwrap_or((when, ""));
    match verb {
        "delivered" => {
            let (times, more) = rest.split_once(", ").unwrap_or((rest, ""));
            let queued_at = more.strip_prefix("queued at ").map(moment);
            let delivered = times.parse().expect("a number");
            Input::Delivered { delivered, queued_at, recalled: more == "recalled" }
        }
        "born" => Input::Born(moment(rest.trim_start_matches("at "))),
        "claim" => Input::Claimed { claimed: claimed(rest), now: Timestamp::from_millis(10_000) },
        "answers" => {
            let value: Value = serde_json::from_str(rest).expect("JSON");
            let answer = Answer {
                value,
                content: json!(["content"]),
                meta: Value::Null,
                is_error: false,
                error_text: String::new(),
            };
            ended(Ok(answer))
        }
        "reports" => ended(Ok(Answer {
            value: json!(rest),
            content: json!([]),
            meta: Value::Null,
            is_error: true,
            error_text: rest.to_owned(),
        })),
        "faults" => {
            let (class, sent) = rest.split_once(' ').expect("a class and how far it came");
            let class = FaultClass::ALL.into_iter().find(|c| c.as_str() == class).expect("a class");
            let sent = if sent == "never" { Sent::Never } else { Sent::Maybe };
            ended(Err(CallFault { fault: Fault::new(class, "x"), sent }))
        }
        "retry" => Input::RetryDue,
        "settled" => Input::Settled,
        "broken" => Input::Broken,
        _ => panic!("`{when}` is nothing that happens"),
    }
}

fn moment(millis: &str) -> Timestamp {
    Timestamp::from_millis(millis.parse().expect("milliseconds"))
}

/// Calls begin at 1,000 ms and take 10.
fn ended(result: Result<Answer, CallFault>) -> Input {
    Input::Ended {
        process: None,
        started_at: Timestamp::from_millis(1_000),
        took: Duration::from_millis(10),
        masked: Vec::new(),
        result,
    }
}

fn claimed(answer: &str) -> ClaimResult {
    match answer {
        "won" => ClaimResult::Won,
        "lapsed" => ClaimResult::Lapsed { holder: Some("w0-1-a-7".parse().expect("a node id")) },
        "lapsed without a name" => ClaimResult::Lapsed { holder: None },
        "done" => ClaimResult::Done,
        until => ClaimResult::Busy { until: moment(until.trim_start_matches("busy until ")) },
    }
}

fn show(effect: &Effect) -> String {
    let release = |claim: &Option<ClaimKey>| if claim.is_some() { ", releasing the claim" } else { "" };
    match effect {
        Effect::Claim(key) => format!("claim {}", key.step),
        Effect::AskBirth => "ask since when there are claims".to_owned(),
        Effect::Call(number) => format!("call {number}"),
        Effect::Wait(delay) => format!("wait {delay:?}"),
        Effect::Settle { blobs, release: claim, event } => {
            let Event::Settled { settlement, attempts, unreported, unreported_worker, .. } = &**event else {
                panic!("a worker only settles")
            };
            let sizes: String = blobs.iter().map(|blob| format!(", blob of {}", blob.len())).collect();
            let before = match (unreported, unreported_worker) {
                (false, None) => String::new(),
                (false, Some(_)) => panic!("only what is unreported names a worker"),
                (true, None) => " after a silence".to_owned(),
                (true, Some(worker)) => format!(" after a silence of {worker}"),
            };
            let (outcome, attempts) = (outcome(settlement), numbered(attempts));
            format!("settle {outcome} [{attempts}]{before}{sizes}{}", release(claim))
        }
        Effect::End(End::Acknowledge { done }) => {
            format!("acknowledge{}", if done.is_some() { ", claim done" } else { "" })
        }
        Effect::End(End::GiveBack { release: claim, delay }) => {
            let delay = delay.map(|delay| format!(" for {delay:?}")).unwrap_or_default();
            format!("give back{delay}{}", release(claim))
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
