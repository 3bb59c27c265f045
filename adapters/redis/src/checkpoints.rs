//! Checkpoints in Redis: a few keys for each partition, moved on by scripts.
//!
//! ```text
//! delta ──chunks──► one     ──► COMMIT: compare the mark, put the rows in, all in one script
//!                   several ──► brought one by one ──► REPLACE: compare, flip ──► SETTLE, piece by piece
//! ```
//!
//! A script holds the server up for everybody, so each does a bounded piece of work. A commit that is larger is decided
//! in an instant all the same: its rows lie ready, the flip writes down that they belong to the checkpoint, and whoever
//! lists, loads or commits next puts in what is left before it looks. A look-up of one run finds it in either place. Full checkpoints always go this way.
//!
//! Redis may lose keys, or parts of them. The numbers of entries are kept beside the mark and compared by every
//! script; where they disagree there is no checkpoint, and the log is replayed.

mod chunk;
mod list;
mod load;
mod place;
mod row;

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{CheckpointDelta, CommitResult, Error, RunPage, RunQuery, RunRow, StoredCheckpoint};
use longshore_proto::{CheckpointMark, Namespace, Partition, RunId, WireError, decode, encode};
use redis::{RedisError, ScriptInvocation, cmd, pipe};
use tracing::{debug, warn};

use self::chunk::Chunk;
use self::place::{COMMIT, Kept, Place, REPLACE};
use super::link::{Link, millis};
use super::probe::{self, Probe};

/// How long the chunks of a commit that was given up lie about.
const STAGE_LIFETIME: Duration = Duration::from_secs(600);

/// The script that reads a run.
const RUN: &str = include_str!("checkpoints/run.lua");

/// The keys of a partition that it reads. Workers have these keys, and may only read them.
const RUN_KEYS: [&str; 5] = ["rows", "live", "done", "redo", "old"];

/// How often to look again at what somebody else leaves unsettled. Two leaders at once are rare, and last for a moment.
const ATTEMPTS: usize = 20;

/// All checkpoints of a cluster.
pub(super) struct Checkpoints {
    link: Link,
    /// Tells the chunks of this process from those of others.
    token: u64,
    stages: Arc<AtomicU64>,
}

impl Checkpoints {
    pub(super) fn new(link: Link) -> Self {
        Self { link, token: rand::random(), stages: Arc::default() }
    }

    fn place(&self, partition: Partition) -> Place {
        Place::new(self.link.clone(), partition)
    }

