//! State, so that the log need not be read from its start.

use std::sync::Arc;

use async_trait::async_trait;
use longshore_proto::{CheckpointMark, Namespace, Partition, RunId, RunSummary, Timestamp};

use crate::{Error, RunPage, RunQuery};

/// The state of partitions up to a log sequence, and the rows that people list runs from.
///
/// Everything here can be rebuilt from the log: losing it costs time, and nothing else.
///
/// Contract:
/// - A commit is all or nothing, and is accepted only onto the mark it was computed from. The same commit once
///   more is accepted and changes nothing.
/// - A full checkpoint replaces nothing, an earlier one of the same life and format, or the one it names as useless; any
///   other one stays, because somebody else has brought it further.
/// - Rows of finished runs are kept when a full checkpoint replaces an earlier one, and go with a useless one.
#[async_trait]
pub trait Checkpoints: Send + Sync {
    /// The newest checkpoint, with the rows of runs that are not finished.
    async fn load(&self, partition: Partition) -> Result<Option<StoredCheckpoint>, Error>;

    /// Moves the checkpoint on. The delta is shared with whoever asks: if its fate is unknown, it is sent again.
    async fn commit(&self, partition: Partition, delta: Arc<CheckpointDelta>) -> Result<CommitResult, Error>;

    /// Returns the mark of the newest checkpoint, without its state. `None` if there is none, and while a commit is being put
    /// in. A run that was submitted up to this mark is found by a look-up that is made afterwards.
    async fn mark(&self, partition: Partition) -> Result<Option<CheckpointMark>, Error>;

    /// Tries a write. Fails, with the store's reason, where a commit would fail because the store takes no writes.
    async fn probe(&self) -> Result<(), Error> {
        Ok(())
    }

    /// One run, finished or not, as of the last checkpoint. Writes nothing: workers ask too, and may not.
    async fn run(&self, run: RunId) -> Result<Option<RunRow>, Error>;

    /// Runs as of the last checkpoint, newest first. Looks at no more than [`SCAN_LIMIT`](crate::SCAN_LIMIT) runs.
    async fn runs(&self, query: RunQuery) -> Result<RunPage, Error>;

    /// Returns how many runs of a namespace have not ended, as of the last checkpoint.
    async fn count_live(&self, namespace: &Namespace) -> Result<u64, Error>;
}

/// A run as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    /// What lists show.
    pub summary: RunSummary,
    /// The machine's state of the run, in its own format.
    pub state: Vec<u8>,
}

/// What changed since the last checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointDelta {
    /// The mark this was computed from. Nothing means: this is the whole state.
    pub base: Option<CheckpointMark>,
    /// For a whole state, the checkpoint that was found to contradict the log, if there was one.
    pub invalid: Option<CheckpointMark>,
    /// The mark it leads to.
    pub mark: CheckpointMark,
    /// The machine's state beside the runs, in its own format.
    pub partition: Vec<u8>,
    /// Runs that are new or changed.
    pub changed: Vec<RunRow>,
    /// Finished runs that are no longer kept.
    pub expired: Vec<RunId>,
}

/// A checkpoint as it was stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredCheckpoint {
    /// Which prefix of the log it stands for.
    pub mark: CheckpointMark,
    /// The machine's state beside the runs.
    pub partition: Vec<u8>,
    /// The state of every run that is not finished, in the order of their ids.
    pub live: Vec<(RunId, Vec<u8>)>,
    /// Every finished run that is still kept, with the moment it ended: the same submit again is no new run.
    pub finished: Vec<(RunId, Timestamp)>,
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq)]
pub enum CommitResult {
    /// The checkpoint stands at the delta's mark now.
    Accepted,
    /// Something else is stored than the delta was computed from; nothing was changed.
    Refused {
        /// What is stored.
        stored: Option<CheckpointMark>,
    },
}
