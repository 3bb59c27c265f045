//! Leases on partitions, and the list of live schedulers.
//!
//! A lease is advisory: it determines which scheduler should try to lead a partition, and the log determines which one
//! leads. Two holders at the same time cost some duplicate work only.

use std::time::Duration;

use async_trait::async_trait;
use longshore_proto::{NodeId, Partition};

use crate::Error;

/// The store of leases on partitions, and of the list of live schedulers.
///
/// Contract: a lease has at most one holder, unless the store loses data, and expires after its `ttl`.
#[async_trait]
pub trait Lease: Send + Sync {
    /// Acquires or renews the lease on a partition for `ttl`. Returns true if the caller holds it.
    async fn hold(&self, partition: Partition, holder: &NodeId, ttl: Duration) -> Result<bool, Error>;

    /// Releases the lease if the caller holds it.
    async fn release(&self, partition: Partition, holder: &NodeId) -> Result<(), Error>;

    /// Adds or renews the entry of a scheduler for `ttl`. Returns all live schedulers, in the order of their ids.
    async fn announce_scheduler(&self, node: &NodeId, ttl: Duration) -> Result<Vec<NodeId>, Error>;

    /// Removes the entry of a scheduler.
    async fn withdraw_scheduler(&self, node: &NodeId) -> Result<(), Error>;
}
