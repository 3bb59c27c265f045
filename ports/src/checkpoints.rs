//! Checkpoints: stored state of partitions, so that a leader need not read the log from its start.

use std::sync::Arc;

use async_trait::async_trait;
use longshore_proto::{CheckpointMark, Namespace, Partition, RunId, RunSummary, Timestamp};

use crate::{Error, RunPage, RunQuery};

/// The store of checkpoints: the state of partitions up to a sequence of their logs, and the rows of runs for lists.
///
/// The log can rebuild all of it, so a loss of this store costs time only.
///
/// Contract:
/// - A commit is atomic, and is accepted only onto the mark that it is based on. Repeating a commit is accepted and has no
///   effect.
/// - A full checkpoint is accepted if there is none, or in place of an earlier one of the same incarnation and format, or in
///   place of the one that it names as invalid. It is refused in any other case, because another leader has committed a
///   later one.
/// - Rows of finished runs remain when a full checkpoint replaces an earlier one. They are removed with an invalid one.
#[async_trait]
pub trait Checkpoints: Send + Sync {
    /// Returns the newest checkpoint, with the state of runs that are not finished.
    async fn load(&self, partition: Partition) -> Result<Option<LoadedCheckpoint>, Error>;

    /// Commits a delta. The caller keeps a reference, to repeat the commit if its result is unknown.
    async fn commit(&self, partition: Partition, delta: Arc<CheckpointDelta>) -> Result<CommitResult, Error>;

    /// Returns the mark of the newest checkpoint, without its state. `None` if there is none, and while a commit is in
    /// progress. A later look-up finds every run that was submitted up to this mark.
    async fn mark(&self, partition: Partition) -> Result<Option<CheckpointMark>, Error>;

    /// Tries a write. Fails with the store's reason if the store refuses writes, so that a commit would fail too.
    async fn probe(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Returns a run, finished or not, as of the last checkpoint. Writes nothing, since workers use it and lack the
    /// permission to write.
    async fn run(&self, run: RunId) -> Result<Option<RunRow>, Error>;

    /// Returns runs as of the last checkpoint, newest first. Scans at most [`SCAN_LIMIT`](crate::SCAN_LIMIT) runs.
    async fn runs(&self, query: RunQuery) -> Result<RunPage, Error>;

    /// Returns the number of runs of a namespace that have not ended, as of the last checkpoint.
    async fn count_live(&self, namespace: &Namespace) -> Result<u64, Error>;
}

/// The stored row of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    /// Summary of the run, for lists.
    pub summary: RunSummary,
    /// State of the run, in the machine's format.
    pub state: Vec<u8>,
}

/// The changes since an earlier checkpoint, or a full checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointDelta {
    /// Mark of the checkpoint that the changes apply to. `None` for a full checkpoint.
    pub base: Option<CheckpointMark>,
    /// For a full checkpoint, the mark of a stored checkpoint that contradicts the log, if there is one.
    pub invalid: Option<CheckpointMark>,
    /// Mark of the resulting checkpoint.
    pub mark: CheckpointMark,
    /// State of the partition apart from its runs, in the machine's format.
    pub partition: Vec<u8>,
    /// Runs that are new or changed.
    pub changed: Vec<RunRow>,
    /// Finished runs that are to be removed.
    pub expired: Vec<RunId>,
}

/// A checkpoint that was loaded from the store.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedCheckpoint {
    /// Prefix of the log that the checkpoint was computed from.
    pub mark: CheckpointMark,
    /// State of the partition apart from its runs, in the machine's format.
    pub partition: Vec<u8>,
    /// State of each run that is not finished, in the order of their ids.
    pub live: Vec<(RunId, Vec<u8>)>,
    /// Finished runs that have not expired, with the time of their end. They make a repeated submit recognisable.
    pub finished: Vec<(RunId, Timestamp)>,
}

/// The result of a commit.
#[derive(Clone, Debug, PartialEq)]
pub enum CommitResult {
    /// The stored checkpoint has the delta's mark.
    Accepted,
    /// The stored checkpoint is not the one that the delta is based on. It was not changed.
    Refused {
        /// Mark of the stored checkpoint.
        stored: Option<CheckpointMark>,
    },
}
