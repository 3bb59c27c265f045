//! Tracked ports that only a cluster has: leases, the list of workers, submits and dead letters.

use std::num::NonZeroUsize;
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{Catalog, DeadLetter, DeadLetters, Error, Incoming, Lease, Submissions, WorkerEntry};
use longshore_proto::{Namespace, NodeId, Partition};

use super::TrackedPort;

#[async_trait]
impl Lease for TrackedPort<dyn Lease> {
    async fn hold(&self, partition: Partition, holder: &NodeId, ttl: Duration) -> Result<bool, Error> {
        self.records.leases.watch(self.port.hold(partition, holder, ttl)).await
    }

    async fn release(&self, partition: Partition, holder: &NodeId) -> Result<(), Error> {
        self.records.leases.watch(self.port.release(partition, holder)).await
    }

    async fn announce_scheduler(&self, node: &NodeId, ttl: Duration) -> Result<Vec<NodeId>, Error> {
        self.records.leases.watch(self.port.announce_scheduler(node, ttl)).await
    }

    async fn withdraw_scheduler(&self, node: &NodeId) -> Result<(), Error> {
        self.records.leases.watch(self.port.withdraw_scheduler(node)).await
    }
}

#[async_trait]
impl Catalog for TrackedPort<dyn Catalog> {
    async fn announce(&self, entry: &WorkerEntry, lifetime: Duration) -> Result<(), Error> {
        self.records.presence.watch(self.port.announce(entry, lifetime)).await
    }

    async fn withdraw(&self, worker: &NodeId) -> Result<(), Error> {
        self.records.presence.watch(self.port.withdraw(worker)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerEntry>, Error> {
        self.port.workers().await
    }
}

#[async_trait]
impl Submissions for TrackedPort<dyn Submissions> {
    async fn pull(&self, max: NonZeroUsize, wait: Duration) -> Result<Vec<Incoming>, Error> {
        // The request waits for submits, so its duration says nothing.
        let pulled = self.port.pull(max, wait).await;
        self.records.submits.record(&pulled);
        pulled
    }
}

#[async_trait]
impl DeadLetters for TrackedPort<dyn DeadLetters> {
    async fn put(&self, letter: &DeadLetter) -> Result<(), Error> {
        self.records.dead_letters.watch(self.port.put(letter)).await
    }

    async fn list(&self, namespace: Option<&Namespace>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.port.list(namespace, limit).await
    }

    async fn get(&self, namespace: Option<&Namespace>, seq: u64) -> Result<Option<DeadLetter>, Error> {
        self.port.get(namespace, seq).await
    }

    async fn remove(&self, seq: u64) -> Result<(), Error> {
        self.port.remove(seq).await
    }
}