    /// Brings chunks to where a script finds them.
    async fn stage(&self, place: &Place, chunks: &[Chunk<'_>]) -> Result<String, Error> {
        let number = self.stages.fetch_add(1, Ordering::Relaxed);
        let key = place.key(&format!("stage:{:016x}-{number}", self.token));
        for chunk in chunks {
            let mut push = pipe();
            push.cmd("RPUSH").arg(&key).arg(chunk.items.len()).arg(&chunk.items).ignore();
            push.cmd("PEXPIRE").arg(&key).arg(millis(STAGE_LIFETIME)).ignore();
            self.link.query_all::<()>(push, &place.doing("bring a part of")).await?;
        }
        Ok(key)
    }

    /// Brings a delta to the server, in one script or in pieces.
    async fn put(
        &self,
        place: &Place,
        parts: &Parts<'_>,
        chunks: &[Chunk<'_>],
    ) -> Result<CommitResult, Error> {
        if parts.base.is_some() && chunks.len() <= 1 {
            let mut call = parts.call(place.script(&COMMIT));
            for chunk in chunks {
                call.arg(&chunk.items);
            }
            return decided(place, &call).await;
        }
        let mut known = cmd("SADD");
        known.arg(list::partitions_key(self.link.prefix())).arg(place.partition.0);
        self.link.query::<()>(known, &place.doing("announce")).await?;
        // Each chunk is preceded by its length.
        let items: usize = chunks.iter().map(|chunk| chunk.items.len() + 1).sum();
        let stage = self.stage(place, chunks).await?;
        let mut call = parts.call(place.script(&REPLACE));
        call.key(stage).arg(items).arg(parts.useless.as_deref().unwrap_or_default());
        let committed = decided(place, &call).await?;
        if committed == CommitResult::Accepted
            && let Err(error) = place.settle().await
        {
            debug!(partition = %place.partition, %error, "the commit stands; putting its rows in is left to the next one");
        }
        Ok(committed)
    }
}

#[async_trait]
impl longshore_ports::Checkpoints for Checkpoints {
    async fn load(&self, partition: Partition) -> Result<Option<StoredCheckpoint>, Error> {
        load::load(&self.place(partition), partition).await
    }

    async fn commit(&self, partition: Partition, delta: Arc<CheckpointDelta>) -> Result<CommitResult, Error> {
        let place = self.place(partition);
        let unwritable = |error| Error::permanent(place.doing("write"), error);
        let parts = Parts::of(&delta).map_err(unwritable)?;
        let expired = &delta.expired;
        let chunks = chunk::chunks(&delta).map_err(unwritable)?;
        match (self.put(&place, &parts, &chunks).await, &parts.base) {
            // What is no longer kept makes room for the rest, if it is taken out first. It goes a moment before its
            // time, which nobody but the same submit in the same moment could tell.
            (Err(error), Some(base)) if is_full(&error) && !expired.is_empty() => {
                place.expire(base, expired).await?;
                self.put(&place, &parts, &chunks).await
            }
            // What is of no use anyway makes room for what replaces it.
            (Err(error), None) if is_full(&error) => {
                place.discard(parts.useless.as_deref().unwrap_or_default()).await?;
                self.put(&place, &parts, &chunks).await
            }
            (result, _) => result,
        }
    }

    async fn mark(&self, partition: Partition) -> Result<Option<CheckpointMark>, Error> {
        Ok(match self.place(partition).inspect().await? {
            Kept::Whole(whole) => decode(&whole.mark).ok(),
            Kept::Nothing | Kept::Damaged(_) | Kept::Unsettled => None,
        })
    }

    async fn probe(&self) -> Result<(), Error> {
        probe::write(&self.link, Probe::Partitions).await
    }

    async fn run(&self, run: RunId) -> Result<Option<RunRow>, Error> {
        let place = self.place(run.partition());
        let mut read = cmd("EVAL_RO");
        read.arg(RUN).arg(RUN_KEYS.len());
        read.arg(RUN_KEYS.map(|key| place.key(key)).as_slice()).arg(run.to_string());
        let doing = format!("look up {run}");
        let (row, state): (Option<Vec<u8>>, Option<Vec<u8>>) = self.link.query(read, &doing).await?;
        let (Some(row), Some(state)) = (row, state) else { return Ok(None) };
        let summary = row::read(&row).map_err(|error| Error::permanent(doing, error))?;
        Ok(Some(RunRow { summary, state }))
    }

    async fn runs(&self, query: RunQuery) -> Result<RunPage, Error> {
        list::list(&self.link, &query).await
    }

    async fn count_live(&self, namespace: &Namespace) -> Result<u64, Error> {
        list::live(&self.link, namespace).await
    }
}

/// A delta without its runs, as it is stored.
struct Parts<'a> {
    base: Option<Vec<u8>>,
    mark: Vec<u8>,
    seq: u64,
    /// In which life of the log, and in which format.
    life: String,
    useless: Option<Vec<u8>>,
    partition: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(delta: &'a CheckpointDelta) -> Result<Self, WireError> {
        let base = delta.base.as_ref().map(encode).transpose()?;
        let useless = delta.invalid.as_ref().map(encode).transpose()?;
        let (mark, seq) = (encode(&delta.mark)?, delta.mark.seq.0);
        let life = format!("{}/{}", delta.mark.incarnation, delta.mark.version);
        Ok(Self { base, mark, seq, life, useless, partition: &delta.partition })
    }

    /// With the arguments that every commit has.
    fn call<'s>(&self, mut script: ScriptInvocation<'s>) -> ScriptInvocation<'s> {
        script.arg(self.base.as_deref().unwrap_or_default()).arg(&self.mark);
        script.arg(self.seq).arg(&self.life).arg(self.partition);
        script
    }
}

/// Whether the server refused to hold more.
fn is_full(error: &Error) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<RedisError>());
    cause.is_some_and(|cause| cause.code() == Some("OOM"))
}

/// Asks until the answer is a decision; what an earlier commit left to be done is done first.
async fn decided(place: &Place, call: &ScriptInvocation<'_>) -> Result<CommitResult, Error> {
    for _ in 0..ATTEMPTS {
        let (how, stored, damage): (String, Vec<u8>, String) = place.run(call, "commit").await?;
        if !damage.is_empty() {
            warn!(why = damage, "{} was of no use", place.doing("what is stored as"));
        }
        match how.as_str() {
            "accepted" => return Ok(CommitResult::Accepted),
            // A mark that cannot be read is none: a checkpoint that is lost costs time, and nothing else.
            "refused" => return Ok(CommitResult::Refused { stored: decode::<CheckpointMark>(&stored).ok() }),
            "unsettled" => place.settle().await?,
            _ => return Err(Error::transient(place.doing("commit"), "what was brought for it is gone")),
        }
    }
    Err(Error::transient(place.doing("commit"), "somebody else's commits are in the way"))
}
