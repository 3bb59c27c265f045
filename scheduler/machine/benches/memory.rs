//! Memory of runs in the machine, in bytes as requested from the allocator.
//!
//! `cargo bench --package longshore-machine --bench memory` prints a line for each state.

#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot be set up has nothing to report, and its figures are its output"
)]

use std::sync::Arc;
use std::time::Duration;

use longshore_machine::{Effects, Machine};
use longshore_proto::{
    Attempt, AttemptRecord, Event, JobId, OnToolError, Outcome, Output, Partition, Record, RepeatSafety,
    RetryPolicy, RunId, Semantics, Sent, Seq, Settlement, Timestamp,
};
use longshore_workflow::{CallStep, Condition, Plan, Step, StepIndex, StepKind, Template, compile};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Runs that share a measurement, so that the fixed part of the machine does not count.
const RUNS: u128 = 10_000;

fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let one = plan("  - { id: s0, call: tools/echo, with: { n: 1 } }\n");
    let chain: String =
        (0..2).map(|n| format!("  - {{ id: s{n}, call: tools/echo, with: {{ n: 1 }} }}\n")).collect();
    let chain = plan(&chain);
    print("a one-step run whose call is outstanding", bytes(&one, RUNS, 0) / RUNS);
    print("a two-step run between its calls", bytes(&chain, RUNS, 1) / RUNS);
    print("an outstanding step of a group of 256", bytes(&group(256), 100, 0) / (100 * 256));
    print("a pending step of a group of 10,000", bytes(&group(10_000), 1, 0) / 10_000);
    print("a finished step of a group of 10,000", bytes(&group(10_000), 1, 9_999) / 10_000);
}

fn print(state: &str, bytes: u128) {
    println!("{state}: {bytes} bytes");
}

fn plan(steps: &str) -> Arc<Plan> {
    let text = format!("longshore: v1\nname: memory\nsteps:\n{steps}");
    Arc::new(compile(&text).unwrap_or_else(|problems| panic!("{problems}")))
}

/// Returns a group of calls, as a plan that no text has.
fn group(members: usize) -> Arc<Plan> {
    let step = |path: String, parent: Option<StepIndex>, kind: StepKind| Step {
        path: path.parse().expect("a path"),
        name: None,
        parent,
        after: Vec::new(),
        followers: Vec::new(),
        condition: Condition::Success,
        kind,
        continue_on_error: false,
    };
    let call = |n: usize| {
        StepKind::Call(Box::new(CallStep {
            server: "tools".parse().expect("a server"),
            tool: "echo".parse().expect("a tool"),
            with: Template::constant(json!({ "n": n })),
            timeout: Duration::from_secs(60),
            max_timeout: Duration::from_secs(600),
            retry: RetryPolicy::default(),
            safety: RepeatSafety::Unknown,
            idempotency_key: None,
            on_tool_error: OnToolError::Fail,
            keep_content: false,
        }))
    };
    let parallel = StepKind::Parallel { members: (1..=members).map(StepIndex).collect(), timeout: None };
    let calls = (0..members).map(|n| step(format!("s{n}"), Some(StepIndex(0)), call(n)));
    let steps = std::iter::once(step("all".to_owned(), None, parallel)).chain(calls).collect();
    Arc::new(Plan::of_steps("group".parse().expect("a name"), steps))
}

/// Returns the memory of a machine after `runs` runs were submitted and the first `finished` calls of each have ended.
fn bytes(plan: &Arc<Plan>, runs: u128, finished: usize) -> u128 {
    let mut machine = Machine::new();
    machine.provide_plan(plan.digest, Ok(Arc::clone(plan)));
    let before = dhat::HeapStats::get().curr_bytes;
    let ids = || (0..runs).map(|n| RunId::new(Partition(0), Timestamp::from_millis(1), n));
    let submits = ids().map(|run| submitted(run, plan));
    let settles = (0..finished).flat_map(|step| ids().map(move |run| settled(run, step)));
    for (seq, event) in (1..).zip(submits.chain(settles)) {
        let record = Record { seq: Seq(seq), part: 0, at: Timestamp::from_millis(1), event };
        machine.apply(&record, &mut Effects::new()).expect("the record is applied");
    }
    // The changes for the next checkpoint are dropped, as after each checkpoint.
    machine.discard_unsaved();
    assert_eq!(machine.live_run_count() as u128, runs);
    let bytes = dhat::HeapStats::get().curr_bytes.saturating_sub(before);
    bytes as u128
}

fn submitted(run: RunId, plan: &Plan) -> Event {
    Event::Submitted {
        run,
        namespace: "default".parse().expect("a namespace"),
        workflow: plan.reference(),
        semantics: Semantics::NEWEST,
        inputs: json!({}).into(),
        trace: None,
    }
}

fn settled(run: RunId, step: usize) -> Event {
    let attempt = AttemptRecord {
        number: Attempt::FIRST,
        started_at: Timestamp::from_millis(1),
        took: Duration::from_millis(1),
        fault: None,
        sent: Sent::Answered,
        worker: Some("worker-1-abcdef".parse().expect("a node")),
        process: None,
        masked: Vec::new(),
        rounded: None,
    };
    Event::Settled {
        job: JobId { run, step: format!("s{step}").parse().expect("a path"), attempt: Attempt::FIRST },
        settlement: Settlement::Done(Outcome::Output(Output {
            value: json!({ "n": step }).into(),
            content: None,
        })),
        attempts: vec![attempt],
        worker: "worker-1-abcdef".parse().expect("a node"),
        unreported: false,
        unreported_worker: None,
    }
}
