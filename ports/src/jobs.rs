//! Work on its way from the scheduler to workers.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_proto::{Job, JobId, ServerName, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::Error;

/// A work queue with one place for each job id.
///
/// Contract:
/// - While a job is queued or delivered and not acknowledged, publishing the same id again is refused as
///   [`Queued::Already`] and changes nothing.
/// - A job is delivered to one worker at a time, and again if that worker goes away or gives it back.
/// - A queue has bounds. When it is full, publishing fails and can be tried again; some of the jobs may be queued.
/// - Jobs of one server wait for nothing but workers that pull that server.
/// - The queue is not the truth: it may lose everything in it, and the scheduler publishes again from its state.
#[async_trait]
pub trait JobQueue: Send + Sync {
    /// Queues jobs; the answers stand in the order of the jobs.
    async fn publish(&self, jobs: Vec<Job>) -> Result<Vec<Queued>, Error>;

    /// Which of these jobs have a place in the queue, queued or delivered; the answers stand in the order of the jobs.
    async fn holds(&self, jobs: &[Job]) -> Result<Vec<bool>, Error>;

    /// How many jobs of its server wait for a worker, if this one is among them. Nothing if it is or was out, is not in the
    /// queue, or where that is not known.
    async fn waiting(&self, _server: &ServerName, _job: &JobId) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    /// Tells whoever has the job, or will get it, that its outcome is no longer wanted. The job is still delivered
    /// and settled, so that what happened is known. Best effort; an id that is not in the queue is passed over.
    async fn recall(&self, job: &JobId) -> Result<(), Error>;

    /// Whether jobs stay in the queue when this process ends. If not, a process that ends takes with it what is known of
    /// the jobs that were out.
    fn outlives_process(&self) -> bool;

    /// Takes up to `max` jobs for a server, waiting up to `wait` for the first. May come back with none.
    ///
    /// Safe to cancel: a job that was not returned is still in the queue.
    async fn pull(
        &self,
        server: &ServerName,
        max: NonZeroUsize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error>;
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Queued {
    /// It is in the queue now.
    New,
    /// It already was, or is being worked on.
    Already,
}

/// A job in a worker's hands.
///
/// Dropped without a word it goes back to the queue, after a while.
pub struct Delivery {
    /// The job.
    pub job: Job,
    /// How often it was delivered, this time counted. More than a few is poison.
    pub delivered: u32,
    /// When it was queued, by the queue's clock. Nothing where the queue does not outlive the process.
    pub queued_at: Option<Timestamp>,
    /// Cancelled when the job is recalled.
    pub recalled: CancellationToken,
    /// Whether it was queued before this process could hear of recalls, so that one may have been missed.
    pub recall_missed: bool,
    /// Whether the queue said that it had no other one for the server then.
    pub was_last: bool,
    /// The means to answer the queue.
    pub receipt: Box<dyn Receipt>,
}

/// How a worker answers the queue.
#[async_trait]
pub trait Receipt: Send + Sync {
    /// How long the queue waits for a word before it gives the job to another worker.
    fn ack_wait(&self) -> Duration;

    /// Still at it: the queue's patience begins anew.
    async fn extend_ack_wait(&self) -> Result<(), Error>;

    /// Returns what tells the queue the same as [`progress`](Self::progress), for as long as others have the receipt.
    fn ack_wait_extender(&self) -> Option<Arc<dyn AckWaitExtender>> {
        None
    }

    /// Settled: the job leaves the queue. A lost acknowledgement means one more delivery.
    async fn ack(self: Box<Self>) -> Result<(), Error>;

    /// Not started: the job goes back, to be delivered again at once, or after `delay`.
    async fn give_back(self: Box<Self>, delay: Option<Duration>) -> Result<(), Error>;
}

/// Tells a queue that a delivery is still in hand.
#[async_trait]
pub trait AckWaitExtender: Send + Sync {
    /// The queue's patience begins anew. Of a delivery that was answered already, the queue takes no notice.
    async fn extend_ack_wait(&self);
}
