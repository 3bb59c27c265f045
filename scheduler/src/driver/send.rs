//! Sends what follows from a record: facts to the log, jobs to the queue.
//!
//! Without the log nothing goes on, so it is asked until it answers; a queue that is full must not keep anybody from
//! reading the results that make room in it.

use longshore_ports::{Backend, outage};
use longshore_proto::{Event, INLINE_LIMIT_BYTES, Job, JobId, Partition, Payload};
use tracing::{info, warn};

use crate::fold::{DriverError, insist};

/// Jobs published at once: as many as a broker takes in one go, and so few that a full queue is noticed soon.
const TOGETHER: usize = 1_000;

/// Records facts.
pub(super) async fn append(
    backend: &Backend,
    partition: Partition,
    facts: Vec<Event>,
) -> Result<(), DriverError> {
    if !facts.is_empty() {
        insist("append to the log", || backend.log.append(partition, &facts)).await?;
    }
    Ok(())
}

/// Jobs that were not sent.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    pub(super) jobs: Vec<JobId>,
    /// The queue takes no job of any kind, as opposed to arguments that cannot be kept.
    pub(super) queue_is_full: bool,
}

/// What fails while the queue is full or away, and while large arguments cannot be kept; for the log.
const QUEUE_JOBS: &str = "queue jobs";
const KEEP_ARGUMENTS: &str = "keep large arguments of jobs";

/// Publishes jobs, and returns those that the queue does not take now, that may not be in it, or whose arguments cannot
/// be kept. It is not waited for either: a cancel comes in through the log.
pub(super) async fn dispatch(backend: &Backend, jobs: Vec<Job>) -> Result<Unsent, DriverError> {
    let (mut jobs, mut unsent) = (jobs.into_iter(), Unsent::default());
    loop {
        let some: Vec<Job> = jobs.by_ref().take(TOGETHER).collect();
        if some.is_empty() {
            return Ok(unsent);
        }
        let some = lightened(backend, some, &mut unsent.jobs).await?;
        let ids: Vec<JobId> = some.iter().map(|job| job.id.clone()).collect();
        match backend.jobs.publish(some).await {
            Ok(_) => over(QUEUE_JOBS),
            Err(error) if error.retryable => {
                unsent.jobs.extend(ids.into_iter().chain(jobs.map(|job| job.id)));
                unsent.queue_is_full = true;
                if outage::record_failure(QUEUE_JOBS) {
                    warn!(%error, jobs = unsent.jobs.len(), "the queue takes no jobs; sending them again until it does");
                }
                return Ok(unsent);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Puts large arguments into blobs, so that each job fits into a message. Jobs whose arguments cannot be kept now are
/// noted as unsent; the others are returned.
async fn lightened(
    backend: &Backend,
    jobs: Vec<Job>,
    unsent: &mut Vec<JobId>,
) -> Result<Vec<Job>, DriverError> {
    let (mut light, mut are_refused) = (Vec::with_capacity(jobs.len()), false);
    for mut job in jobs {
        if let Some(text) = large(&job.arguments) {
            // What is refused once is not asked for again in this round: each may take as long as a timeout.
            let kept = if are_refused { None } else { keep(backend, text).await? };
            let Some(payload) = kept else {
                are_refused = true;
                unsent.push(job.id);
                continue;
            };
            job.arguments = payload;
        }
        light.push(job);
    }
    Ok(light)
}

/// The text of arguments that do not fit into a message.
fn large(arguments: &Payload) -> Option<String> {
    let Payload::Inline(value) = arguments else { return None };
    Some(value.to_string()).filter(|text| text.len() > INLINE_LIMIT_BYTES)
}

/// Keeps a text as a blob. Returns nothing if it cannot be kept now.
async fn keep(backend: &Backend, text: String) -> Result<Option<Payload>, DriverError> {
    let bytes = text.len() as u64;
    match backend.blobs.put(text.into_bytes()).await {
        Ok(digest) => {
            over(KEEP_ARGUMENTS);
            Ok(Some(Payload::Blob { digest, bytes }))
        }
        Err(error) if error.retryable => {
            if outage::record_failure(KEEP_ARGUMENTS) {
                warn!(%error, "cannot keep large arguments; their jobs wait, and others are sent");
            }
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn over(what: &str) {
    if let Some(lasted) = outage::record_success(what) {
        info!(?lasted, "works again: {what}");
    }
}
