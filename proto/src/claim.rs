//! The result of a request for a claim on a call.

use crate::{NodeId, Timestamp};

/// The result of a request for a claim.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClaimResult {
    /// The caller holds the claim, and there was no earlier holder.
    Won,
    /// The caller holds the claim, and an earlier holder lost it without reporting a result.
    Lapsed {
        /// Last holder before the caller that did not release the claim. `None` where the store no longer has the name.
        holder: Option<NodeId>,
    },
    /// Another holder has the claim.
    Busy {
        /// End of that holder's lease.
        until: Timestamp,
    },
    /// The call was made, and its outcome is in the log.
    Done,
}
