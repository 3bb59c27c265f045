//! Records applied per second: replay of a log of finished runs.
//!
//! `cargo bench --package longshore-machine` prints elements per second, an element being one record.

#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "a benchmark that cannot be set up has nothing to report"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use longshore_machine::{Effects, Machine};
use longshore_proto::{
    Attempt, AttemptRecord, Event, JobId, OnToolError, Outcome, Output, Partition, Record, RepeatSafety,
    RetryPolicy, RunId, Semantics, Sent, Seq, Settlement, Timestamp,
};
use longshore_workflow::{CallStep, Condition, Plan, Step, StepIndex, StepKind, Template, compile};
use serde_json::json;

/// Returns a chain of calls, each with the output of the last one.
fn chain(steps: usize) -> Arc<Plan> {
    let mut text =
        "longshore: v1\nname: chain\nsteps:\n  - { id: s0, call: tools/echo, with: { n: 1 } }\n".to_owned();
    for step in 1..steps {
        let before = step - 1;
        text += &format!(
            "  - {{ id: s{step}, call: tools/echo, with: {{ n: '${{{{ steps.s{before}.output.n }}}}' }} }}\n"
        );
    }
    Arc::new(compile(&text).unwrap_or_else(|problems| panic!("{problems}")))
}

fn settled(run: RunId, step: usize) -> Event {
    let attempt = AttemptRecord {
        number: Attempt::FIRST,
        started_at: Timestamp::from_millis(1),
        took: Duration::from_millis(1),
        fault: None,
        sent: Sent::Answered,
        worker: None,
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
        worker: "bench".parse().expect("a node"),
        unreported: false,
        unreported_worker: None,
    }
}

/// Returns the plan of a group of calls. A workflow as text is limited to 1,000 steps.
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

/// Returns the log of `runs` concurrent runs.
fn log(plan: &Plan, runs: u128) -> Vec<Record> {
    let ids: Vec<_> = (0..runs).map(|n| RunId::new(Partition(0), Timestamp::from_millis(1), n)).collect();
    let submits = ids.iter().map(|run| Event::Submitted {
        run: *run,
        namespace: "default".parse().expect("a namespace"),
        workflow: plan.reference(),
        semantics: Semantics::NEWEST,
        inputs: json!({}).into(),
        trace: None,
    });
    let calls = plan.steps.iter().filter(|step| matches!(step.kind, StepKind::Call(_))).count();
    let settles = (0..calls).flat_map(|step| ids.iter().map(move |run| settled(*run, step)));
    let events = submits.chain(settles).enumerate();
    events
        .map(|(n, event)| Record { seq: Seq(n as u64 + 1), part: 0, at: Timestamp::from_millis(1), event })
        .collect()
}

fn replay(criterion: &mut Criterion) {
    let mut benches = criterion.benchmark_group("replay");
    for (name, plan, runs) in [
        ("runs of 1", chain(1), 2_000),
        ("runs of 10", chain(10), 2_000),
        ("1,000 runs of 10 in parallel", group(10), 1_000),
        ("one run of 10,000 in parallel", group(10_000), 1),
    ] {
        let log = log(&plan, runs);
        benches.throughput(Throughput::Elements(log.len() as u64));
        benches.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut machine = Machine::new();
                machine.provide_plan(plan.digest, Ok(Arc::clone(&plan)));
                for record in &log {
                    let mut effects = Effects::new();
                    let _ = machine.apply(record, &mut effects);
                    black_box(effects);
                }
                assert_eq!(machine.live_run_count(), 0);
            });
        });
    }
    benches.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(5)).sample_size(30);
    targets = replay
}
criterion_main!(benches);
