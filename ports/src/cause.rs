//! The cause of a port's failure in one word, for metrics and for those who decide whether a store can be used.

/// Why a port failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorCause {
    /// The store, its disk or the account has no room. That passes only when the operator makes room, or other messages leave.
    Full,
    /// The user may not do it.
    Denied,
    /// There is no such stream.
    Missing,
    /// There was no answer, or the store says that it cannot answer now.
    Unavailable,
    /// Something about this one request.
    Other,
}

impl ErrorCause {
    /// Every cause.
    pub const ALL: [Self; 5] = [Self::Full, Self::Denied, Self::Missing, Self::Unavailable, Self::Other];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Denied => "denied",
            Self::Missing => "missing",
            Self::Unavailable => "unavailable",
            Self::Other => "other",
        }
    }
}
