//! How a scheduler takes a partition over.
//!
//! 1. Load the newest checkpoint, if it belongs to this log: same incarnation and format, and the log still holds
//!    the record it ends with, with the same content. Otherwise begin from nothing: a checkpoint is only a short cut.
//! 2. Announce the leadership in the log.
//! 3. Replay up to the announcement with every effect dropped: what those records led to has been done before, by
//!    somebody.
//!
//! What ought to be in flight is then derived from state alone, by [`Machine::resume`].

use longshore_machine::{Machine, STATE_VERSION};
use longshore_ports::{Backend, StoredCheckpoint};
use longshore_proto::{CheckpointMark, Incarnation, Partition, RollingHash, Seq};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

/// A position in one life of a log: which records were applied, and the hash over all of them.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) incarnation: Incarnation,
    pub(crate) seq: Seq,
    pub(crate) hash: RollingHash,
    /// The hash before the last record, so that a reader can check that record alone.
    pub(crate) before: RollingHash,
}

impl Position {
    pub(crate) fn mark(&self) -> CheckpointMark {
        CheckpointMark {
            incarnation: self.incarnation.clone(),
            seq: self.seq,
            version: STATE_VERSION,
            hash: self.hash,
        }
    }
}

/// What a checkpoint keeps beside the runs.
#[derive(Deserialize, Serialize)]
pub(crate) struct StoredPartition {
    pub(crate) before: RollingHash,
    pub(crate) machine: Vec<u8>,
}

/// A machine, where it stands, and what the checkpoint store holds.
pub(crate) struct Recovered {
    pub(crate) machine: Machine,
    pub(crate) position: Position,
    pub(crate) stored: Option<CheckpointMark>,
    /// What it holds that contradicts the log or cannot be read.
    pub(crate) useless: Option<CheckpointMark>,
}

/// Loads the newest checkpoint that fits the log, or begins from nothing.
pub(crate) async fn load(
    backend: &Backend,
    partition: Partition,
) -> Result<Recovered, longshore_ports::Error> {
    let incarnation = backend.log.incarnation(partition).await?;
    let loaded = backend.checkpoints.load(partition).await?;
    let useless = loaded.as_ref().map(|loaded| loaded.mark.clone());
    if let Some(loaded) = loaded {
        match fits(backend, partition, &incarnation, &loaded).await? {
            Ok(recovered) => return Ok(recovered),
            Err(why) => {
                warn!(%partition, seq = %loaded.mark.seq, why, "checkpoint not used; replaying the log")
            }
        }
    }
    let position = Position {
        incarnation,
        seq: Seq::ZERO,
        hash: RollingHash::default(),
        before: RollingHash::default(),
    };
    Ok(Recovered { machine: Machine::new(), position, stored: None, useless })
}

/// Whether a checkpoint belongs to this log, with the reason if it does not.
async fn fits(
    backend: &Backend,
    partition: Partition,
    incarnation: &Incarnation,
    loaded: &StoredCheckpoint,
) -> Result<Result<Recovered, String>, longshore_ports::Error> {
    let mark = &loaded.mark;
    if mark.incarnation != *incarnation {
        return Ok(Err(format!("it belongs to another life of the log, {}", mark.incarnation)));
    }
    if mark.version != STATE_VERSION {
        return Ok(Err(format!("its format is {}, this version reads {STATE_VERSION}", mark.version)));
    }
    let tail = backend.log.tail(partition).await?;
    if mark.seq > tail {
        return Ok(Err(format!("the log ends at {tail}: it has lost its end")));
    }
    let stored: StoredPartition = match longshore_proto::decode(&loaded.partition) {
        Ok(stored) => stored,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if mark.seq > Seq::ZERO {
        let mut reader = backend.log.read(partition, mark.seq).await?;
        let last = reader.next(1).await?.into_iter().next();
        let hash = last.map(|entry| stored.before.extend(entry.seq, entry.at, &entry.body));
        if hash != Some(mark.hash) {
            return Ok(Err("the record it ends with is another one in the log".to_owned()));
        }
    }
    match Machine::restore(&stored.machine, &loaded.live, &loaded.finished) {
        Ok(machine) => {
            info!(%partition, seq = %mark.seq, runs = machine.live_runs(), "checkpoint loaded");
            let position = Position {
                incarnation: incarnation.clone(),
                seq: mark.seq,
                hash: mark.hash,
                before: stored.before,
            };
            Ok(Ok(Recovered { machine, position, stored: Some(mark.clone()), useless: None }))
        }
        Err(error) => Ok(Err(error.to_string())),
    }
}
