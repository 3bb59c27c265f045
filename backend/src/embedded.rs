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
mod failure;
mod lock;
mod log;
mod queue;
mod readers;
mod store;
mod writer;

use std::error::Error as StdError;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

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
        let path = database::path(&dir);
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
    let path = database::path(dir);
    let (writer, thread) = match access {
        Access::ReadOnly => {
            database::check(&path)?;
            (None, None)
        }
        Access::ReadWrite => {
            let (writer, thread) = open_writer(dir, &path)?;
            (Some(writer), Some(thread))
        }
    };
    let store = Arc::new(Store { writer, readers: Readers::new(path) });
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

fn open_writer(dir: &Path, path: &Path) -> Result<(Writer, JoinHandle<()>), OpenError> {
    make(dir).map_err(|source| OpenError::Directory { path: dir.to_owned(), source })?;
    let lock = Lock::take(dir)?;
    let connection = database::open_writer(path)?;
    claims::settle_in(&connection, clock::now())
        .map_err(|source| OpenError::Database { path: path.to_owned(), source: Box::new(source) })?;
    Writer::start(connection, lock)
        .map_err(|source| OpenError::Database { path: path.to_owned(), source: Box::new(source) })
}

/// Makes the directory, for its owner alone: it holds inputs and results of runs.
fn make(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // SQLite syncs the directory of its files; that the directory itself stays is for us to see to.
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
