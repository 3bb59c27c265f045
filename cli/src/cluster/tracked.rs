//! Ports that record the result of each request as a success or a failure of the store behind them.

mod edges;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{
    Backend, Blobs, CheckpointDelta, Checkpoints, Claims, CommitResult, Delivery, Error, GrantWaiter,
    JobQueue, LoadedCheckpoint, LogReader, RunLog, RunPage, RunQuery, RunRow,
};
use longshore_proto::{
    CheckpointMark, ClaimKey, ClaimResult, DeliveryId, Digest, Event, Grant, Incarnation, Job, JobAddress,
    JobId, Namespace, NodeId, Partition, RunId, Seq, ServerName,
};
use tokio::sync::watch;

use super::dependencies::Dependencies;
use super::dependency::Dependency;

/// Wraps the ports of a backend, so that the result of each request is recorded.
pub(super) fn tracked(backend: Backend, dependencies: &Arc<Dependencies>) -> Backend {
    Backend {
        log: tracked_port(backend.log, dependencies),
        jobs: tracked_port(backend.jobs, dependencies),
        checkpoints: tracked_port(backend.checkpoints, dependencies),
        claims: tracked_port(backend.claims, dependencies),
        blobs: tracked_port(backend.blobs, dependencies),
    }
}

/// Wraps one port, so that the result of each request is recorded.
pub(super) fn tracked_port<P: ?Sized>(port: Arc<P>, dependencies: &Arc<Dependencies>) -> Arc<TrackedPort<P>> {
    Arc::new(TrackedPort { port, records: Arc::clone(dependencies) })
}

/// A port whose results are recorded.
pub(super) struct TrackedPort<P: ?Sized> {
    port: Arc<P>,
    records: Arc<Dependencies>,
}

/// Awaits a request about one partition, and records its result.
async fn of_partition<T>(
    each: &[Arc<Dependency>],
    partition: Partition,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match each.get(usize::from(partition.0)) {
        Some(dependency) => dependency.watch(request).await,
        None => request.await,
    }
}

#[async_trait]
impl RunLog for TrackedPort<dyn RunLog> {
    async fn incarnation(&self, partition: Partition) -> Result<Incarnation, Error> {
        self.port.incarnation(partition).await
    }

    async fn append(&self, partition: Partition, events: &[Event]) -> Result<Vec<Seq>, Error> {
        of_partition(&self.records.appends, partition, self.port.append(partition, events)).await
    }

    async fn tail(&self, partition: Partition) -> Result<Seq, Error> {
        self.port.tail(partition).await
    }

    async fn fullness(&self, partition: Partition) -> Result<u64, Error> {
        self.port.fullness(partition).await
    }

    async fn has_lost_entries(&self, partition: Partition, from: Seq) -> Result<bool, Error> {
        self.port.has_lost_entries(partition, from).await
    }

    async fn read(&self, partition: Partition, from: Seq) -> Result<Box<dyn LogReader>, Error> {
        self.port.read(partition, from).await
    }

    async fn trim(&self, partition: Partition, below: Seq) -> Result<(), Error> {
        self.port.trim(partition, below).await
    }
}

#[async_trait]
impl JobQueue for TrackedPort<dyn JobQueue> {
    async fn publish(&self, jobs: Vec<Job>) -> Result<(), Error> {
        self.records.jobs.watch(self.port.publish(jobs)).await
    }

    async fn holds(&self, jobs: &[JobAddress]) -> Result<Vec<bool>, Error> {
        self.port.holds(jobs).await
    }

    async fn waiting(&self, server: &ServerName, job: &JobId) -> Result<Option<u64>, Error> {
        self.port.waiting(server, job).await
    }

    async fn withdraw(&self, jobs: &[JobId]) -> Result<(), Error> {
        self.port.withdraw(jobs).await
    }

    async fn recall(&self, jobs: &[JobId]) -> Result<(), Error> {
        self.port.recall(jobs).await
    }

    async fn grant(&self, grants: &[Grant]) -> Result<(), Error> {
        self.port.grant(grants).await
    }

    async fn grant_waiter(&self, delivery: &DeliveryId) -> Result<GrantWaiter, Error> {
        self.port.grant_waiter(delivery).await
    }

    fn outlives_process(&self) -> bool {
        self.port.outlives_process()
    }

    fn replacements(&self) -> Option<watch::Receiver<u64>> {
        self.port.replacements()
    }

    async fn pull(
        &self,
        server: &ServerName,
        max: NonZeroUsize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        // The request waits for jobs, so its duration says nothing.
        let pulled = self.port.pull(server, max, wait).await;
        self.records.jobs.record(&pulled);
        pulled
    }
}

#[async_trait]
impl Checkpoints for TrackedPort<dyn Checkpoints> {
    async fn load(&self, partition: Partition) -> Result<Option<LoadedCheckpoint>, Error> {
        self.port.load(partition).await
    }

    async fn commit(&self, partition: Partition, delta: Arc<CheckpointDelta>) -> Result<CommitResult, Error> {
        let each = &self.records.checkpoints;
        let committed = of_partition(each, partition, self.port.commit(partition, delta)).await;
        if matches!(committed, Ok(CommitResult::Refused { .. }))
            && let Some(dependency) = each.get(usize::from(partition.0))
        {
            dependency.count_failure("refused");
        }
        committed
    }

    async fn mark(&self, partition: Partition) -> Result<Option<CheckpointMark>, Error> {
        self.port.mark(partition).await
    }

    async fn probe(&self) -> Result<(), Error> {
        self.port.probe().await
    }

    async fn run(&self, run: RunId) -> Result<Option<RunRow>, Error> {
        self.port.run(run).await
    }

    async fn runs(&self, query: RunQuery) -> Result<RunPage, Error> {
        self.port.runs(query).await
    }

    async fn count_live(&self, namespace: &Namespace) -> Result<u64, Error> {
        self.port.count_live(namespace).await
    }
}

#[async_trait]
impl Claims for TrackedPort<dyn Claims> {
    async fn claim(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<ClaimResult, Error> {
        self.records.claims.watch(self.port.claim(key, holder, lease)).await
    }

    async fn renew(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<bool, Error> {
        self.records.claims.watch(self.port.renew(key, holder, lease)).await
    }

    async fn done(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.records.claims.watch(self.port.done(key, holder)).await
    }

    async fn release(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.records.claims.watch(self.port.release(key, holder)).await
    }
}

#[async_trait]
impl Blobs for TrackedPort<dyn Blobs> {
    async fn put(&self, bytes: Vec<u8>) -> Result<Digest, Error> {
        self.records.blobs.watch(self.port.put(bytes)).await
    }

    async fn get(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        self.records.blobs.watch(self.port.get(digest)).await
    }
}
