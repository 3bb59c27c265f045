//! The error type of all ports.

use std::error::Error as StdError;

use crate::ErrorCause;

/// The failure of an operation of a port, which may have had its effect all the same.
///
/// All operations of ports may be repeated without harm, so a caller only needs to know if a retry can succeed.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {source}")]
pub struct Error {
    /// True if a later retry can succeed.
    pub retryable: bool,
    /// Class of the cause.
    pub cause: ErrorCause,
    /// Description of the operation that failed.
    operation: String,
    source: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// Creates an error that a retry may overcome: a lost connection, a full queue, a busy disk.
    pub fn transient(
        operation: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let (operation, source) = (operation.into(), source.into());
        Self { retryable: true, cause: ErrorCause::Unavailable, operation, source }
    }

    /// Creates a transient error of a full store.
    pub fn no_room(operation: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::transient(operation, source).with_cause(ErrorCause::Full)
    }

    /// Creates an error that a retry cannot overcome: damaged data, a mismatch, a bug.
    pub fn permanent(
        operation: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let (operation, source) = (operation.into(), source.into());
        Self { retryable: false, cause: ErrorCause::Other, operation, source }
    }

    /// Replaces the cause by the one that the store reported.
    pub fn with_cause(self, cause: ErrorCause) -> Self {
        Self { cause, ..self }
    }
}
