//! Leases in Redis: a key for each partition that ends with its time, and the roll of the schedulers.
//!
//! Advice, not authority: a server that forgets a lease costs a moment of double work, because the log decides who
//! leads.

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::Error;
use longshore_proto::{NodeId, Partition};
use redis::{Script, pipe};
use tracing::warn;

use super::link::{Link, millis, when_full};
use super::roll::Roll;

/// A full server runs it: only a leader can make room by expiring runs, and only a lease makes a leader.
static SCRIPT: LazyLock<Script> = LazyLock::new(|| when_full(include_str!("lease.lua")));

/// A key of a partition, such as its `lease`.
pub(super) fn key(prefix: &str, partition: Partition, name: &str) -> String {
    format!("{prefix}:{{p{partition}}}:{name}")
}

/// Returns who holds the lease on each partition.
pub(super) async fn holders(link: &Link, partitions: u16) -> Result<Vec<Option<String>>, Error> {
    let mut asking = pipe();
    for number in 0..partitions {
        asking.get(key(link.prefix(), Partition(number), "lease"));
    }
    link.query_all(asking, "ask who holds the leases").await
}

/// The leases of a cluster.
pub(super) struct Lease {
    link: Link,
    schedulers: Roll,
}

impl Lease {
    pub(super) fn new(link: Link) -> Self {
        Self { schedulers: Roll::new(link.clone(), "schedulers"), link }
    }

    async fn say(
        &self,
        word: &str,
        partition: Partition,
        holder: &NodeId,
        ttl: Duration,
    ) -> Result<bool, Error> {
        let mut script = SCRIPT.key(key(self.link.prefix(), partition, "lease"));
        // A time to live of nothing is none that Redis takes.
        script.arg(word).arg(holder.as_str()).arg(millis(ttl).max(1));
        self.link.run(&script, &format!("{word} the lease on partition {partition}")).await
    }
}

#[async_trait]
impl longshore_ports::Lease for Lease {
    async fn hold(&self, partition: Partition, holder: &NodeId, ttl: Duration) -> Result<bool, Error> {
        self.say("hold", partition, holder, ttl).await
    }

    async fn release(&self, partition: Partition, holder: &NodeId) -> Result<(), Error> {
        self.say("release", partition, holder, Duration::ZERO).await.map(|_| ())
    }

    async fn announce_scheduler(&self, node: &NodeId, ttl: Duration) -> Result<Vec<NodeId>, Error> {
        let present = self.schedulers.present(node, b"", ttl).await?;
        let mut nodes = Vec::with_capacity(present.len());
        for (name, _) in present {
            match name.parse() {
                Ok(node) => nodes.push(node),
                Err(error) => warn!(%error, "an entry among the schedulers is none"),
            }
        }
        nodes.sort();
        Ok(nodes)
    }

    async fn withdraw_scheduler(&self, node: &NodeId) -> Result<(), Error> {
        self.schedulers.withdraw(node).await
    }
}
