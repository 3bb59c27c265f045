//! Checkpoint commits for tests. Their runs belong to partition 0 and differ by a number.

#![expect(clippy::expect_used, reason = "the names are valid")]

use longshore_ports::{CheckpointDelta, RunRow};
use longshore_proto::{
    CheckpointMark, Digest, Incarnation, Partition, RollingHash, RunId, RunStatus, RunSummary, Seq,
    Timestamp, WorkflowRef,
};

/// The partition of all runs.
pub const PARTITION: Partition = Partition(0);

/// Returns the id of a run.
pub fn run(n: u64) -> RunId {
    RunId::new(PARTITION, Timestamp::from_millis(1_000), u128::from(n))
}

/// Returns a run with its status and state.
pub fn row(n: u64, status: RunStatus, state: Vec<u8>) -> RunRow {
    let summary = RunSummary {
        run: run(n),
        namespace: "default".parse().expect("a namespace"),
        workflow: WorkflowRef { name: "demo".parse().expect("a name"), digest: Digest::of(b"text") },
        status,
        submitted_at: Timestamp::from_millis(n),
        finished_at: status.is_terminal().then(|| Timestamp::from_millis(n + 5)),
        error: None,
        failed_step: None,
        cancel_reason: None,
        labels: std::collections::BTreeMap::new(),
        indeterminate: 0,
    };
    RunRow { summary, state }
}

/// Returns runs of which every third has ended.
pub fn rows(numbers: impl Iterator<Item = u64>) -> Vec<RunRow> {
    let status = |n| if n % 3 == 0 { RunStatus::Succeeded } else { RunStatus::Running };
    numbers.map(|n| row(n, status(n), format!("state of {n}").into_bytes())).collect()
}

/// Returns the mark of a checkpoint up to this sequence.
pub fn mark(seq: u64) -> CheckpointMark {
    let incarnation = Incarnation("one".to_owned());
    CheckpointMark { incarnation, seq: Seq(seq), version: 1, hash: RollingHash::default() }
}

/// Returns a commit that replaces the stored checkpoint.
pub fn full(to: u64, changed: Vec<RunRow>) -> CheckpointDelta {
    CheckpointDelta {
        base: None,
        invalid: None,
        mark: mark(to),
        partition: b"the rest".to_vec(),
        changed,
        expired: Vec::new(),
    }
}

/// Returns a commit onto the stored checkpoint at `base`.
pub fn delta(base: u64, to: u64, changed: Vec<RunRow>) -> CheckpointDelta {
    CheckpointDelta { base: Some(mark(base)), ..full(to, changed) }
}

/// Returns a commit that replaces the stored checkpoint, and is so large that the store takes it in three chunks.
pub fn full_in_chunks(seq: u64) -> CheckpointDelta {
    let state = seq.to_string().into_bytes();
    full(seq, (0..3_000).map(|n| row(n, RunStatus::Running, state.clone())).collect())
}
