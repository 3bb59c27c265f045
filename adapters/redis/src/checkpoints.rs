//! Checkpoints in Redis: a few keys for each partition, which scripts change.
//!
//! ```text
//! delta ──chunks──► one     ──► COMMIT: compares the mark and stores the rows, in one script
//!                   several ──► staged one by one ──► REPLACE: compares the mark, adopts the stage ──► COMPLETE, in steps
//! ```
//!
//! The server runs nothing else during a script, so each script does a bounded amount of work. A larger commit still
//! takes effect at once: its rows are staged, REPLACE records that they belong to the checkpoint, and the next process
//! that lists, loads or commits stores the remaining rows first. A look-up of one run finds it in either store. A full
//! checkpoint is always committed this way.
//!
//! Redis may lose keys, or parts of them. The numbers of entries are stored beside the mark, and every script compares
//! them. If they do not match, there is no checkpoint, and the log is replayed.

mod list;
mod load;
mod partition;
mod row;
mod run_chunk;

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{
    CheckpointDelta, Checkpoints, CommitResult, Error, LoadedCheckpoint, RunPage, RunQuery, RunRow,
};
use longshore_proto::{CheckpointMark, Namespace, Partition, RunId, WireError, decode, encode};
use redis::{RedisError, ScriptInvocation, cmd, pipe};
use tracing::{debug, warn};

use self::partition::{COMMIT, PartitionStore, REPLACE, StoredCheckpoint};
use self::run_chunk::RunChunk;
use super::connection::{RedisConnection, millis};
use super::probe::{self, Probe};

/// Time until the staged chunks of an abandoned commit expire.
const STAGE_LIFETIME: Duration = Duration::from_secs(600);

/// Script that reads a run.
const RUN_SCRIPT: &str = include_str!("checkpoints/run.lua");

/// Keys of a partition that [`RUN_SCRIPT`] reads. Workers have permission to read them, and no other keys of a
/// partition.
const RUN_KEYS: [&str; 5] = ["rows", "live", "done", "redo", "old"];

/// Maximum number of attempts of a commit while another process leaves commits incomplete. Two leaders at once are rare,
/// and only for a moment.
const COMMIT_ATTEMPTS: usize = 20;

/// The checkpoints of a cluster.
pub(super) struct CheckpointStore {
    connection: RedisConnection,
    /// Distinguishes the stages of this process from those of others.
    token: u64,
    /// Number of stages of this process.
    stages: Arc<AtomicU64>,
}

impl CheckpointStore {
    pub(super) fn new(connection: RedisConnection) -> Self {
        Self { connection, token: rand::random(), stages: Arc::default() }
    }

    fn partition(&self, partition: Partition) -> PartitionStore {
        PartitionStore::new(self.connection.clone(), partition)
    }

