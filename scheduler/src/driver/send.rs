//! Sends what follows from a record: facts to the log, jobs to the queue.
//!
//! Without the log nothing goes on, so it is asked until it answers; a queue that is full must not keep anybody from
//! reading the results that make room in it.

use longshore_backend::Backend;
use longshore_proto::{Event, INLINE_LIMIT_BYTES, Job, JobId, Partition, Payload};
use tracing::warn;

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

/// Publishes jobs, and returns those that the queue does not take now, or that may not be in it.
pub(super) async fn dispatch(backend: &Backend, jobs: Vec<Job>) -> Result<Vec<JobId>, DriverError> {
    let mut jobs = jobs.into_iter();
    loop {
        let mut some: Vec<Job> = jobs.by_ref().take(TOGETHER).collect();
        if some.is_empty() {
            return Ok(Vec::new());
        }
        for job in &mut some {
            lighten(backend, &mut job.arguments).await?;
        }
        let ids: Vec<JobId> = some.iter().map(|job| job.id.clone()).collect();
        match backend.jobs.publish(some).await {
            Ok(_) => {}
            Err(error) if error.retryable => {
                let refused: Vec<_> = ids.into_iter().chain(jobs.map(|job| job.id)).collect();
                warn!(%error, jobs = refused.len(), "the queue takes no jobs now; trying again");
                return Ok(refused);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Puts large arguments into a blob, so that the job fits into a message.
async fn lighten(backend: &Backend, arguments: &mut Payload) -> Result<(), DriverError> {
    let Payload::Inline(value) = &*arguments else { return Ok(()) };
    let text = value.to_string();
    if text.len() > INLINE_LIMIT_BYTES {
        let bytes = text.len() as u64;
        let digest = insist("keep arguments", || backend.blobs.put(text.clone().into_bytes())).await?;
        *arguments = Payload::Blob { digest, bytes };
    }
    Ok(())
}
