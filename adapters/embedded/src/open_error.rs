//! Errors of opening a data directory.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};

/// The reason why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the directory, or holds the partition.
    #[error("{path} is in use by {}: wait for it or stop it, or use another data directory", describe(*.pid))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Process id, if the process has written it.
        pid: Option<u32>,
    },
    /// Other processes hold all partitions.
    #[error("{partitions} processes are at work in {path}, and no more can be: use another data directory")]
    Full {
        /// The directory.
        path: PathBuf,
        /// Number of partitions.
        partitions: u16,
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
    /// The file was not written by Longshore.
    #[error("{path} was not written by longshore: move it away, or use another data directory")]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// There is no data file.
    #[error("{path} does not exist: nothing was run in this data directory yet")]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// The path is that of a file, or leads through one.
    #[error("{path} is not a directory: name a directory for the data, such as .longshore")]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory, or a file in it, is a symbolic link.
    #[error(
        "{path} is a symbolic link, and a data directory has none: remove the link, or name the directory itself"
    )]
    SymbolicLink {
        /// The link.
        path: PathBuf,
    },
    /// A directory, a pipe or a device has the name of a file of the data directory.
    #[error("{path} is not a regular file: move it away, or use another data directory")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The directory belongs to another user.
    #[error(
        "{path}: permission denied; run this as the user who owns the data directory, or name one of your own"
    )]
    Denied {
        /// The directory, or the file in it.
        path: PathBuf,
    },
    /// The file system does not support a write-ahead log.
    #[error(
        "{path} is on a file system without shared memory (a network mount?): use a local data directory"
    )]
    NoWriteAheadLog {
        /// The file.
        path: PathBuf,
    },
    /// The directory cannot be created or written.
    #[error("{path} cannot be used as part of a data directory: {source}")]
    Directory {
        /// The directory, or the file in it.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// The file cannot be read or written.
    #[error("{path} cannot be opened: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Error of the database.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl OpenError {
    /// Returns the error for `path`, the directory or a file in it, which cannot be opened.
    pub(super) fn unreachable(dir: &Path, path: &Path, source: std::io::Error) -> Self {
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

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn error_of_a_directory_names_the_reason() {
        let (dir, file) = (Path::new("data"), Path::new("data/longshore.db"));
        let error = |kind| OpenError::unreachable(dir, file, Error::from(kind)).to_string();
        assert!(error(ErrorKind::NotFound).starts_with("data/longshore.db does not exist"));
        assert!(error(ErrorKind::PermissionDenied).starts_with("data/longshore.db: permission denied"));
        assert!(error(ErrorKind::NotADirectory).starts_with("data is not a directory"));
        assert!(error(ErrorKind::StorageFull).contains("no storage space"));
    }
}
