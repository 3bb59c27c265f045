//! Sends what follows from a record: facts to the log, jobs to the queue.

use longshore_backend::Backend;
use longshore_proto::{Event, INLINE_LIMIT_BYTES, Job, Partition, Payload};

use crate::fold::{DriverError, insist};

/// Records facts.
pub(super) async fn append(
    backend: &Backend,
    partition: Partition,
    facts: Vec<Event>,
) -> Result<(), DriverError> {
    if !facts.is_empty() {
        insist("append to the log", || backend.log.append(partition, facts.clone())).await?;
    }
    Ok(())
}

/// Publishes jobs.
pub(super) async fn dispatch(backend: &Backend, mut jobs: Vec<Job>) -> Result<(), DriverError> {
    if jobs.is_empty() {
        return Ok(());
    }
    for job in &mut jobs {
        lighten(backend, &mut job.arguments).await?;
    }
    insist("publish jobs", || backend.jobs.publish(jobs.clone())).await?;
    Ok(())
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
