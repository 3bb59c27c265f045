//! The queue of jobs between the scheduler and the workers.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_proto::{DeliveryId, Grant, Job, JobAddress, JobId, ServerName};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Error, GrantWaiter};

/// A work queue that holds at most one job for each job id.
///
/// Contract:
/// - While a job is queued, or delivered and not acknowledged, publishing the same id again has no effect.
/// - A job is delivered to one worker at a time. It is delivered again if that worker ends or returns it.
/// - The size of a queue is bounded. When it is full, publishing fails with a transient error, and some of the jobs may be
///   queued.
/// - Jobs of a server wait only for workers that pull jobs of that server.
/// - A queue may lose its jobs. The scheduler has them in its state and publishes them again.
#[async_trait]
pub trait JobQueue: Send + Sync {
    /// Queues jobs, except those that are queued or delivered already.
    async fn publish(&self, jobs: Vec<Job>) -> Result<(), Error>;

    /// Returns one value for each job, in the same order: true if it is queued, or delivered and not acknowledged.
    async fn holds(&self, jobs: &[JobAddress]) -> Result<Vec<bool>, Error>;

    /// Returns the number of jobs of a server that wait for a worker, if this job is among them. `None` if it was delivered,
    /// if it is not in the queue, or if the queue does not know.
    async fn waiting(&self, _server: &ServerName, _job: &JobId) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    /// Recalls jobs: notifies the workers that have them, or will get them, that their outcomes are no longer wanted. The jobs are
    /// still delivered and settled, so that their effects are recorded. Best effort; an unknown id has no effect.
    async fn recall(&self, jobs: &[JobId]) -> Result<(), Error>;

    /// Removes jobs whose steps have ended, so that they wait for no worker. A delivered one stays with its worker, and is not
    /// delivered again. Best effort: a worker that gets such a job makes no call, or its report is ignored.
    async fn withdraw(&self, jobs: &[JobId]) -> Result<(), Error>;

    /// Sends the decisions about deliveries to their workers. Best effort: a worker without an answer asks again.
    async fn grant(&self, grants: &[Grant]) -> Result<(), Error>;

    /// Returns a waiter for the decision about a delivery to this process. It gets every decision that is sent after this call
    /// returned and that is not lost on the way.
    async fn grant_waiter(&self, delivery: &DeliveryId) -> Result<GrantWaiter, Error>;

    /// Returns true if the queue keeps its jobs when this process ends.
    fn outlives_process(&self) -> bool;

    /// Returns a receiver that changes when the queue was created again and has lost its jobs, so that leaders publish them
    /// again. `None` for a queue that cannot be lost while its process runs.
    fn replacements(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// Takes up to `max` jobs for a server. Waits up to `wait` for the first one, and may return none.
    ///
    /// Cancel-safe: a job that was not returned stays in the queue.
    async fn pull(
        &self,
        server: &ServerName,
        max: NonZeroUsize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error>;
}

/// A job that was delivered to a worker.
///
/// If it is dropped without an answer to the queue, it is redelivered after the acknowledgement wait.
pub struct Delivery {
    /// The job.
    pub job: Job,
    /// Delivery count, starting at 1. A job with more than a few deliveries is poison.
    pub delivered: u32,
    /// Token that is cancelled when the job is recalled.
    pub recalled: CancellationToken,
    /// True if the job was queued before this process subscribed to recalls, so that it may have missed one.
    pub recall_missed: bool,
    /// True if the queue had no further job for the server at the time of the delivery.
    pub was_last: bool,
    /// Handle to answer the queue.
    pub receipt: Box<dyn Receipt>,
}

/// A handle with which a worker answers the queue.
#[async_trait]
pub trait Receipt: Send + Sync {
    /// Returns the time that the queue waits for an answer before it delivers the job to another worker.
    fn ack_wait(&self) -> Duration;

    /// Reports that the job is still being processed, which restarts the acknowledgement wait.
    async fn extend_ack_wait(&self) -> Result<(), Error>;

    /// Returns a handle that extends the acknowledgement wait while another task owns the receipt. `None` if the queue needs
    /// no extension.
    fn ack_wait_extender(&self) -> Option<Arc<dyn AckWaitExtender>> {
        None
    }

    /// Acknowledges a settled job, which leaves the queue. If the acknowledgement is lost, the job is delivered once more.
    async fn ack(self: Box<Self>) -> Result<(), Error>;

    /// Returns a job that was not started to the queue, for redelivery at once or after `delay`.
    async fn give_back(self: Box<Self>, delay: Option<Duration>) -> Result<(), Error>;
}

/// A handle that only extends the acknowledgement wait of a delivery.
#[async_trait]
pub trait AckWaitExtender: Send + Sync {
    /// Restarts the acknowledgement wait. Has no effect on a delivery that was answered.
    async fn extend_ack_wait(&self);
}
