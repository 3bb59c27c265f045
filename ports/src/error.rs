//! Breakage: what every port says when it cannot do what it was asked.

use std::error::Error as StdError;

use crate::ErrorCause;

/// A port did not do what it was asked, or does not know whether it did.
///
/// Whatever a port does is harmless to ask for twice, so the only question left is whether asking again can help.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct Error {
    /// Whether asking again, later, can help.
    pub retryable: bool,
    /// What the adapter knows of the reason.
    pub cause: ErrorCause,
    doing: String,
    source: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// It may work later: a connection, a full queue, a busy or full disk.
    pub fn transient(doing: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { retryable: true, cause: ErrorCause::Unavailable, doing: doing.into(), source: source.into() }
    }

    /// There is no room for it now.
    pub fn no_room(doing: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::transient(doing, source).with_cause(ErrorCause::Full)
    }

    /// It will not work without somebody's help: damaged data, a mismatch, a bug.
    pub fn permanent(doing: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { retryable: false, cause: ErrorCause::Other, doing: doing.into(), source: source.into() }
    }

    /// Returns the same error with the cause that the store named.
    pub fn with_cause(self, cause: ErrorCause) -> Self {
        Self { cause, ..self }
    }
}
