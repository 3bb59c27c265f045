//! Slots: how many jobs may be in hand at once, for a server and for the whole worker.
//!
//! A job needs one of each. They are taken before the queue is asked, so that no job ever waits in a worker while
//! another worker is free.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots that one server's jobs may take.
pub(super) struct Slots {
    of_server: Arc<Semaphore>,
    of_worker: Arc<Semaphore>,
}

/// The right to have one job in hand; given back when dropped.
pub(super) struct Slot {
    _of_server: OwnedSemaphorePermit,
    _of_worker: OwnedSemaphorePermit,
}

impl Slots {
    /// Up to `limit` of the worker's slots.
    pub(super) fn new(of_worker: &Arc<Semaphore>, limit: usize) -> Self {
        Self { of_server: semaphore(limit), of_worker: Arc::clone(of_worker) }
    }

    /// Waits for a slot.
    pub(super) async fn wait(&self) -> Slot {
        let _of_server = wait(&self.of_server).await;
        let _of_worker = wait(&self.of_worker).await;
        Slot { _of_server, _of_worker }
    }

    /// Those that are free right now, at most `max`.
    pub(super) fn more(&self, max: usize) -> Vec<Slot> {
        std::iter::from_fn(|| self.one()).take(max).collect()
    }

    fn one(&self) -> Option<Slot> {
        let _of_server = Arc::clone(&self.of_server).try_acquire_owned().ok()?;
        let _of_worker = Arc::clone(&self.of_worker).try_acquire_owned().ok()?;
        Some(Slot { _of_server, _of_worker })
    }
}

/// So many slots; at least one, or nothing would ever move.
pub(super) fn semaphore(slots: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(slots.clamp(1, Semaphore::MAX_PERMITS)))
}

async fn wait(slots: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    match Arc::clone(slots).acquire_owned().await {
        Ok(slot) => slot,
        // Only a closed semaphore says so, and nobody closes these.
        Err(_closed) => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_needs_a_slot_of_its_server_and_one_of_the_worker() {
        let of_worker = semaphore(3);
        let (few, many) = (Slots::new(&of_worker, 1), Slots::new(&of_worker, 8));
        let one = few.wait().await;
        assert!(few.more(8).is_empty(), "the server's limit");
        let two = many.more(8);
        assert_eq!(two.len(), 2, "the worker's limit");
        drop(one);
        assert_eq!(many.more(8).len(), 1, "what one server leaves, another takes");
    }

    #[test]
    fn a_slot_that_cannot_be_had_in_full_is_not_had_in_part() {
        let of_worker = semaphore(1);
        let (one, other) = (Slots::new(&of_worker, 1), Slots::new(&of_worker, 1));
        let taken = one.more(1);
        assert!(other.more(1).is_empty());
        drop(taken);
        assert_eq!(other.more(1).len(), 1, "the server's slot was not lost");
    }
}
