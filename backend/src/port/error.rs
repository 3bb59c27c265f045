//! Breakage: what every port says when it cannot do what it was asked.

use std::error::Error as StdError;

/// A port did not do what it was asked, or does not know whether it did.
///
/// Whatever a port does is harmless to ask for twice, so the only question left is whether asking again can help.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct Error {
    /// Whether asking again, later, can help.
    pub retryable: bool,
    /// Whether there was no room to store it. That passes only when the operator makes room, or other messages leave.
    pub no_room: bool,
    doing: String,
    source: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// It may work later: a connection, a full queue, a busy or full disk.
    pub fn transient(doing: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { retryable: true, no_room: false, doing: doing.into(), source: source.into() }
    }

    /// There is no room for it now.
    pub fn no_room(doing: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { no_room: true, ..Self::transient(doing, source) }
    }

    /// It will not work without somebody's help: damaged data, a mismatch, a bug.
    pub fn permanent(doing: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { retryable: false, no_room: false, doing: doing.into(), source: source.into() }
    }
}
