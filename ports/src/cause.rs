//! Classes of port errors, for metrics and for readiness checks.

/// The cause of a port error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorCause {
    /// The store, its disk or the account is full. It stays so until the operator makes room or messages are removed.
    Full,
    /// The user lacks the permission.
    Denied,
    /// The stream does not exist.
    Missing,
    /// The store does not deliver data that it should have.
    Damaged,
    /// The store did not answer, or reported that it is unavailable.
    Unavailable,
    /// The request itself failed, for a reason that says nothing about the store.
    Other,
}

impl ErrorCause {
    /// All causes.
    pub const ALL: [Self; 6] =
        [Self::Full, Self::Denied, Self::Missing, Self::Damaged, Self::Unavailable, Self::Other];

    /// Returns the name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Denied => "denied",
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Unavailable => "unavailable",
            Self::Other => "other",
        }
    }
}
