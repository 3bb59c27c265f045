//! Recovery of a partition's state from its checkpoint.
//!
//! A leader that takes a partition over
//!
//! 1. loads the newest checkpoint, if it belongs to this log: same incarnation and format, and the log still has the last
//!    record of the checkpoint, with the same content. Otherwise it starts from the empty state and replays the whole log;
//! 2. announces itself in the log, and says so if the log has lost records;
//! 3. replays up to its announcement and drops all effects, because earlier leaders performed them.
//!
//! Afterwards [`Machine::resume`] derives the jobs that should be in flight from the state alone.

use longshore_machine::{Machine, STATE_VERSION};
use longshore_ports::{Backend, Error, LoadedCheckpoint};
use longshore_proto::{CheckpointMark, Incarnation, Partition, RollingHash, Seq};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

/// Position in an incarnation of a log: the last applied record, and the hash over all applied records.
#[derive(Clone, Debug)]
pub(crate) struct LogPosition {
    pub(crate) incarnation: Incarnation,
    pub(crate) seq: Seq,
    pub(crate) hash: RollingHash,
    /// The hash before the last record, so that this record alone can be verified.
    pub(crate) before: RollingHash,
}

impl LogPosition {
    pub(crate) fn mark(&self) -> CheckpointMark {
        CheckpointMark {
            incarnation: self.incarnation.clone(),
            seq: self.seq,
            version: STATE_VERSION,
            hash: self.hash,
        }
    }
}

/// Content of a checkpoint beside the runs.
#[derive(Deserialize, Serialize)]
pub(crate) struct StoredPartition {
    pub(crate) before: RollingHash,
    pub(crate) machine: Vec<u8>,
}

/// The checkpoint in the store.
#[derive(Clone, Debug)]
pub(crate) enum StoredCheckpoint {
    /// No checkpoint is stored.
    Absent,
    /// The checkpoint agrees with the log.
    Valid(CheckpointMark),
    /// The checkpoint contradicts the log or cannot be read. A full checkpoint replaces it.
    Invalid(CheckpointMark),
}

/// A recovered machine, its position, and the checkpoint that it was recovered from.
pub(crate) struct Recovered {
    pub(crate) machine: Machine,
    pub(crate) position: LogPosition,
    pub(crate) stored: StoredCheckpoint,
    /// The log has lost records: the checkpoint has some that the log no longer has, or some are missing between others.
    pub(crate) records_lost: bool,
}

/// Loads the newest checkpoint if it agrees with the log, and otherwise returns the empty state. Looks for lost records.
pub(crate) async fn load(backend: &Backend, partition: Partition) -> Result<Recovered, Error> {
    let mut recovered = load_state(backend, partition).await?;
    recovered.records_lost |= backend.log.has_lost_entries(partition, recovered.position.seq.next()).await?;
    Ok(recovered)
}

async fn load_state(backend: &Backend, partition: Partition) -> Result<Recovered, Error> {
    let incarnation = backend.log.incarnation(partition).await?;
    let mut records_lost = false;
    let stored = match backend.checkpoints.load(partition).await? {
        None => StoredCheckpoint::Absent,
        Some(loaded) => match restore(backend, partition, &incarnation, &loaded).await? {
            Ok(recovered) => return Ok(recovered),
            Err(Unusable { reason, contradicts_log }) => {
                records_lost = contradicts_log;
                warn!(
                    %partition, seq = %loaded.mark.seq, reason,
                    "checkpoint not used; replaying the log from its start"
                );
                StoredCheckpoint::Invalid(loaded.mark)
            }
        },
    };
    let (hash, before) = (RollingHash::default(), RollingHash::default());
    let position = LogPosition { incarnation, seq: Seq::ZERO, hash, before };
    Ok(Recovered { machine: Machine::new(), position, stored, records_lost })
}

/// The reason why a checkpoint cannot be used.
struct Unusable {
    reason: String,
    /// The log has lost records of the checkpoint.
    contradicts_log: bool,
}

impl Unusable {
    fn unreadable(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), contradicts_log: false }
    }

    fn contradicting(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), contradicts_log: true }
    }
}

/// Restores a checkpoint, or returns the reason why it does not belong to the log.
async fn restore(
    backend: &Backend,
    partition: Partition,
    incarnation: &Incarnation,
    loaded: &LoadedCheckpoint,
) -> Result<Result<Recovered, Unusable>, Error> {
    let mark = &loaded.mark;
    if mark.incarnation != *incarnation {
        let reason = format!("it belongs to another incarnation of the log, {}", mark.incarnation);
        return Ok(Err(Unusable::unreadable(reason)));
    }
    let tail = backend.log.tail(partition).await?;
    if mark.seq > tail {
        return Ok(Err(Unusable::contradicting(format!("the log ends at {tail}: it has lost its end"))));
    }
    if mark.version != STATE_VERSION {
        let reason = format!("its format is {}, this version reads {STATE_VERSION}", mark.version);
        return Ok(Err(Unusable::unreadable(reason)));
    }
    let stored: StoredPartition = match longshore_proto::decode(&loaded.partition) {
        Ok(stored) => stored,
        Err(error) => return Ok(Err(Unusable::unreadable(error))),
    };
    let mut records_lost = false;
    if mark.seq > Seq::ZERO {
        let mut reader = backend.log.read(partition, mark.seq).await?;
        let last = reader.next(1).await?.into_iter().next();
        // A record that the log has lost cannot be compared. The checkpoint has its effect.
        records_lost = last.as_ref().is_some_and(|entry| entry.lost > 0);
        let hash = last.map(|entry| stored.before.extend(entry.seq, entry.at, &entry.body));
        if hash != Some(mark.hash) && !records_lost {
            return Ok(Err(Unusable::contradicting("its last record has another content in the log")));
        }
    }
    match Machine::restore(&stored.machine, &loaded.live, &loaded.finished) {
        Ok(machine) => {
            info!(%partition, seq = %mark.seq, runs = machine.live_run_count(), "checkpoint loaded");
            let position = LogPosition {
                incarnation: incarnation.clone(),
                seq: mark.seq,
                hash: mark.hash,
                before: stored.before,
            };
            let stored = StoredCheckpoint::Valid(mark.clone());
            Ok(Ok(Recovered { machine, position, stored, records_lost }))
        }
        Err(error) => Ok(Err(Unusable::unreadable(error))),
    }
}
