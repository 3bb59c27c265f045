//! Why the store could not do what it was asked, in words that say how to mend it.
//!
//! SQLite answers with codes; callers need to know two things: what to do about it, and whether asking again can
//! help. One failure may have to be told to every caller of a group, so it can be cloned.

use longshore_ports::Error;
use longshore_proto::WireError;
use rusqlite::ErrorCode;

/// What went wrong beneath a port.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
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

impl Failure {
    /// The port error for it: `doing` says what was asked, with its place.
    pub(super) fn when(self, doing: impl Into<String>) -> Error {
        match self {
            Self::DiskFull | Self::Disk(_) | Self::Busy(_) => Error::transient(doing, self),
            Self::Damaged(_) | Self::Refused(_) | Self::ReadOnly | Self::Closed => {
                Error::permanent(doing, self)
            }
        }
    }
}

impl From<rusqlite::Error> for Failure {
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

impl From<WireError> for Failure {
    /// What was stored was once encoded here, so what cannot be read was changed since.
    fn from(error: WireError) -> Self {
        Self::Damaged(error.to_string())
    }
}
