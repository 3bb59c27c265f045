//! Everything in one process, on one SQLite file.
//!
//! ```text
//!  Log  Checkpoints  Claims  Blobs          Queue (memory)
//!    └───────┴────┬────┴───────┘
//!                 Store
//!        write ┌────┴────┐ read
//!           Writer    Readers
//!              └────┬────┘
//!         <dir>/longshore.db      <dir>/lock: one process at a time
//! ```
//!
//! What was acknowledged survives kill -9 and power loss: every change is in the write-ahead log of SQLite, and
//! that is synced, before its caller is answered. Many callers at once share one sync.

mod blobs;
mod checkpoints;
mod claims;
mod database;
mod directory;
mod failure;
mod lock;
mod log;
mod queue;
mod readers;
mod store;
mod writer;

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use self::directory::DataDirectory;
use self::lock::Lock;
use self::log::Log;
use self::readers::Readers;
use self::store::Store;
use self::writer::Writer;
use crate::{Backend, clock};

/// What a process wants from a data directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// To work in it: the directory and the file are made if there are none, and nobody else may write meanwhile.
    ReadWrite,
    /// To look at it, beside a process that works in it or without one. Every change is refused.
    ReadOnly,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works in it.
    #[error("{path} is in use by {}: wait for it or stop it, or use another data directory", describe(*.pid))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, if it said who it is.
        pid: Option<u32>,
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

fn open(dir: &Path, access: Access) -> Result<Embedded, OpenError> {
    let directory = DataDirectory::open(dir, access)?;
    let (writer, thread) = match access {
        Access::ReadOnly => {
            database::check(&directory)?;
            (None, None)
        }
        Access::ReadWrite => {
            let (writer, thread) = open_writer(&directory)?;
            (Some(writer), Some(thread))
        }
    };
    let store = Arc::new(Store { writer, readers: Readers::new(directory.resolved_database()) });
    let log = Arc::new(Log::new(Arc::clone(&store)));
    let backend = Backend {
        log: Arc::clone(&log) as _,
        jobs: Arc::new(queue::Queue::default()),
        checkpoints: Arc::new(checkpoints::Checkpoints::new(Arc::clone(&store))),
        claims: Arc::new(claims::Claims::new(Arc::clone(&store))),
        blobs: Arc::new(blobs::Blobs::new(Arc::clone(&store))),
    };
    Ok(Embedded { backend, store, log, writer: thread })
}

fn open_writer(directory: &DataDirectory) -> Result<(Writer, JoinHandle<()>), OpenError> {
    let broken =
        |source: Box<dyn StdError + Send + Sync>| OpenError::Database { path: directory.database(), source };
    let lock = Lock::take(directory)?;
    directory.prepare()?;
    let connection = database::open_writer(directory)?;
    claims::settle_in(&connection, clock::now()).map_err(|source| broken(Box::new(source)))?;
    Writer::start(connection, lock).map_err(|source| broken(Box::new(source)))
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
