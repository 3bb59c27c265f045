//! Limits of the memory of requests, which namespaces share.
//!
//! A waiting request takes the bytes of its body, and several times as much once it is decoded. So there is a limit for
//! the bodies of requests that wait or are being answered, beyond which requests are refused, and a limit for requests
//! that are decoded at the same time, for which they wait in their order. One namespace gets at most three quarters of
//! each, and small requests, which are most, never wait for large ones.

use longshore_ports::{NamespacePermits, NamespaceSemaphore};
use longshore_proto::Namespace;

/// Limit of all bodies: some dozens of the largest size, or some ten thousand small ones.
const BODIES_BYTES: u32 = 64 * 1024 * 1024;

/// Memory of a waiting request beside its body: its task, its subject and its headers.
const AROUND_BODY_BYTES: u32 = 4 * 1024;

/// Limit of the memory of decoded requests.
const DECODED_BYTES: u32 = 256 * 1024 * 1024;

/// Limit of the memory of decoded requests whose bodies have at most [`SMALL_BODY_BYTES`].
const DECODED_SMALL_BYTES: u32 = 64 * 1024 * 1024;

/// Largest body that counts as small.
const SMALL_BODY_BYTES: u32 = 2 * 1024;

/// Maximum number of bytes of memory for a byte of a body: an element of one byte becomes a value of 32 bytes in a list
/// that doubles as it grows.
const DECODED_PER_BYTE: u32 = 64;

/// Maximum memory of one decoded body: an [`Api`](longshore_scheduler::Api) limits the number of values.
const DECODED_BODY_BYTES: u32 = 32 * 1024 * 1024;

/// The memory limits of one service.
#[derive(Clone)]
pub(super) struct RequestMemory {
    bodies: NamespaceSemaphore,
    decoded: NamespaceSemaphore,
    decoded_small: NamespaceSemaphore,
}

/// A request that was admitted. Its body counts against the limit until this is dropped.
pub(super) struct AdmittedRequest {
    decoded: NamespaceSemaphore,
    bytes: u32,
    _body: NamespacePermits,
}

impl RequestMemory {
    pub(super) fn new() -> Self {
        let shared = |bytes: u32| NamespaceSemaphore::new(bytes, bytes / 4 * 3);
        Self {
            bodies: shared(BODIES_BYTES),
            decoded: shared(DECODED_BYTES),
            decoded_small: shared(DECODED_SMALL_BYTES),
        }
    }

    /// Admits a request of a namespace with a body of `bytes`. `None` if the limit is reached.
    pub(super) fn admit(&self, namespace: &Namespace, bytes: usize) -> Option<AdmittedRequest> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let body = self.bodies.try_acquire(namespace, bytes.saturating_add(AROUND_BODY_BYTES))?;
        let decoded = if bytes <= SMALL_BODY_BYTES { &self.decoded_small } else { &self.decoded };
        Some(AdmittedRequest { decoded: decoded.clone(), bytes, _body: body })
    }
}

impl AdmittedRequest {
    /// Waits until the request of a namespace may be decoded. It counts until the returned share is dropped.
    pub(super) async fn wait_to_decode(&self, namespace: &Namespace) -> Option<NamespacePermits> {
        let bytes = self.bytes.saturating_mul(DECODED_PER_BYTE).clamp(AROUND_BODY_BYTES, DECODED_BODY_BYTES);
        self.decoded.acquire(namespace, bytes).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn requests_are_limited_by_bytes_and_few_large_ones_are_decoded_at_once() {
        const LARGE: usize = 1024 * 1024;
        let memory = RequestMemory::new();
        let (ours, others): (Namespace, Namespace) = ("ours".parse().unwrap(), "others".parse().unwrap());
        let admitted: Vec<_> = std::iter::from_fn(|| memory.admit(&ours, LARGE)).collect();
        assert!((45..=48).contains(&admitted.len()), "{}", admitted.len());
        assert!(memory.admit(&ours, LARGE).is_none());
        let read: Vec<_> =
            admitted.iter().map_while(|one| one.wait_to_decode(&ours).now_or_never()).collect();
        assert_eq!(read.len(), 6);
        let (small, large) = (memory.admit(&others, 100), memory.admit(&others, LARGE));
        assert!(small.expect("there is room").wait_to_decode(&others).now_or_never().is_some());
        assert!(large.expect("there is room").wait_to_decode(&others).now_or_never().is_some());
        drop(read);
        assert!(admitted.iter().all(|one| one.wait_to_decode(&ours).now_or_never().is_some()));
        drop(admitted);
        let small = std::iter::from_fn(|| memory.admit(&ours, 100)).take(20_000).collect::<Vec<_>>();
        assert!(small.len() > 10_000, "{}", small.len());
    }
}
