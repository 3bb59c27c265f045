//! Everything on one SQLite file, for one process or several.
//!
//! ```text
//!  Log  Checkpoints  Claims  Blobs          Queue (memory)
//!    └───────┴────┬────┴───────┘
//!                 Store
//!        write ┌────┴────┐ read
//!           Writer    Readers
//!              └────┬────┘
//!         <dir>/longshore.db      <dir>/lock-NN: one process for each partition
//! ```
//!
//! What was acknowledged survives kill -9 and power loss: every change is in the write-ahead log of SQLite, and
//! that is synced, before its caller is answered. Many callers at once share one sync.
//!
//! Several processes share a directory by `partitions`: SQLite lets them write in turn, and each leads only those
//! partitions that it holds.

mod blobs;
mod checkpoints;
mod claims;
mod database;
mod directory;
mod failure;
mod lock;
mod log;
mod partitions;
mod queue;
mod readers;
mod run_watchers;
mod store;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use longshore_ports::{Backend, clock};
use longshore_proto::{Partition, RunId};

use self::directory::DataDirectory;
pub use self::lock::Holder;
use self::lock::{LOOK_LIMIT, Lock};
use self::log::Log;
use self::partitions::Holds;
pub use self::partitions::{PARTITIONS, PartitionState};
use self::readers::Readers;
pub use self::run_watchers::{RunWatch, RunWatchers};
use self::store::Store;
use self::writer::Writer;

/// What a process wants from a data directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Write access to the whole directory: no other process may write. Creates the directory and the file if absent.
    ReadWrite,
    /// Write access to partitions, each of which is [held](Embedded::hold) before it is led, beside other processes. Creates the
    /// directory and the file if absent.
    Shared,
    /// To look at it, beside a process that works in it or without one. Every change is refused.
    ReadOnly,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works in it, or holds the partition.
    #[error("{path} is in use by {}: wait for it or stop it, or use another data directory", describe(*.pid))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, if it said who it is.
        pid: Option<u32>,
    },
    /// Every partition is held.
    #[error("{PARTITIONS} processes are at work in {path}, and no more can be: use another data directory")]
    Full {
        /// The directory.
        path: PathBuf,
    },
    /// The file was written by a newer version.
    #[error("{path} has format {found}, and this version of longshore knows {known}: upgrade longshore")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i32,
        /// The newest format that this version reads.
        known: i32,
    },
    /// The file is something else.
    #[error("{path} was not written by longshore: move it away, or use another data directory")]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing to look at.
    #[error("{path} does not exist: nothing was run in this data directory yet")]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// The name belongs to a file, or leads through one.
    #[error("{path} is not a directory: name a directory for the data, such as .longshore")]
    NotADirectory {
        /// What was named as the directory.
        path: PathBuf,
    },
    /// A symbolic link stands in the place of the directory, or of a file in it.
    #[error(
        "{path} is a symbolic link, and a data directory has none: remove the link, or name the directory itself"
    )]
    SymbolicLink {
        /// The link.
        path: PathBuf,
    },
    /// A directory, a pipe or a device stands in the place of a file of the data directory.
    #[error("{path} is not a regular file: move it away, or use another data directory")]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// Somebody else's directory.
    #[error(
        "{path}: permission denied; run this as the user who owns the data directory, or name one of your own"
    )]
    Denied {
        /// The directory, or the file in it.
        path: PathBuf,
    },
    /// The file system cannot do what the store needs.
    #[error(
        "{path} is on a file system without shared memory (a network mount?): use a local data directory"
    )]
    NoWriteAheadLog {
        /// The file.
        path: PathBuf,
    },
    /// The directory cannot be made or written.
    #[error("{path} cannot be used as part of a data directory: {source}")]
    Directory {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file cannot be read or written.
    #[error("{path} cannot be opened: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database says.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl OpenError {
    /// Why `path`, the directory or a file in it, cannot be reached.
    fn unreachable(dir: &Path, path: &Path, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{AlreadyExists, NotADirectory, NotFound, PermissionDenied};
        match source.kind() {
            NotFound => Self::Absent { path: path.to_owned() },
            PermissionDenied => Self::Denied { path: path.to_owned() },
            NotADirectory | AlreadyExists => Self::NotADirectory { path: dir.to_owned() },
            _ => Self::Directory { path: path.to_owned(), source },
        }
    }
}

