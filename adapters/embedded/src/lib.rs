//! The ports on one SQLite file, for one process or several.
//!
//! ```text
//!  Log  Checkpoints  Claims  Blobs          Queue (memory)
//!    └───────┴────┬────┴───────┘
//!              DataFile
//!        write ┌────┴────┐ read
//!           Writer    Readers
//!              └────┬────┘
//!         <dir>/longshore.db      <dir>/lock-NN: one process for each partition
//! ```
//!
//! An acknowledged change survives kill -9 and power loss: it is in the write-ahead log of SQLite, and the log is
//! synced, before the caller gets its answer. Many callers at once share one sync.
//!
//! Several processes can use a directory: SQLite lets them write in turn, and each leads only the partitions that it
//! holds.

mod blobs;
mod checkpoints;
mod claims;
mod database;
mod directory;
mod failure;
mod lock;
mod log;
mod open_error;
mod partitions;
mod queue;
mod readers;
mod run_watchers;
mod store;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use longshore_ports::{Backend, clock};
use longshore_proto::{Partition, RunId};

use self::blobs::BlobTable;
use self::checkpoints::CheckpointTable;
use self::claims::ClaimTable;
pub use self::directory::Access;
use self::directory::DataDirectory;
pub use self::lock::Holder;
use self::lock::{FileLock, LOOK_LIMIT};
use self::log::PartitionLogs;
pub use self::open_error::OpenError;
use self::partitions::HeldPartitions;
pub use self::partitions::{PARTITIONS, PartitionState};
use self::queue::MemoryQueue;
use self::readers::Readers;
pub use self::run_watchers::{RunWatch, RunWatchers};
use self::store::DataFile;
use self::writer::Writer;

/// An open data directory.
pub struct Embedded {
    backend: Backend,
    store: Arc<DataFile>,
    log: Arc<PartitionLogs>,
    held: Arc<HeldPartitions>,
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens a data directory.
    pub async fn open(dir: &Path, access: Access) -> Result<Self, OpenError> {
        let dir = dir.to_owned();
        let path = dir.join(directory::DATABASE_FILE);
        let opening = tokio::task::spawn_blocking(move || open(&dir, access)).await;
        opening.unwrap_or_else(|stopped| Err(OpenError::Database { path, source: Box::new(stopped) }))
    }

    /// Returns the ports.
    pub fn backend(&self) -> Backend {
        self.backend.clone()
    }

    /// Takes a partition for this process, which may lead it from then on, until the directory is closed.
    ///
    /// # Errors
    ///
    /// [`OpenError::InUse`] if another process has it.
    pub async fn hold(&self, partition: Partition) -> Result<(), OpenError> {
        self.take(partition, LOOK_LIMIT).await
    }

    async fn take(&self, partition: Partition, time_limit: Duration) -> Result<(), OpenError> {
        let held = Arc::clone(&self.held);
        let taking = tokio::task::spawn_blocking(move || held.take(partition, time_limit)).await;
        taking.unwrap_or_else(|stopped| Err(self.database_error(Box::new(stopped))))?;
        let settle = move |connection: &_| partitions::end_claim_leases(connection, partition);
        let settled = self.store.write(0, settle).await;
        settled.map_err(|failure| {
            self.database_error(Box::new(failure.when("end the claims of gone processes")))
        })
    }

    /// Takes the first partition that no other process has, for a new run: one that is settled or among `reusable` if
    /// there is one, so that the interrupted runs of the others can be taken over by other processes.
    ///
    /// # Errors
    ///
    /// [`OpenError::Full`] if every partition is held.
    pub async fn hold_free(&self, reusable: &BTreeSet<Partition>) -> Result<Partition, OpenError> {
        for only_suitable in [true, false] {
            let states = self.partitions().await?;
            for partition in (0..PARTITIONS).map(Partition) {
                let is_reusable = reusable.contains(&partition);
                if only_suitable && !is_reusable && !is_finished(&states, partition) {
                    continue;
                }
                // A process that only reads may be mistaken for a holder. Then another partition is taken.
                match self.take(partition, Duration::ZERO).await {
                    Ok(()) => {}
                    Err(OpenError::InUse { .. }) => continue,
                    Err(error) => return Err(error),
                }
                // The process that held it a moment ago may have left an interrupted run.
                if !only_suitable || is_reusable || is_finished(&self.partitions().await?, partition) {
                    return Ok(partition);
                }
                self.held.release(partition);
            }
        }
        Err(OpenError::Full { path: self.held.path(), partitions: PARTITIONS })
    }

