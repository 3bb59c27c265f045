//! Job slots: limits on the jobs that a server and the whole worker have at once.
//!
//! A job needs one slot of its server and one of the worker. Both are taken before the pull, so that no job waits in a worker
//! while another worker is free. The server's slot is released when no further call will be made, the worker's slot when the
//! delivery ends: a server that takes one call at a time does not wait for the log, and the number of results that wait for the
//! log is bounded.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of one server, within those of the worker.
pub(super) struct ServerSlots {
    of_server: Arc<Semaphore>,
    of_worker: Arc<Semaphore>,
}

/// The permits of one job. Released on drop.
pub(super) struct JobSlot {
    of_server: Option<OwnedSemaphorePermit>,
    _of_worker: OwnedSemaphorePermit,
}

impl JobSlot {
    /// Releases the server's slot. Called when no further call will be made for the job.
    pub(super) fn release_server(&mut self) {
        self.of_server = None;
    }
}

impl ServerSlots {
    /// Creates the slots of a server: up to `limit` of the worker's slots.
    pub(super) fn new(of_worker: &Arc<Semaphore>, limit: usize) -> Self {
        Self { of_server: slot_semaphore(limit), of_worker: Arc::clone(of_worker) }
    }

    /// Waits for a slot.
    pub(super) async fn acquire(&self) -> JobSlot {
        let of_server = Some(acquire(&self.of_server).await);
        let _of_worker = acquire(&self.of_worker).await;
        JobSlot { of_server, _of_worker }
    }

    /// Returns the slots that are free now, at most `max`.
    pub(super) fn acquire_free(&self, max: usize) -> Vec<JobSlot> {
        std::iter::from_fn(|| self.try_acquire()).take(max).collect()
    }

    fn try_acquire(&self) -> Option<JobSlot> {
        let of_server = Some(Arc::clone(&self.of_server).try_acquire_owned().ok()?);
        let _of_worker = Arc::clone(&self.of_worker).try_acquire_owned().ok()?;
        Some(JobSlot { of_server, _of_worker })
    }
}

/// Creates a semaphore with this number of slots, but at least one: with none, no job would ever be taken.
pub(super) fn slot_semaphore(slots: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(slots.clamp(1, Semaphore::MAX_PERMITS)))
}

async fn acquire(slots: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    match Arc::clone(slots).acquire_owned().await {
        Ok(permit) => permit,
        // Only a closed semaphore returns an error, and these are never closed.
        Err(_closed) => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn job_needs_a_slot_of_its_server_and_one_of_the_worker() {
        let of_worker = slot_semaphore(3);
        let (small, large) = (ServerSlots::new(&of_worker, 1), ServerSlots::new(&of_worker, 8));
        let one = small.acquire().await;
        assert!(small.acquire_free(8).is_empty(), "the server's limit");
        let two = large.acquire_free(8);
        assert_eq!(two.len(), 2, "the worker's limit");
        drop(one);
        assert_eq!(large.acquire_free(8).len(), 1, "the slot released by the other server");
    }

    #[tokio::test]
    async fn job_without_further_calls_releases_the_slot_of_its_server_only() {
        let of_worker = slot_semaphore(2);
        let slots = ServerSlots::new(&of_worker, 1);
        let mut first = slots.acquire().await;
        first.release_server();
        let second = slots.acquire_free(2);
        assert_eq!(second.len(), 1, "the server takes another call");
        drop(second);
        assert_eq!(of_worker.available_permits(), 1, "the first job still has its slot of the worker");
    }

    #[test]
    fn no_slot_is_taken_if_only_one_of_the_two_is_free() {
        let of_worker = slot_semaphore(1);
        let (one, other) = (ServerSlots::new(&of_worker, 1), ServerSlots::new(&of_worker, 1));
        let taken = one.acquire_free(1);
        assert!(other.acquire_free(1).is_empty());
        drop(taken);
        assert_eq!(other.acquire_free(1).len(), 1, "the server's slot was not lost");
    }
}