    /// Writes chunks to a stage, a list of its own. Returns its key.
    async fn stage(&self, store: &PartitionStore, chunks: &[RunChunk<'_>]) -> Result<String, Error> {
        let number = self.stages.fetch_add(1, Ordering::Relaxed);
        let key = store.key(&format!("stage:{:016x}-{number}", self.token));
        for chunk in chunks {
            let mut push = pipe();
            push.cmd("RPUSH").arg(&key).arg(chunk.items.len()).arg(&chunk.items).ignore();
            push.cmd("PEXPIRE").arg(&key).arg(millis(STAGE_LIFETIME)).ignore();
            self.connection.query_pipeline::<()>(push, &store.doing("stage a part of")).await?;
        }
        Ok(key)
    }

    /// Stores a delta, in one script or in steps.
    async fn put(
        &self,
        store: &PartitionStore,
        header: &DeltaHeader<'_>,
        chunks: &[RunChunk<'_>],
    ) -> Result<CommitResult, Error> {
        if header.base.is_some() && chunks.len() <= 1 {
            let mut call = header.with_arguments(store.script(&COMMIT));
            for chunk in chunks {
                call.arg(&chunk.items);
            }
            return commit_decision(store, &call).await;
        }
        let mut add = cmd("SADD");
        add.arg(list::partitions_key(self.connection.prefix())).arg(store.partition.0);
        self.connection.query::<()>(add, &store.doing("list")).await?;
        // Each chunk is preceded by its length.
        let items: usize = chunks.iter().map(|chunk| chunk.items.len() + 1).sum();
        let stage = self.stage(store, chunks).await?;
        let mut call = header.with_arguments(store.script(&REPLACE));
        call.key(stage).arg(items).arg(header.invalid.as_deref().unwrap_or_default());
        let committed = commit_decision(store, &call).await?;
        if committed == CommitResult::Accepted
            && let Err(error) = store.complete().await
        {
            debug!(partition = %store.partition, %error, "the commit is accepted; the next process stores its remaining rows");
        }
        Ok(committed)
    }
}

#[async_trait]
impl Checkpoints for CheckpointStore {
    async fn load(&self, partition: Partition) -> Result<Option<LoadedCheckpoint>, Error> {
        load::load(&self.partition(partition), partition).await
    }

    async fn commit(&self, partition: Partition, delta: Arc<CheckpointDelta>) -> Result<CommitResult, Error> {
        let store = self.partition(partition);
        let cannot_encode = |error| Error::permanent(store.doing("write"), error);
        let header = DeltaHeader::of(&delta).map_err(cannot_encode)?;
        let expired = &delta.expired;
        let chunks = run_chunk::chunks(&delta).map_err(cannot_encode)?;
        match (self.put(&store, &header, &chunks).await, &header.base) {
            // Expired runs are removed first and make room for the rest. They go a moment before the commit, which only
            // the same submit at that moment could notice.
            (Err(error), Some(base)) if is_full(&error) && !expired.is_empty() => {
                store.expire(base, expired).await?;
                self.put(&store, &header, &chunks).await
            }
            // A invalid checkpoint makes room for the one that replaces it.
            (Err(error), None) if is_full(&error) => {
                store.discard(header.invalid.as_deref().unwrap_or_default()).await?;
                self.put(&store, &header, &chunks).await
            }
            (result, _) => result,
        }
    }

    async fn mark(&self, partition: Partition) -> Result<Option<CheckpointMark>, Error> {
        Ok(match self.partition(partition).inspect().await? {
            StoredCheckpoint::Usable(header) => decode(&header.mark).ok(),
            StoredCheckpoint::Missing | StoredCheckpoint::Damaged(_) | StoredCheckpoint::Incomplete => None,
        })
    }

    async fn probe(&self) -> Result<(), Error> {
        probe::write(&self.connection, Probe::Partitions).await
    }

    async fn run(&self, run: RunId) -> Result<Option<RunRow>, Error> {
        let store = self.partition(run.partition());
        let mut read = cmd("EVAL_RO");
        read.arg(RUN_SCRIPT).arg(RUN_KEYS.len());
        read.arg(RUN_KEYS.map(|key| store.key(key)).as_slice()).arg(run.to_string());
        let doing = format!("look up {run}");
        let (row, state): (Option<Vec<u8>>, Option<Vec<u8>>) = self.connection.query(read, &doing).await?;
        let (Some(row), Some(state)) = (row, state) else { return Ok(None) };
        let summary = row::decode_row(&row).map_err(|error| Error::permanent(doing, error))?;
        Ok(Some(RunRow { summary, state }))
    }

    async fn runs(&self, query: RunQuery) -> Result<RunPage, Error> {
        list::list(&self.connection, &query).await
    }

    async fn count_live(&self, namespace: &Namespace) -> Result<u64, Error> {
        list::live(&self.connection, namespace).await
    }
}

/// The encoded parts of a delta without its runs.
struct DeltaHeader<'a> {
    base: Option<Vec<u8>>,
    mark: Vec<u8>,
    seq: u64,
    /// Incarnation of the log and format of the state.
    life: String,
    invalid: Option<Vec<u8>>,
    partition: &'a [u8],
}

impl<'a> DeltaHeader<'a> {
    fn of(delta: &'a CheckpointDelta) -> Result<Self, WireError> {
        let base = delta.base.as_ref().map(encode).transpose()?;
        let invalid = delta.invalid.as_ref().map(encode).transpose()?;
        let (mark, seq) = (encode(&delta.mark)?, delta.mark.seq.0);
        let life = format!("{}/{}", delta.mark.incarnation, delta.mark.version);
        Ok(Self { base, mark, seq, life, invalid, partition: &delta.partition })
    }

    /// Adds the arguments that every commit has.
    fn with_arguments<'s>(&self, mut script: ScriptInvocation<'s>) -> ScriptInvocation<'s> {
        script.arg(self.base.as_deref().unwrap_or_default()).arg(&self.mark);
        script.arg(self.seq).arg(&self.life).arg(self.partition);
        script
    }
}

/// Returns true if the server refused a write because its memory is full.
fn is_full(error: &Error) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<RedisError>());
    cause.is_some_and(|cause| cause.code() == Some("OOM"))
}

/// Runs a commit script until it accepts or refuses. Completes earlier commits first.
async fn commit_decision(store: &PartitionStore, call: &ScriptInvocation<'_>) -> Result<CommitResult, Error> {
    for _ in 0..COMMIT_ATTEMPTS {
        let (decision, stored, damage): (String, Vec<u8>, String) = store.run(call, "commit").await?;
        if !damage.is_empty() {
            warn!(
                why = damage,
                "cannot use the stored checkpoint of partition {}; replacing it", store.partition
            );
        }
        match decision.as_str() {
            "accepted" => return Ok(CommitResult::Accepted),
            // A mark that cannot be decoded counts as missing. A lost checkpoint costs a replay of the log, and nothing
            // else.
            "refused" => return Ok(CommitResult::Refused { stored: decode::<CheckpointMark>(&stored).ok() }),
            "incomplete" => store.complete().await?,
            _ => return Err(Error::transient(store.doing("commit"), "the staged chunks are gone")),
        }
    }
    Err(Error::transient(store.doing("commit"), "another process keeps committing to it"))
}
