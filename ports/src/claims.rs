//! Claims: records of calls that are not safe to repeat, and of the workers that make them.

use std::time::Duration;

use async_trait::async_trait;
use longshore_proto::{ClaimKey, ClaimResult, NodeId, Timestamp};

use crate::Error;

/// Minimal retention of a completed claim: longer than a queue may redeliver a job that was settled.
pub const CLAIM_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// The store of claims on calls.
///
/// Contract:
/// - From [`ClaimResult::Won`] or [`ClaimResult::Lapsed`] to the end of its lease, one holder has the claim, and every
///   other caller gets [`ClaimResult::Busy`]. A holder that repeats its request, because the first answer may have been
///   lost, gets the same answer and a new lease, unless another caller has requested the claim meanwhile. So each delivery
///   of a job needs a holder name of its own.
/// - If a holder ends without releasing its claim, the next caller gets [`ClaimResult::Lapsed`] and has to assume that the
///   call may have happened. This remains so if that caller releases the claim, or ends as well. The answer names the lost
///   holder when the claim first lapses; a store may drop the name after that.
/// - A request of a caller that is no longer the holder has no effect.
/// - A store outlives the processes that use it. A store that has lost its claims cannot distinguish a repeated delivery of
///   a job from the first one. So it reports [`complete_since`](Self::complete_since), and a caller with a redelivered job
///   that was queued before that time has to treat [`ClaimResult::Won`] as [`ClaimResult::Lapsed`].
#[async_trait]
pub trait Claims: Send + Sync {
    /// Requests a claim with a lease of this duration.
    async fn claim(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<ClaimResult, Error>;

    /// Returns the time since which this store has every claim, by its own clock. The Unix epoch where claims cannot be lost
    /// without the log. A value that is requested after a claim covers that claim.
    async fn complete_since(&self) -> Result<Timestamp, Error> {
        Ok(Timestamp::default())
    }

    /// Returns for each claim whether a call may have begun under it: false if no holder had the claim, or every holder released
    /// it. A store that cannot say that returns true. Only asked where jobs are lost with their process.
    async fn may_have_called(&self, keys: &[ClaimKey]) -> Result<Vec<bool>, Error> {
        Ok(vec![true; keys.len()])
    }

    /// Renews the lease of a claim. Returns false if the caller is no longer the holder. An expired lease can be renewed as
    /// long as no other caller has requested the claim.
    async fn renew(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<bool, Error>;

    /// Marks the claim as completed: the call was made, and its outcome is in the log.
    async fn done(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error>;

    /// Releases the claim, because the call was provably not made, or because its settlement demands another attempt. The
    /// next caller gets a new claim.
    async fn release(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error>;
}
