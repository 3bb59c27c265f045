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
    Attempt, AttemptRecord, Event, JobId, Outcome, Output, Partition, Record, RunId, Sent, Seq, Settlement,
    Timestamp,
};
use longshore_workflow::{Plan, compile};
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

/// Returns the log of `runs` concurrent runs.
fn log(plan: &Plan, runs: u128) -> Vec<Record> {
    let ids: Vec<_> = (0..runs).map(|n| RunId::new(Partition(0), Timestamp::from_millis(1), n)).collect();
    let submits = ids.iter().map(|run| Event::Submitted {
        run: *run,
        namespace: "default".parse().expect("a namespace"),
        workflow: plan.reference(),
        inputs: json!({}).into(),
        trace: None,
    });
    let settles = (0..plan.steps.len()).flat_map(|step| ids.iter().map(move |run| settled(*run, step)));
    let events = submits.chain(settles).enumerate();
    events
        .map(|(n, event)| Record { seq: Seq(n as u64 + 1), part: 0, at: Timestamp::from_millis(1), event })
        .collect()
}

fn replay(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replay");
    for steps in [1, 10] {
        let plan = chain(steps);
        let log = log(&plan, 2_000);
        group.throughput(Throughput::Elements(log.len() as u64));
        group.bench_function(format!("runs of {steps}"), |bencher| {
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
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(5)).sample_size(30);
    targets = replay
}
criterion_main!(benches);