fn describe(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// A data directory, open.
pub struct Embedded {
    backend: Backend,
    store: Arc<Store>,
    log: Arc<Log>,
    holds: Arc<Holds>,
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

    /// The ports.
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

    async fn take(&self, partition: Partition, patience: Duration) -> Result<(), OpenError> {
        let holds = Arc::clone(&self.holds);
        let taking = tokio::task::spawn_blocking(move || holds.take(partition, patience)).await;
        taking.unwrap_or_else(|stopped| Err(self.unread(Box::new(stopped))))?;
        let settle = move |connection: &_| partitions::settle_claims(connection, partition);
        let settled = self.store.write(0, settle).await;
        settled.map_err(|failure| self.unread(Box::new(failure.when("end the claims of gone processes"))))
    }

    /// Takes the first partition that no other process has, for a new run: one that is settled or among `reusable` if there is
    /// one, so that the interrupted runs of the others can be taken over by other processes.
    ///
    /// # Errors
    ///
    /// [`OpenError::Full`] if every partition is held.
    pub async fn hold_free(&self, reusable: &BTreeSet<Partition>) -> Result<Partition, OpenError> {
        for only_good in [true, false] {
            let states = self.partitions().await?;
            for partition in (0..PARTITIONS).map(Partition) {
                let is_reusable = reusable.contains(&partition);
                if only_good && !is_reusable && !is_settled(&states, partition) {
                    continue;
                }
                // A process that only looks may be mistaken for a holder: then it is the next one.
                match self.take(partition, Duration::ZERO).await {
                    Ok(()) => {}
                    Err(OpenError::InUse { .. }) => continue,
                    Err(error) => return Err(error),
                }
                // The process that had it a moment ago may have left a run behind.
                if !only_good || is_reusable || is_settled(&self.partitions().await?, partition) {
                    return Ok(partition);
                }
                self.holds.release(partition);
            }
        }
        Err(OpenError::Full { path: self.holds.path() })
    }

    /// Names the runs of a held partition that this process moves, if it leaves others alone, so that those are not taken for
    /// runs that go on.
    pub fn name_runs(&self, partition: Partition, runs: &[RunId]) {
        self.holds.name_runs(partition, runs);
    }

    /// The process that holds a partition, if one does.
    pub fn holder(&self, partition: Partition) -> Result<Option<Holder>, OpenError> {
        self.holds.holder(partition)
    }

    /// Every partition that has a log.
    pub async fn partitions(&self) -> Result<BTreeMap<Partition, PartitionState>, OpenError> {
        let read = self.store.read(partitions::states).await;
        read.map_err(|failure| self.unread(Box::new(failure.when("look up the partitions"))))
    }

    fn unread(&self, source: Box<dyn StdError + Send + Sync>) -> OpenError {
        OpenError::Database { path: self.holds.path().join(directory::DATABASE_FILE), source }
    }

    /// Finishes what was begun and lets go of the directory. Whoever still has the ports is refused from now on.
    ///
    /// Without it nothing is lost, but the directory stays in use until the last port is dropped.
    pub async fn close(self) {
        self.store.close().await;
        self.log.close();
        if let Some(writer) = self.writer {
            // The thread has been told to end; only the runtime's own end can keep this from waiting for it.
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
    }
}

fn is_settled(states: &BTreeMap<Partition, PartitionState>, partition: Partition) -> bool {
    states.get(&partition).is_none_or(PartitionState::is_settled)
}

fn open(dir: &Path, access: Access) -> Result<Embedded, OpenError> {
    let directory = DataDirectory::open(dir, access)?;
    let database = directory.resolved_database();
    let (holds, writer, thread) = match access {
        Access::ReadOnly => {
            database::check(&directory)?;
            (Arc::new(Holds::new(directory)), None, None)
        }
        Access::ReadWrite | Access::Shared => {
            let (holds, writer, thread) = open_writer(directory, access)?;
            (holds, Some(writer), Some(thread))
        }
    };
    let store = Arc::new(Store { writer, readers: Readers::new(database) });
    let log = Arc::new(Log::new(Arc::clone(&store), access));
    let backend = Backend {
        log: Arc::clone(&log) as _,
        jobs: Arc::new(queue::Queue::default()),
        checkpoints: Arc::new(checkpoints::Checkpoints::new(Arc::clone(&store))),
        claims: Arc::new(claims::Claims::new(Arc::clone(&store))),
        blobs: Arc::new(blobs::Blobs::new(Arc::clone(&store))),
    };
    Ok(Embedded { backend, store, log, holds, writer: thread })
}

fn open_writer(
    directory: DataDirectory,
    access: Access,
) -> Result<(Arc<Holds>, Writer, JoinHandle<()>), OpenError> {
    let path = directory.database();
    let broken = |source: Box<dyn StdError + Send + Sync>| OpenError::Database { path: path.clone(), source };
    let (lock, setup) = match access {
        Access::Shared => (Lock::shared(&directory)?, Some(Lock::setup(&directory)?)),
        Access::ReadWrite | Access::ReadOnly => (Lock::whole(&directory)?, None),
    };
    directory.prepare()?;
    let connection = database::open_writer(&directory)?;
    drop(setup);
    if access == Access::ReadWrite {
        claims::settle_in(&connection, clock::now()).map_err(|source| broken(Box::new(source)))?;
    }
    let holds = Arc::new(Holds::new(directory));
    let held = Arc::clone(&holds);
    let release = move || {
        held.release_all();
        drop(lock);
    };
    let (writer, thread) = Writer::start(connection, release).map_err(|source| broken(Box::new(source)))?;
    Ok((holds, writer, thread))
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_directory_that_cannot_be_reached_is_told_with_the_reason() {
        let (dir, file) = (Path::new("data"), Path::new("data/longshore.db"));
        let told = |kind| OpenError::unreachable(dir, file, Error::from(kind)).to_string();
        assert!(told(ErrorKind::NotFound).starts_with("data/longshore.db does not exist"));
        assert!(told(ErrorKind::PermissionDenied).starts_with("data/longshore.db: permission denied"));
        assert!(told(ErrorKind::NotADirectory).starts_with("data is not a directory"));
        assert!(told(ErrorKind::StorageFull).contains("no storage space"));
    }

    #[tokio::test]
    async fn a_file_is_no_data_directory() {
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
