//! Idempotency records: who is making, or has made, a call that is not safe to repeat.

use std::time::Duration;

use async_trait::async_trait;
use longshore_proto::{ClaimKey, ClaimResult, NodeId, Timestamp};

use crate::Error;

/// How long a done claim is kept at least: longer than a queue may hold on to a job that was settled.
pub const CLAIM_RETENTION: Duration = Duration::from_secs(24 * 3600);

/// Claims on calls.
///
/// Contract:
/// - Between [`ClaimResult::Won`] or [`ClaimResult::Lapsed`] and the end of its lease, one holder has the claim, and every
///   other caller gets [`ClaimResult::Busy`]. The holder itself gets the same answer again, and a new lease, until somebody
///   else has asked: the first answer may have been lost on the way. So no two deliveries may share a holder's name.
/// - A holder that is gone leaves its claim behind: the next caller gets it as [`ClaimResult::Lapsed`], and must take
///   it that the call may have happened. That stays so when this caller releases it or goes away in its turn. The answer
///   names the lost holder when the claim first lapses; a store may forget the name after that.
/// - A word from somebody who is no longer the holder changes nothing.
/// - A store outlives the processes that use it. One that has lost its claims cannot tell a repeated delivery of a job
///   from the first one; so it tells since when it has existed, and whoever comes with a job that was delivered before
///   and queued earlier than that takes [`ClaimResult::Won`] for [`ClaimResult::Lapsed`].
#[async_trait]
pub trait Claims: Send + Sync {
    /// Asks for a claim until `lease` from now.
    async fn claim(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<ClaimResult, Error>;

    /// Since when this store has known of every claim, by its own clock: the beginning of time where claims cannot be lost
    /// without the log. Asked after a claim it covers that claim too.
    async fn complete_since(&self) -> Result<Timestamp, Error> {
        Ok(Timestamp::default())
    }

    /// Holds on to it until `lease` from now. False if it is no longer the holder's; a lease that ran out is still the
    /// holder's as long as nobody else asked.
    async fn renew(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<bool, Error>;

    /// The call was made and its outcome is in the log.
    async fn done(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error>;

    /// The call was provably not made, or its settlement asks for another attempt: whoever comes next may begin
    /// afresh.
    async fn release(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error>;
}
