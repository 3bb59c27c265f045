//! A bound on the memory that requests take, which namespaces share.
//!
//! A request waits with its body, and takes several times as much once it is read. So there is a bound on the bodies that
//! wait or are being answered, beyond which a request is told to come back; and a bound on what is read at the same time,
//! for which requests wait in their order. One namespace gets at most three quarters of each, and small requests, which are
//! most, never wait for large ones.

use longshore_ports::{NamespacePermits, NamespaceSemaphore};
use longshore_proto::Namespace;

/// Bodies in this process: some dozens of the largest size, or some ten thousand small ones.
const BODIES_BYTES: u32 = 64 * 1024 * 1024;

/// What a request takes beside its body while it waits: its task, its subject and its headers.
const AROUND_BODY_BYTES: u32 = 4 * 1024;

/// Memory for requests that are read and answered.
const READ_BYTES: u32 = 256 * 1024 * 1024;

/// The same for requests whose bodies have at most [`SMALL_BODY_BYTES`].
const READ_SMALL_BYTES: u32 = 64 * 1024 * 1024;

/// Size of a body that counts as small, in bytes.
const SMALL_BODY_BYTES: u32 = 2 * 1024;

/// What a byte of a body becomes at most when it is read: an element of one byte is a value of 32 bytes in a list that
/// doubles as it grows.
const READ_PER_BYTE: u32 = 64;

/// Most of what reading a body may take: an [`Api`](longshore_scheduler::Api) bounds the number of values.
const READ_MOST_BYTES: u32 = 32 * 1024 * 1024;

/// The memory of one service.
#[derive(Clone)]
pub(super) struct RequestMemory {
    bodies: NamespaceSemaphore,
    read: NamespaceSemaphore,
    read_small: NamespaceSemaphore,
}

/// A request that may wait here.
pub(super) struct AdmittedRequest {
    read: NamespaceSemaphore,
    bytes: u32,
    _body: NamespacePermits,
}

impl RequestMemory {
    pub(super) fn new() -> Self {
        let shared = |bytes: u32| NamespaceSemaphore::new(bytes, bytes / 4 * 3);
        Self { bodies: shared(BODIES_BYTES), read: shared(READ_BYTES), read_small: shared(READ_SMALL_BYTES) }
    }

    /// Admits a request of a namespace with a body of so many bytes, unless there are too many already.
    pub(super) fn admit(&self, namespace: &Namespace, bytes: usize) -> Option<AdmittedRequest> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let body = self.bodies.try_acquire(namespace, bytes.saturating_add(AROUND_BODY_BYTES))?;
        let read = if bytes <= SMALL_BODY_BYTES { &self.read_small } else { &self.read };
        Some(AdmittedRequest { read: read.clone(), bytes, _body: body })
    }
}

impl AdmittedRequest {
    /// Waits until the request of a namespace may be read. It counts for as long as the share lives.
    pub(super) async fn may_be_read(&self, namespace: &Namespace) -> Option<NamespacePermits> {
        let bytes = self.bytes.saturating_mul(READ_PER_BYTE).clamp(AROUND_BODY_BYTES, READ_MOST_BYTES);
        self.read.acquire(namespace, bytes).await
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
        let (ours, others): (Namespace, Namespace) = ("ours".parse().unwrap(), "others".parse().unwrap());
        let admitted: Vec<_> = std::iter::from_fn(|| memory.admit(&ours, LARGE)).collect();
        assert!((45..=48).contains(&admitted.len()), "{}", admitted.len());
        assert!(memory.admit(&ours, LARGE).is_none());
        let read: Vec<_> = admitted.iter().map_while(|one| one.may_be_read(&ours).now_or_never()).collect();
        assert_eq!(read.len(), 6);
        let (small, large) = (memory.admit(&others, 100), memory.admit(&others, LARGE));
        assert!(small.expect("there is room").may_be_read(&others).now_or_never().is_some());
        assert!(large.expect("there is room").may_be_read(&others).now_or_never().is_some());
        drop(read);
        assert!(admitted.iter().all(|one| one.may_be_read(&ours).now_or_never().is_some()));
        drop(admitted);
        let small = std::iter::from_fn(|| memory.admit(&ours, 100)).take(20_000).collect::<Vec<_>>();
        assert!(small.len() > 10_000, "{}", small.len());
    }
}
