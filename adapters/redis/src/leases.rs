//! Leases in Redis: a key for each partition, which expires, and the list of schedulers.
//!
//! A lease only says which scheduler should try to lead, because the log decides which one leads. A lost lease costs a
//! moment of double work.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{Error, Lease};
use longshore_proto::{NodeId, Partition};
use redis::{Script, pipe};
use tracing::warn;

use super::connection::{RedisConnection, allow_oom_script, millis};
use super::process_list::ProcessList;

/// The script. It also runs on a full server: only a leader can make room by expiring runs, and only a lease makes a
/// leader.
static SCRIPT: LazyLock<Script> = LazyLock::new(|| allow_oom_script(include_str!("lease.lua")));

/// Returns a key of a partition, such as its `lease`.
pub(super) fn key(prefix: &str, partition: Partition, name: &str) -> String {
    format!("{prefix}:{{p{partition}}}:{name}")
}

/// Returns the holder of the lease on each partition.
pub(super) async fn holders(
    connection: &RedisConnection,
    partitions: u16,
) -> Result<Vec<Option<String>>, Error> {
    let mut reads = pipe();
    for number in 0..partitions {
        reads.get(key(connection.prefix(), Partition(number), "lease"));
    }
    connection.query_pipeline(reads, "read the leases").await
}

/// The leases of a cluster.
pub(super) struct PartitionLeases {
    connection: RedisConnection,
    schedulers: ProcessList,
}

impl PartitionLeases {
    pub(super) fn new(connection: RedisConnection) -> Self {
        Self { schedulers: ProcessList::new(connection.clone(), "schedulers"), connection }
    }

    /// Runs an operation of the script. Returns true if the lease was free or the caller held it.
    async fn run(
        &self,
        operation: &str,
        partition: Partition,
        holder: &NodeId,
        ttl: Duration,
    ) -> Result<bool, Error> {
        let mut script = SCRIPT.key(key(self.connection.prefix(), partition, "lease"));
        // Redis refuses a time to live of zero.
        script.arg(operation).arg(holder.as_str()).arg(millis(ttl).max(1));
        self.connection.run_script(&script, &format!("{operation} the lease on partition {partition}")).await
    }
}

#[async_trait]
impl Lease for PartitionLeases {
    async fn hold(&self, partition: Partition, holder: &NodeId, ttl: Duration) -> Result<bool, Error> {
        self.run("hold", partition, holder, ttl).await
    }

    async fn release(&self, partition: Partition, holder: &NodeId) -> Result<(), Error> {
        self.run("release", partition, holder, Duration::ZERO).await.map(|_| ())
    }

    async fn announce_scheduler(&self, node: &NodeId, ttl: Duration) -> Result<Vec<NodeId>, Error> {
        let present = self.schedulers.present(node, b"", ttl).await?;
        let mut nodes = Vec::with_capacity(present.len());
        for (name, _) in present {
            match name.parse() {
                Ok(node) => nodes.push(node),
                Err(error) => warn!(%error, "invalid name in the list of schedulers; leaving it out"),
            }
        }
        nodes.sort();
        Ok(nodes)
    }

    async fn withdraw_scheduler(&self, node: &NodeId) -> Result<(), Error> {
        self.schedulers.withdraw(node).await
    }
}
