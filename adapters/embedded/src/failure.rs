//! Errors of the data file, with texts that say how to fix them.
//!
//! SQLite reports codes. Callers need to know how to fix the cause and whether a retry can help. One error may go to
//! every caller of a group of writes, so it can be cloned.

use longshore_ports::Error;
use longshore_proto::WireError;
use rusqlite::ErrorCode;

/// An error below a port.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("the disk is full; nothing was written: free some space and try again")]
    DiskFull,
    #[error("the disk does not work as it should; nothing was acknowledged: {0}")]
    Disk(String),
    #[error("other processes kept the data file busy for too long: {0}")]
    Busy(String),
    #[error("the data file is damaged: {0}")]
    Damaged(String),
    #[error("{0}")]
    Refused(String),
    #[error("the data directory was opened for reading only")]
    ReadOnly,
    #[error("the data directory has been closed")]
    Closed,
}

impl StoreError {
    /// Turns it into an error of a port. `doing` names the operation and its subject.
    pub(super) fn when(self, doing: impl Into<String>) -> Error {
        match self {
            Self::DiskFull | Self::Disk(_) | Self::Busy(_) => Error::transient(doing, self),
            Self::Damaged(_) | Self::Refused(_) | Self::ReadOnly | Self::Closed => {
                Error::permanent(doing, self)
            }
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => Self::Disk(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(error.to_string()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}

impl From<WireError> for StoreError {
    /// Converts the error to damage: this code encoded the stored value, so it was changed since.
    fn from(error: WireError) -> Self {
        Self::Damaged(error.to_string())
    }
}
