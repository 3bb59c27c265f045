//! Commits to make in tests: runs of partition 0, told apart by a number.

#![expect(clippy::expect_used, reason = "these names are names")]

use longshore_ports::{CheckpointDelta, RunRow};
use longshore_proto::{
    CheckpointMark, Digest, Incarnation, Partition, RollingHash, RunId, RunStatus, RunSummary, Seq,
    Timestamp, WorkflowRef,
};

/// The partition of all of them.
pub const LOG: Partition = Partition(0);

/// A run.
pub fn run(n: u64) -> RunId {
    RunId::new(LOG, Timestamp::from_millis(1_000), u128::from(n))
}

/// A run as it stands.
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
    };
    RunRow { summary, state }
}

/// Runs of which every third has ended.
pub fn rows(numbers: impl Iterator<Item = u64>) -> Vec<RunRow> {
    let status = |n| if n % 3 == 0 { RunStatus::Succeeded } else { RunStatus::Running };
    numbers.map(|n| row(n, status(n), format!("state of {n}").into_bytes())).collect()
}

/// A place in the log.
pub fn mark(seq: u64) -> CheckpointMark {
    let incarnation = Incarnation("one".to_owned());
    CheckpointMark { incarnation, seq: Seq(seq), version: 1, hash: RollingHash::default() }
}

/// These runs, in place of whatever is stored.
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

/// These runs, onto what is stored.
pub fn delta(base: u64, to: u64, changed: Vec<RunRow>) -> CheckpointDelta {
    CheckpointDelta { base: Some(mark(base)), ..full(to, changed) }
}

/// A commit of three pieces, in place of whatever there is.
pub fn numbered(seq: u64) -> CheckpointDelta {
    let state = seq.to_string().into_bytes();
    full(seq, (0..3_000).map(|n| row(n, RunStatus::Running, state.clone())).collect())
}
