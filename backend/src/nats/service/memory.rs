//! A bound on the memory that requests take.
//!
//! A request waits with its body, and takes several times as much once it is read. So there is a bound on the bodies that
//! wait or are being answered, beyond which a request is told to come back; and a bound on what is read at the same time,
//! for which requests wait in their order.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies in this process: some dozens of the largest size, or some ten thousand small ones.
const BODIES_BYTES: u32 = 64 * 1024 * 1024;

/// What a request takes beside its body while it waits: its task, its subject and its headers.
const AROUND_BODY_BYTES: u32 = 4 * 1024;

/// Memory for requests that are read and answered.
const READ_BYTES: u32 = 256 * 1024 * 1024;

/// What a byte of a body becomes at most when it is read: an element of one byte is a value of 32 bytes in a list that
/// doubles as it grows.
const READ_PER_BYTE: u32 = 64;

/// Most of what reading a body may take: an [`Api`](crate::Api) bounds the number of values.
const READ_MOST_BYTES: u32 = 32 * 1024 * 1024;

/// The memory of one service.
#[derive(Clone)]
pub(super) struct RequestMemory {
    bodies: Arc<Semaphore>,
    read: Arc<Semaphore>,
}

/// A request that may wait here.
pub(super) struct AdmittedRequest {
    read: Arc<Semaphore>,
    bytes: u32,
    _body: OwnedSemaphorePermit,
}

impl RequestMemory {
    pub(super) fn new() -> Self {
        let permits = |bytes: u32| Arc::new(Semaphore::new(usize::try_from(bytes).unwrap_or(usize::MAX)));
        Self { bodies: permits(BODIES_BYTES), read: permits(READ_BYTES) }
    }

    /// Admits a request with a body of so many bytes, unless there are too many already.
    pub(super) fn admit(&self, bytes: usize) -> Option<AdmittedRequest> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let body = Arc::clone(&self.bodies).try_acquire_many_owned(bytes.saturating_add(AROUND_BODY_BYTES));
        Some(AdmittedRequest { read: Arc::clone(&self.read), bytes, _body: body.ok()? })
    }
}

impl AdmittedRequest {
    /// Waits until the request may be read. It counts for as long as the permit lives.
    pub(super) async fn may_be_read(&self) -> Option<OwnedSemaphorePermit> {
        let bytes = self.bytes.saturating_mul(READ_PER_BYTE).clamp(AROUND_BODY_BYTES, READ_MOST_BYTES);
        // It is never closed.
        Arc::clone(&self.read).acquire_many_owned(bytes).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn requests_are_bounded_by_bytes_and_few_large_ones_are_read_at_once() {
        const LARGE: usize = 1024 * 1024;
        let memory = RequestMemory::new();
        let admitted: Vec<_> = std::iter::from_fn(|| memory.admit(LARGE)).collect();
        assert!((60..=64).contains(&admitted.len()), "{}", admitted.len());
        assert!(memory.admit(LARGE).is_none());
        let read: Vec<_> = admitted.iter().map_while(|one| one.may_be_read().now_or_never()).collect();
        assert_eq!(read.len(), 8);
        drop(read);
        assert!(admitted.iter().all(|one| one.may_be_read().now_or_never().is_some()));
        drop(admitted);
        let small = std::iter::from_fn(|| memory.admit(100)).take(20_000).collect::<Vec<_>>();
        assert!(small.len() > 10_000, "{}", small.len());
    }
}
