//! The answer to a request for a claim on a call.

use crate::{NodeId, Timestamp};

/// The answer to a request for a claim.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClaimResult {
    /// The caller has it, and nobody had it before.
    Won,
    /// The caller has it, and an earlier holder never reported how the call went.
    Lapsed {
        /// The last holder before the caller that did not release the claim. `None` where the store no longer knows.
        holder: Option<NodeId>,
    },
    /// Another holder has it.
    Busy {
        /// When the lease of that holder ends.
        until: Timestamp,
    },
    /// The call was made and its outcome is in the log.
    Done,
}
