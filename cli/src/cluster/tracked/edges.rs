//! Ports that only a cluster has, whose requests are noted: leases, the list of workers, submits and refused submits.

use std::num::NonZeroUsize;
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{Catalog, DeadLetter, DeadLetters, Error, Incoming, Lease, Submissions, WorkerEntry};
use longshore_proto::{Namespace, NodeId, Partition};

use super::Tracked;

#[async_trait]
impl Lease for Tracked<dyn Lease> {
    async fn hold(&self, partition: Partition, holder: &NodeId, ttl: Duration) -> Result<bool, Error> {
        self.noted.leases.watch(self.port.hold(partition, holder, ttl)).await
    }

    async fn release(&self, partition: Partition, holder: &NodeId) -> Result<(), Error> {
        self.noted.leases.watch(self.port.release(partition, holder)).await
    }

    async fn announce_scheduler(&self, node: &NodeId, ttl: Duration) -> Result<Vec<NodeId>, Error> {
        self.noted.leases.watch(self.port.announce_scheduler(node, ttl)).await
    }

    async fn withdraw_scheduler(&self, node: &NodeId) -> Result<(), Error> {
        self.noted.leases.watch(self.port.withdraw_scheduler(node)).await
    }
}

#[async_trait]
impl Catalog for Tracked<dyn Catalog> {
    async fn announce(&self, entry: &WorkerEntry, lifetime: Duration) -> Result<(), Error> {
        self.noted.presence.watch(self.port.announce(entry, lifetime)).await
    }

    async fn withdraw(&self, worker: &NodeId) -> Result<(), Error> {
        self.noted.presence.watch(self.port.withdraw(worker)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerEntry>, Error> {
        self.port.workers().await
    }
}

#[async_trait]
impl Submissions for Tracked<dyn Submissions> {
    async fn pull(&self, max: NonZeroUsize, wait: Duration) -> Result<Vec<Incoming>, Error> {
        // It waits for submits, so only its end says something.
        let pulled = self.port.pull(max, wait).await;
        self.noted.submits.note(&pulled);
        pulled
    }
}

#[async_trait]
impl DeadLetters for Tracked<dyn DeadLetters> {
    async fn put(&self, letter: &DeadLetter) -> Result<(), Error> {
        self.noted.dead_letters.watch(self.port.put(letter)).await
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
