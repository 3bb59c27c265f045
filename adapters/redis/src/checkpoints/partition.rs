//! The keys of the checkpoint of one partition, and the scripts on them.
//!
//! All keys of a partition have one hash tag, so a script may use them together. A large commit records the work that
//! remains, and the next process that uses the checkpoint completes it first.

use std::sync::LazyLock;

use longshore_ports::Error;
use longshore_proto::{Partition, RunId};
use redis::{FromRedisValue, Script, ScriptInvocation};

use super::run_chunk::CHUNK_RUNS;
use crate::connection::{RedisConnection, allow_oom_script};

/// Maximum number of steps of [`CHUNK_RUNS`] runs that complete one commit: far more than a partition can hold.
const COMPLETION_STEPS: usize = 100_000;

/// A script that begins with the functions that all scripts on partitions share.
macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("partition.lua"), include_str!($file))))
    };
}

/// A script like [`script`] that also runs on a full server, because it frees memory or only moves stored values.
macro_rules! script_allow_oom {
    ($file:literal) => {
        LazyLock::new(|| allow_oom_script(concat!(include_str!("partition.lua"), include_str!($file))))
    };
}

pub(super) static COMMIT: LazyLock<Script> = script!("commit.lua");
pub(super) static REPLACE: LazyLock<Script> = script!("replace.lua");
static COMPLETE: LazyLock<Script> = script_allow_oom!("complete.lua");
static EXPIRE: LazyLock<Script> = script_allow_oom!("expire.lua");
static DISCARD: LazyLock<Script> = script_allow_oom!("discard.lua");
static INSPECT: LazyLock<Script> = script!("inspect.lua");

/// The checkpoint of one partition in Redis.
#[derive(Clone)]
pub(super) struct PartitionStore {
    pub(super) connection: RedisConnection,
    pub(super) partition: Partition,
    /// First part of all keys.
    tag: String,
}

impl PartitionStore {
    pub(super) fn new(connection: RedisConnection, partition: Partition) -> Self {
        let tag = format!("{}:{{p{partition}}}", connection.prefix());
        Self { connection, partition, tag }
    }

    /// Returns the key with this name.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.tag)
    }

    /// Prepares a script with the keys that all of them take. `partition.lua` says what they hold.
    pub(super) fn script<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        for name in ["meta", "live", "done", "rows", "index", "redo", "old"] {
            call.key(self.key(name));
        }
        call
    }

    pub(super) async fn run<T: FromRedisValue>(
        &self,
        call: &ScriptInvocation<'_>,
        doing: &str,
    ) -> Result<T, Error> {
        self.connection.run_script(call, &self.doing(doing)).await
    }

    /// Returns the text of an operation for errors.
    pub(super) fn doing(&self, doing: &str) -> String {
        format!("{doing} the checkpoint of partition {}", self.partition)
    }

    /// Completes the work that commits have left.
    pub(super) async fn complete(&self) -> Result<(), Error> {
        for _ in 0..COMPLETION_STEPS {
            let mut call = self.script(&COMPLETE);
            if !self.run::<bool>(call.arg(CHUNK_RUNS), "complete").await? {
                return Ok(());
            }
        }
        Err(Error::permanent(
            self.doing("complete"),
            format!("it is not complete after {COMPLETION_STEPS} steps"),
        ))
    }

    /// Removes finished runs from the checkpoint with this mark.
    pub(super) async fn expire(&self, mark: &[u8], runs: &[RunId]) -> Result<(), Error> {
        for chunk in runs.chunks(CHUNK_RUNS) {
            let mut call = self.script(&EXPIRE);
            call.arg(mark);
            for run in chunk {
                call.arg(run.to_string());
            }
            self.run::<()>(&call, "expire runs of").await?;
        }
        Ok(())
    }

    /// Removes a checkpoint that is damaged or has this mark.
    pub(super) async fn discard(&self, invalid: &[u8]) -> Result<(), Error> {
        let mut call = self.script(&DISCARD);
        self.run::<()>(call.arg(invalid), "remove").await
    }

    /// Reads the header of the checkpoint and checks it.
    pub(super) async fn inspect(&self) -> Result<StoredCheckpoint, Error> {
        let answer: (String, String, Vec<u8>, Vec<u8>, u64, usize, usize) =
            self.run(&self.script(&INSPECT), "read").await?;
        let (condition, reason, mark, partition, turn, live, finished) = answer;
        Ok(match condition.as_str() {
            "nothing" => StoredCheckpoint::Missing,
            "incomplete" => StoredCheckpoint::Incomplete,
            "whole" => StoredCheckpoint::Usable(CheckpointHeader { mark, partition, turn, live, finished }),
            _ => StoredCheckpoint::Damaged(reason),
        })
    }
}

/// The condition of the stored checkpoint of a partition.
pub(super) enum StoredCheckpoint {
    /// There is no checkpoint.
    Missing,
    /// The checkpoint cannot be used, for this reason.
    Damaged(String),
    /// A commit is not completed: runs have to be stored or removed.
    Incomplete,
    /// The checkpoint can be used.
    Usable(CheckpointHeader),
}

/// A checkpoint, without its runs.
#[derive(Eq, PartialEq)]
pub(super) struct CheckpointHeader {
    /// The encoded mark.
    pub(super) mark: Vec<u8>,
    /// The machine's state beside the runs.
    pub(super) partition: Vec<u8>,
    /// Number of commits. An equal number means equal contents.
    pub(super) turn: u64,
    /// Number of live runs.
    pub(super) live: usize,
    /// Number of finished runs.
    pub(super) finished: usize,
}
