//! Values for contracts: runs, events, jobs and checkpoint marks, each with a number that makes it unique.

use std::time::Duration;

use longshore_proto::{
    Attempt, CheckpointMark, ClaimKey, DeliveryId, Digest, Event, Incarnation, Job, JobId, Namespace, NodeId,
    OnToolError, Partition, Payload, RepeatSafety, RetryPolicy, RollingHash, RunId, RunStatus, RunSummary,
    Seq, ServerName, Signal, StepPath, Timestamp, WorkflowRef,
};
use serde_json::json;

/// The partition of every contract that needs only one.
pub(super) const PARTITION: Partition = Partition(0);

pub(super) fn run(n: u64) -> RunId {
    run_in(PARTITION, n)
}

pub(super) fn run_in(partition: Partition, n: u64) -> RunId {
    RunId::new(partition, Timestamp::from_millis(1_000), u128::from(n))
}

/// Returns an event. Three in a row have writers of three roles.
pub(super) fn event(n: u64) -> Event {
    let run = run(n);
    match n % 3 {
        0 => Event::Signalled {
            run,
            namespace: Namespace::default(),
            signal: Signal::Cancel { reason: format!("event {n}") },
        },
        1 => Event::Returned {
            job: JobId { run, step: step(), attempt: Attempt::FIRST },
            delivery: DeliveryId { worker: node("worker"), number: n },
        },
        _ => Event::Resumed { run },
    }
}

pub(super) fn events(numbers: std::ops::Range<u64>) -> Vec<Event> {
    numbers.map(event).collect()
}

pub(super) fn server(name: &str) -> ServerName {
    name.parse().expect("a server name")
}

pub(super) fn node(name: &str) -> NodeId {
    name.parse().expect("a node id")
}

fn step() -> StepPath {
    "fetch".parse().expect("a step path")
}

pub(super) fn claim_key(n: u64) -> ClaimKey {
    ClaimKey { run: run(n), submitted_at: Timestamp::default(), step: step() }
}

/// Returns a job for the server `files`.
pub(super) fn job(n: u64) -> Job {
    job_for("files", n)
}

pub(super) fn job_for(name: &str, n: u64) -> Job {
    Job {
        id: JobId { run: run(n), step: step(), attempt: Attempt::FIRST },
        submitted_at: Timestamp::default(),
        namespace: "default".parse().expect("a namespace"),
        workflow: "demo".parse().expect("a workflow name"),
        server: server(name),
        tool: "read.file".parse().expect("a tool name"),
        arguments: Payload::Inline(json!({ "n": n })),
        secrets: Vec::new(),
        timeout: Duration::from_secs(60),
        max_timeout: Duration::from_secs(60),
        retry: RetryPolicy::default(),
        safety: RepeatSafety::Unknown,
        idempotency_key: format!("key-{n}"),
        own_key: false,
        on_tool_error: OnToolError::Fail,
        keep_content: false,
        trace: None,
    }
}

pub(super) fn summary(run: RunId, status: RunStatus, submitted_at: u64) -> RunSummary {
    RunSummary {
        run,
        namespace: "default".parse().expect("a namespace"),
        workflow: WorkflowRef { name: "demo".parse().expect("a name"), digest: Digest::of(b"text") },
        status,
        submitted_at: Timestamp::from_millis(submitted_at),
        finished_at: status.is_terminal().then(|| Timestamp::from_millis(submitted_at + 5)),
        error: None,
        failed_step: None,
        cancel_reason: None,
        labels: std::collections::BTreeMap::new(),
        indeterminate: 0,
    }
}

pub(super) fn mark(seq: u64) -> CheckpointMark {
    CheckpointMark {
        incarnation: Incarnation("one".to_owned()),
        seq: Seq(seq),
        version: 1,
        hash: RollingHash::default().extend(Seq(seq), Timestamp::default(), b""),
    }
}
