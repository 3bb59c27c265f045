//! Unsent recalls of jobs.
//!
//! A recall informs workers that an outcome is no longer wanted. It saves work and decides nothing, so the driver neither waits
//! for a recall nor fails because of one. Recalls that arrive while a request is under way are sent together with the next
//! request. Recalled jobs whose steps have ended are withdrawn from the queue as well, where they might wait for ever for a worker of
//! their server.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use longshore_ports::{Error, ErrorCause, JobQueue, outage};
use longshore_proto::JobId;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

/// Pause after a failed request. A worker ends a recalled call within some seconds, and the run waits 30 seconds for it.
const PAUSE: Duration = Duration::from_secs(1);

/// Maximum number of recalls that are kept while the queue is unavailable: those of a run with 10,000 steps. Workers that miss
/// a recall finish their call, and its result is ignored.
const MOST_RECALLS: usize = 10_000;

/// Keys of the outage log.
const RECALL_JOBS: &str = "recall jobs";
const WITHDRAW_JOBS: &str = "withdraw jobs of steps that have ended";

type RecallRequest = Pin<Box<dyn Future<Output = (Vec<RecalledJob>, Result<(), Error>)> + Send>>;

/// A job whose outcome is no longer wanted.
#[derive(Clone, Debug)]
pub(super) struct RecalledJob {
    pub(super) id: JobId,
    /// Its step has ended.
    pub(super) has_ended: bool,
}

/// The recalls of one partition that are not sent yet.
pub(super) struct PendingRecalls {
    queue: Arc<dyn JobQueue>,
    /// Jobs of the next request.
    jobs: Vec<RecalledJob>,
    request: Option<RecallRequest>,
    /// Earliest start of the next request, after one that failed.
    not_before: Option<Instant>,
}

impl PendingRecalls {
    pub(super) fn new(queue: Arc<dyn JobQueue>) -> Self {
        Self { queue, jobs: Vec::new(), request: None, not_before: None }
    }

    /// Adds recalls. They are sent by [`Self::send`].
    pub(super) fn push(&mut self, jobs: Vec<RecalledJob>) {
        self.jobs.extend(jobs);
        self.jobs.truncate(MOST_RECALLS);
    }

    /// Sends the recalls, and returns after each request. Waits for ever if no recall is pending. Safe to cancel.
    pub(super) async fn send(&mut self) {
        if self.request.is_none() {
            if self.jobs.is_empty() {
                return pending().await;
            }
            if let Some(not_before) = self.not_before {
                sleep_until(not_before).await;
            }
        }
        let (queue, jobs) = (&self.queue, &mut self.jobs);
        let request = self.request.get_or_insert_with(|| {
            let (queue, jobs) = (Arc::clone(queue), std::mem::take(jobs));
            let request: RecallRequest = Box::pin(async move {
                let result = recall(&*queue, &jobs).await;
                (jobs, result)
            });
            request
        });
        let (jobs, result) = request.await;
        self.request = None;
        self.note_result(jobs, result);
    }

    fn note_result(&mut self, jobs: Vec<RecalledJob>, result: Result<(), Error>) {
        match result {
            Ok(()) => {
                self.not_before = None;
                if let Some(lasted) = outage::record_success(RECALL_JOBS) {
                    info!(?lasted, "works again: {RECALL_JOBS}");
                }
            }
            Err(error) => {
                if outage::record_failure(RECALL_JOBS) {
                    warn!(%error, jobs = jobs.len(), "cannot {RECALL_JOBS}; trying again until it works");
                }
                self.not_before = Some(Instant::now() + PAUSE);
                self.push(jobs);
            }
        }
    }
}

async fn recall(queue: &dyn JobQueue, jobs: &[RecalledJob]) -> Result<(), Error> {
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone()).collect();
    queue.recall(&ids).await?;
    let ended: Vec<JobId> = jobs.iter().filter(|job| job.has_ended).map(|job| job.id.clone()).collect();
    if ended.is_empty() {
        return Ok(());
    }
    match queue.withdraw(&ended).await {
        // A withdrawal only saves work, so a queue that refuses it is not asked again.
        Err(error) if !error.retryable || error.cause == ErrorCause::Denied => {
            if outage::record_failure(WITHDRAW_JOBS) {
                warn!(%error, jobs = ended.len(), "cannot {WITHDRAW_JOBS}; they stay until a worker takes them");
            }
            Ok(())
        }
        withdrawn => withdrawn,
    }
}
