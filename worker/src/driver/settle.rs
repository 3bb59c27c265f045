//! The report of a job: large values become blobs, and the event is appended to the log.

use std::sync::OnceLock;
use std::time::Duration;

use longshore_attempt::Input;
use longshore_ports::{Backend, Blobs, Error, ErrorCause};
use longshore_proto::{ClaimKey, Event, Fault, FaultClass, Outcome, Settlement};
use tokio::time::Instant;
use tracing::warn;

use super::job_task::JobTask;
use super::retry::retry;

/// The longest wait for room for a large result. The operator has to make the room, and other jobs need the slot.
const NO_ROOM_LIMIT: Duration = Duration::from_secs(20);

impl JobTask<'_> {
    /// Stores the blobs, releases the claim, and appends the event. The event is durable on return.
    pub(super) async fn settle(
        &self,
        blobs: Vec<Vec<u8>>,
        release: Option<ClaimKey>,
        mut event: Event,
    ) -> Result<Input, Error> {
        let Backend { log, blobs: store, claims, .. } = &self.context.backend;
        for blob in blobs {
            if let Some(full) = store_blob(&**store, &blob).await? {
                replace_result(&mut event, blob.len(), &full);
                break;
            }
        }
        if let Some(key) = release {
            retry("release a claim", || claims.release(&key, self.holder)).await?;
        }
        let partition = self.job.id.run.partition();
        retry("append an outcome", || log.append(partition, std::slice::from_ref(&event))).await?;
        Ok(Input::Settled)
    }
}

/// Stores a large value. Returns the store's error if there was no room for it for [`NO_ROOM_LIMIT`].
async fn store_blob(store: &dyn Blobs, blob: &[u8]) -> Result<Option<Error>, Error> {
    let full_since = OnceLock::new();
    retry("store a large value", || async {
        match store.put(blob.to_vec()).await {
            Err(error)
                if error.cause == ErrorCause::Full
                    && full_since.get_or_init(Instant::now).elapsed() >= NO_ROOM_LIMIT =>
            {
                Ok(Some(error))
            }
            stored => stored.map(|_| None),
        }
    })
    .await
}

/// Replaces a result that cannot be stored by a fault.
fn replace_result(event: &mut Event, bytes: usize, full: &Error) {
    if let Event::Settled { settlement, .. } = event {
        let message = format!(
            "the tool answered with {bytes} bytes, and there is no room to store them ({full}): raise `max_bytes` of the \
             stream of blobs, or what the account may store"
        );
        warn!(bytes, %full, "cannot store a result; the step ends with a fault");
        *settlement = Settlement::Done(Outcome::Fault(Fault::new(FaultClass::Internal, message)));
    }
}
