//! Assignment of partitions to the processes that share a data directory.
//!
//! A process holds partitions of its own, each by a `lock` of the kernel, and is the only one that leads them. Other
//! processes may append signals to their logs, and read everything.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_ports::clock;
use longshore_proto::{CheckpointMark, Partition, RunId, Seq, decode};
use rusqlite::{Connection, OptionalExtension};

use super::claims;
use super::directory::DataDirectory;
use super::failure::StoreError;
use super::lock::{self, FileLock, Holder};
use super::open_error::OpenError;

/// Partitions of a data directory. Each running process and each interrupted run takes one, so that any run can be
/// taken over by itself. A run id has two digits for it.
pub const PARTITIONS: u16 = 100;

/// The state of a partition that has a log.
#[derive(Clone, Debug)]
pub struct PartitionState {
    /// Sequence of the last entry of its log.
    pub tail: Seq,
    /// Mark of its last checkpoint, if there is one that can be decoded.
    pub checkpoint: Option<CheckpointMark>,
    /// True if the checkpoint has runs that have not ended.
    pub has_live_runs: bool,
}

impl PartitionState {
    /// Returns true if every run has ended and the checkpoint covers the log: no run is interrupted, and nothing has to
    /// be read from the log.
    pub fn is_finished(&self) -> bool {
        !self.has_live_runs && self.checkpoint.as_ref().is_some_and(|mark| mark.seq == self.tail)
    }
}

/// The partitions that this process holds.
pub(super) struct HeldPartitions {
    directory: DataDirectory,
    held: Mutex<BTreeMap<Partition, FileLock>>,
}

impl HeldPartitions {
    pub(super) fn new(directory: DataDirectory) -> Self {
        Self { directory, held: Mutex::default() }
    }

    /// Takes a partition. The error names the process that has it.
    pub(super) fn take(&self, partition: Partition, time_limit: Duration) -> Result<(), OpenError> {
        if let Entry::Vacant(vacant) = self.held().entry(partition) {
            vacant.insert(FileLock::partition(&self.directory, partition, time_limit)?);
        }
        Ok(())
    }

    /// Releases a partition.
    pub(super) fn release(&self, partition: Partition) {
        self.held().remove(&partition);
    }

    /// Releases all partitions.
    pub(super) fn release_all(&self) {
        self.held().clear();
    }

    /// Writes the runs of a partition that this process executes into its lock file.
    pub(super) fn name_runs(&self, partition: Partition, runs: &[RunId]) {
        if let Some(lock) = self.held().get_mut(&partition) {
            lock.name_runs(runs);
        }
    }

    /// Returns the process that holds a partition, if any.
    pub(super) fn holder(&self, partition: Partition) -> Result<Option<Holder>, OpenError> {
        match lock::whole_holder(&self.directory)? {
            None => lock::partition_holder(&self.directory, partition),
            whole => Ok(whole),
        }
    }

    /// Returns the path of the directory, for messages.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Partition, FileLock>> {
        // No code that holds the lock can panic half-way.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the states of all partitions that have a log.
pub(super) fn states(connection: &Connection) -> Result<BTreeMap<Partition, PartitionState>, StoreError> {
    // All queries have to see the same commit.
    let snapshot = connection.unchecked_transaction()?;
    let mut query = snapshot.prepare_cached("SELECT partition, tail FROM logs ORDER BY partition")?;
    let rows = query.query_map([], |row| Ok((Partition(row.get(0)?), Seq(row.get(1)?))))?;
    let mut states = BTreeMap::new();
    for row in rows {
        let (partition, tail) = row?;
        states.insert(partition, state(&snapshot, partition, tail)?);
    }
    Ok(states)
}

fn state(connection: &Connection, partition: Partition, tail: Seq) -> Result<PartitionState, StoreError> {
    let mut query = connection.prepare_cached("SELECT mark FROM checkpoints WHERE partition = ?1")?;
    let mark: Option<Vec<u8>> = query.query_row([partition.0], |row| row.get(0)).optional()?;
    let sql = "SELECT EXISTS (SELECT 1 FROM runs WHERE live AND partition = ?1)";
    let has_live_runs = connection.prepare_cached(sql)?.query_row([partition.0], |row| row.get(0))?;
    Ok(PartitionState { tail, checkpoint: mark.and_then(|mark| decode(&mark).ok()), has_live_runs })
}

/// Ends the claims of earlier holders of a partition. They are gone, since their lock is free.
pub(super) fn end_claim_leases(connection: &Connection, partition: Partition) -> rusqlite::Result<()> {
    claims::end_leases_of_partition(connection, partition, clock::now())
}
