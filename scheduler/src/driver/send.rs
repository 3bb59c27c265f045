//! Requests of the driver: events to the log, jobs to the queue.
//!
//! The log is retried until it answers, because nothing can continue without it. The queue is not: while it is full, the
//! driver has to read the results that free space in it.

use longshore_ports::{Backend, outage};
use longshore_proto::{Event, Grant, INLINE_LIMIT_BYTES, Job, JobId, Partition, Payload};
use tracing::{info, warn};

use crate::log_follower::DriverError;
use crate::payload::put_value;
use crate::retry::retry;

/// Jobs of one publish: as many as a broker accepts in one batch, and few enough to notice a full queue soon.
pub(super) const PUBLISH_JOBS: usize = 1_000;

/// Keys of the outage log.
const SEND_GRANTS: &str = "send grants of calls";
const QUEUE_JOBS: &str = "queue jobs";
const STORE_ARGUMENTS: &str = "store large arguments of jobs";

/// Appends events to the log.
pub(super) async fn append(
    backend: &Backend,
    partition: Partition,
    events: Vec<Event>,
) -> Result<(), DriverError> {
    if !events.is_empty() {
        retry("append to the log", || backend.log.append(partition, &events)).await?;
    }
    Ok(())
}

/// Sends decisions to workers. A failure is not repeated, because a worker without an answer asks again.
pub(super) async fn send_grants(backend: &Backend, grants: &[Grant]) {
    if grants.is_empty() {
        return;
    }
    match backend.jobs.grant(grants).await {
        Ok(()) => log_recovery(SEND_GRANTS),
        Err(error) => {
            if outage::record_failure(SEND_GRANTS) {
                warn!(%error, grants = grants.len(), "cannot {SEND_GRANTS}; the workers ask again");
            }
        }
    }
}

/// A job with the size of its arguments as JSON text.
pub(super) struct SizedJob {
    pub(super) job: Job,
    pub(super) argument_bytes: usize,
}

/// Jobs that were not sent.
#[derive(Debug, Default)]
pub(super) struct RejectedJobs {
    pub(super) jobs: Vec<JobId>,
    /// The queue rejects every job. False if only arguments could not be stored.
    pub(super) queue_is_full: bool,
}

/// Publishes jobs. Returns those that the queue rejected and those whose arguments could not be stored. Waits for neither,
/// because a cancel arrives through the log.
pub(super) async fn dispatch(backend: &Backend, jobs: Vec<SizedJob>) -> Result<RejectedJobs, DriverError> {
    let (mut jobs, mut rejected) = (jobs.into_iter(), RejectedJobs::default());
    loop {
        let batch: Vec<SizedJob> = jobs.by_ref().take(PUBLISH_JOBS).collect();
        if batch.is_empty() {
            return Ok(rejected);
        }
        let batch = store_large_arguments(backend, batch, &mut rejected.jobs).await?;
        let ids: Vec<JobId> = batch.iter().map(|job| job.id.clone()).collect();
        match backend.jobs.publish(batch).await {
            Ok(()) => log_recovery(QUEUE_JOBS),
            Err(error) if error.retryable => {
                rejected.jobs.extend(ids.into_iter().chain(jobs.map(|sized| sized.job.id)));
                rejected.queue_is_full = true;
                if outage::record_failure(QUEUE_JOBS) {
                    warn!(%error, jobs = rejected.jobs.len(), "cannot {QUEUE_JOBS}; sending them again until it works");
                }
                return Ok(rejected);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Replaces large arguments by blobs, so that each job fits into a message. Returns the jobs that can be sent, and adds those
/// whose arguments could not be stored to `rejected`.
async fn store_large_arguments(
    backend: &Backend,
    jobs: Vec<SizedJob>,
    rejected: &mut Vec<JobId>,
) -> Result<Vec<Job>, DriverError> {
    let (mut ready, mut store_failed) = (Vec::with_capacity(jobs.len()), false);
    for SizedJob { mut job, argument_bytes } in jobs {
        if argument_bytes > INLINE_LIMIT_BYTES {
            // One failure ends the tries of this batch: each may take as long as a timeout.
            let stored = if store_failed { None } else { store_arguments(backend, &job.arguments).await? };
            let Some(stored) = stored else {
                store_failed = true;
                rejected.push(job.id);
                continue;
            };
            job.arguments = stored;
        }
        ready.push(job);
    }
    Ok(ready)
}

/// Stores arguments as a blob. Returns `None` if that is not possible now.
async fn store_arguments(backend: &Backend, arguments: &Payload) -> Result<Option<Payload>, DriverError> {
    let Payload::Inline(value) = arguments else { return Ok(Some(arguments.clone())) };
    match put_value(&*backend.blobs, value.to_string()).await {
        Ok(stored) => {
            log_recovery(STORE_ARGUMENTS);
            Ok(Some(stored))
        }
        Err(error) if error.retryable => {
            if outage::record_failure(STORE_ARGUMENTS) {
                warn!(%error, "cannot {STORE_ARGUMENTS}; these jobs wait, others are sent");
            }
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn log_recovery(key: &str) {
    if let Some(lasted) = outage::record_success(key) {
        info!(?lasted, "works again: {key}");
    }
}