    /// Records the runs of a held partition that this process executes, if it does not execute all of them, so that the
    /// others are shown as interrupted.
    pub fn name_runs(&self, partition: Partition, runs: &[RunId]) {
        self.held.name_runs(partition, runs);
    }

    /// Returns the process that holds a partition, if any.
    pub fn holder(&self, partition: Partition) -> Result<Option<Holder>, OpenError> {
        self.held.holder(partition)
    }

    /// Returns the states of all partitions that have a log.
    pub async fn partitions(&self) -> Result<BTreeMap<Partition, PartitionState>, OpenError> {
        let read = self.store.read(partitions::states).await;
        read.map_err(|failure| self.database_error(Box::new(failure.when("look up the partitions"))))
    }

    fn database_error(&self, source: Box<dyn StdError + Send + Sync>) -> OpenError {
        OpenError::Database { path: self.held.path().join(directory::DATABASE_FILE), source }
    }

    /// Completes running requests and releases the directory. Ports that are still in use fail from now on.
    ///
    /// Without this call nothing is lost, but the directory stays in use until the last port is dropped.
    pub async fn close(self) {
        self.store.close().await;
        self.log.close();
        if let Some(writer) = self.writer {
            // The thread ends by itself; an error means that the runtime ends before it.
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
    }
}

fn is_finished(states: &BTreeMap<Partition, PartitionState>, partition: Partition) -> bool {
    states.get(&partition).is_none_or(PartitionState::is_finished)
}

fn open(dir: &Path, access: Access) -> Result<Embedded, OpenError> {
    let directory = DataDirectory::open(dir, access)?;
    let database = directory.resolved_database();
    let (held, writer, thread) = match access {
        Access::ReadOnly => {
            database::check(&directory)?;
            (Arc::new(HeldPartitions::new(directory)), None, None)
        }
        Access::ReadWrite | Access::Shared => {
            let WriteAccess { held, writer, thread } = open_writer(directory, access)?;
            (held, Some(writer), Some(thread))
        }
    };
    let store = Arc::new(DataFile { writer, readers: Readers::new(database) });
    let log = Arc::new(PartitionLogs::new(Arc::clone(&store), access));
    let backend = Backend {
        log: Arc::clone(&log) as _,
        jobs: Arc::new(MemoryQueue::default()),
        checkpoints: Arc::new(CheckpointTable::new(Arc::clone(&store))),
        claims: Arc::new(ClaimTable::new(Arc::clone(&store))),
        blobs: Arc::new(BlobTable::new(Arc::clone(&store))),
    };
    Ok(Embedded { backend, store, log, held, writer: thread })
}

/// The parts of a directory that is open for writing.
struct WriteAccess {
    held: Arc<HeldPartitions>,
    writer: Writer,
    thread: JoinHandle<()>,
}

fn open_writer(directory: DataDirectory, access: Access) -> Result<WriteAccess, OpenError> {
    let path = directory.database();
    let broken = |source: Box<dyn StdError + Send + Sync>| OpenError::Database { path: path.clone(), source };
    let (lock, setup) = match access {
        Access::Shared => (FileLock::shared(&directory)?, Some(FileLock::setup(&directory)?)),
        Access::ReadWrite | Access::ReadOnly => (FileLock::whole(&directory)?, None),
    };
    directory.prepare()?;
    let connection = database::open_writer(&directory)?;
    drop(setup);
    if access == Access::ReadWrite {
        claims::end_all_leases(&connection, clock::now()).map_err(|source| broken(Box::new(source)))?;
    }
    let held = Arc::new(HeldPartitions::new(directory));
    let released = Arc::clone(&held);
    let release = move || {
        released.release_all();
        drop(lock);
    };
    let (writer, thread) = Writer::start(connection, release).map_err(|source| broken(Box::new(source)))?;
    Ok(WriteAccess { held, writer, thread })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn file_is_refused_as_a_data_directory() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("notes.txt");
        std::fs::write(&file, "mine").expect("writes");
        for dir in [file.clone(), file.join("below")] {
            for access in [Access::ReadOnly, Access::ReadWrite] {
                let refused = Embedded::open(&dir, access).await.err().expect("refused");
                assert!(matches!(&refused, OpenError::NotADirectory { path } if *path == dir), "{refused:?}");
            }
        }
        assert_eq!(std::fs::read_to_string(&file).expect("reads"), "mine");
    }
}
