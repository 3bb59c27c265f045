//! Splits the runs of a delta into chunks, each of which a script stores at once.
//!
//! A chunk is a list of items, three for each run: its id, its row and its state. A run without a row is removed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use longshore_ports::{CheckpointDelta, RunRow};
use longshore_proto::{RunId, WireError};
use redis::{RedisWrite, ToRedisArgs, ToSingleRedisArg};

use super::row;

/// Maximum number of runs of a chunk. Each takes about ten microseconds of the server, which does nothing else
/// meanwhile.
pub(super) const CHUNK_RUNS: usize = 1_000;

/// Maximum number of bytes of a chunk, unless a single run has more. Reading and copying them takes the server a few
/// milliseconds.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Some runs of a delta.
#[derive(Default)]
pub(super) struct RunChunk<'a> {
    /// Id, row and state of each run, one after the other.
    pub(super) items: Vec<ChunkItem<'a>>,
    bytes: usize,
}

/// An argument of a command. It borrows the states of runs, so that they are not copied.
pub(super) struct ChunkItem<'a>(Cow<'a, [u8]>);

impl ToRedisArgs for ChunkItem<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        out.write_arg(&self.0);
    }
}

impl ToSingleRedisArg for ChunkItem<'_> {}

/// Items of each run.
const ITEMS_PER_RUN: usize = 3;

/// Splits a delta. Of two rows of one run the later one counts. An expired run is removed, unless it has been submitted
/// again and has not ended.
pub(super) fn chunks(delta: &CheckpointDelta) -> Result<Vec<RunChunk<'_>>, WireError> {
    let mut runs: BTreeMap<RunId, Option<&RunRow>> =
        delta.changed.iter().map(|changed| (changed.summary.run, Some(changed))).collect();
    for run in &delta.expired {
        let has_not_ended = |row: &RunRow| !row.summary.status.is_terminal();
        if !runs.get(run).copied().flatten().is_some_and(has_not_ended) {
            runs.insert(*run, None);
        }
    }
    let mut chunks = Vec::new();
    let mut chunk = RunChunk::default();
    for (run, changed) in runs {
        let (row, state) = match changed {
            Some(changed) => (row::encode_row(&changed.summary)?, changed.state.as_slice()),
            None => (Vec::new(), [].as_slice()),
        };
        let bytes = row.len() + state.len();
        let is_full = chunk.items.len() == CHUNK_RUNS * ITEMS_PER_RUN || chunk.bytes + bytes > CHUNK_BYTES;
        if is_full && !chunk.items.is_empty() {
            chunks.push(std::mem::take(&mut chunk));
        }
        let items = [Cow::Owned(run.to_string().into_bytes()), Cow::Owned(row), Cow::Borrowed(state)];
        chunk.items.extend(items.map(ChunkItem));
        chunk.bytes += bytes;
    }
    if !chunk.items.is_empty() {
        chunks.push(chunk);
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_proto::{
        CheckpointMark, Digest, Incarnation, Partition, RollingHash, RunStatus, RunSummary, Seq, Timestamp,
        WorkflowRef,
    };

    fn run(n: usize) -> RunId {
        RunId::new(Partition(0), Timestamp::from_millis(9), n as u128)
    }

    fn changed(n: usize, status: RunStatus, state: Vec<u8>) -> RunRow {
        let summary = RunSummary {
            run: run(n),
            namespace: "default".parse().expect("a namespace"),
            workflow: WorkflowRef { name: "demo".parse().expect("a name"), digest: Digest::of(b"text") },
            status,
            submitted_at: Timestamp::from_millis(1),
            finished_at: None,
            error: None,
            failed_step: None,
            cancel_reason: None,
            labels: BTreeMap::new(),
            indeterminate: 0,
        };
        RunRow { summary, state }
    }

    /// Id of a run, true if it has a row, and its state.
    type RunItems = (String, bool, Vec<u8>);

    fn split(changed: Vec<RunRow>, expired: Vec<RunId>) -> Vec<Vec<RunItems>> {
        let mark = CheckpointMark {
            incarnation: Incarnation("one".to_owned()),
            seq: Seq(1),
            version: 1,
            hash: RollingHash::default(),
        };
        let delta =
            CheckpointDelta { base: None, invalid: None, mark, partition: Vec::new(), changed, expired };
        let entry = |items: &[ChunkItem<'_>]| {
            let id = String::from_utf8(items[0].0.to_vec()).expect("text");
            (id, !items[1].0.is_empty(), items[2].0.to_vec())
        };
        let chunks = chunks(&delta).expect("chunks");
        chunks.iter().map(|chunk| chunk.items.chunks(ITEMS_PER_RUN).map(entry).collect()).collect()
    }

    #[test]
    fn last_change_of_a_run_counts() {
        use RunStatus::{Running, Succeeded};
        let rows = vec![
            changed(1, Running, b"old".to_vec()),
            changed(1, Running, b"new".to_vec()),
            changed(2, Succeeded, b"ended".to_vec()),
            changed(3, Running, b"again".to_vec()),
        ];
        let chunks = split(rows, vec![run(2), run(3), run(4)]);
        let expected = [
            (run(1).to_string(), true, b"new".to_vec()),
            (run(2).to_string(), false, Vec::new()),
            (run(3).to_string(), true, b"again".to_vec()),
            (run(4).to_string(), false, Vec::new()),
        ];
        assert_eq!(chunks, [expected.to_vec()]);
    }

    #[test]
    fn chunks_are_bounded_in_runs_and_bytes() {
        let small = (0..2_001).map(|n| changed(n, RunStatus::Running, Vec::new())).collect();
        let sizes: Vec<usize> = split(small, Vec::new()).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1_000, 1_000, 1]);
        let large = (0..3).map(|n| changed(n, RunStatus::Running, vec![0; CHUNK_BYTES * 2 / 5])).collect();
        let sizes: Vec<usize> = split(large, Vec::new()).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1]);
        let huge = (0..2).map(|n| changed(n, RunStatus::Running, vec![0; CHUNK_BYTES * 2])).collect();
        assert_eq!(split(huge, Vec::new()).len(), 2);
        assert!(split(Vec::new(), Vec::new()).is_empty());
    }
}
