//! Asks ports until they answer: whatever a driver wants of them is harmless to ask for twice.

use std::time::Duration;

use longshore_backend::Backend;
use longshore_proto::{Event, INLINE_LIMIT_BYTES, Job, Partition, Payload};
use tracing::warn;

use super::DriverError;

/// First and longest pause before a port is asked again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

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

/// Asks a port until it answers, or says that asking again is no use.
pub(super) async fn insist<T, F>(what: &str, ask: impl Fn() -> F) -> Result<T, DriverError>
where
    F: Future<Output = Result<T, longshore_backend::Error>>,
{
    let (mut pause, longest) = BACKOFF;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.retryable => {
                warn!(%error, ?pause, "could not {what}; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
