//! Who should try to lead which partition.
//!
//! A lease is advice, not authority: leadership is what the log says. Two holders at once cost a moment of double
//! work and nothing else.

use std::time::Duration;

use async_trait::async_trait;
use longshore_proto::{NodeId, Partition};

use crate::Error;

/// Leases on partitions, and the list of schedulers that are there to hold them.
///
/// Contract: a lease has at most one holder while the store keeps what it was told; it ends with its time.
#[async_trait]
pub trait Lease: Send + Sync {
    /// Asks for the lease on a partition, or renews it, until `ttl` from now. True if it is the holder's.
    async fn hold(&self, partition: Partition, holder: &NodeId, ttl: Duration) -> Result<bool, Error>;

    /// Lets the lease go, if it is the holder's.
    async fn release(&self, partition: Partition, holder: &NodeId) -> Result<(), Error>;

    /// Says that a scheduler is there until `ttl` from now, and returns all that are, in the order of their ids.
    async fn announce_scheduler(&self, node: &NodeId, ttl: Duration) -> Result<Vec<NodeId>, Error>;

    /// Says that a scheduler is going.
    async fn withdraw_scheduler(&self, node: &NodeId) -> Result<(), Error>;
}
