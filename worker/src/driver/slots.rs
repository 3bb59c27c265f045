//! Slots: how many jobs may be in hand at once, for a server and for the whole worker.
//!
//! A job needs one of each. They are taken before the queue is asked, so that no job ever waits in a worker while
//! another worker is free. The server's is given back once no further call will be made, the worker's at the end: a
//! server that takes one call at a time need not wait for the log, and results that wait for the log have a bound.

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
    of_server: Option<OwnedSemaphorePermit>,
    _of_worker: OwnedSemaphorePermit,
}

impl Slot {
    /// No further call will be made for the job.
    pub(super) fn leave_server(&mut self) {
        self.of_server = None;
    }
}

impl Slots {
    /// Up to `limit` of the worker's slots.
    pub(super) fn new(of_worker: &Arc<Semaphore>, limit: usize) -> Self {
        Self { of_server: semaphore(limit), of_worker: Arc::clone(of_worker) }
    }

    /// Waits for a slot.
    pub(super) async fn wait(&self) -> Slot {
        let of_server = Some(wait(&self.of_server).await);
        let _of_worker = wait(&self.of_worker).await;
        Slot { of_server, _of_worker }
    }

    /// Those that are free right now, at most `max`.
    pub(super) fn more(&self, max: usize) -> Vec<Slot> {
        std::iter::from_fn(|| self.one()).take(max).collect()
    }

    fn one(&self) -> Option<Slot> {
        let of_server = Some(Arc::clone(&self.of_server).try_acquire_owned().ok()?);
        let _of_worker = Arc::clone(&self.of_worker).try_acquire_owned().ok()?;
        Some(Slot { of_server, _of_worker })
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

    #[tokio::test]
    async fn a_job_that_makes_no_further_call_leaves_the_server_but_not_the_worker() {
        let of_worker = semaphore(2);
        let slots = Slots::new(&of_worker, 1);
        let mut first = slots.wait().await;
        first.leave_server();
        let second = slots.more(2);
        assert_eq!(second.len(), 1, "the server takes another call");
        drop(second);
        assert_eq!(of_worker.available_permits(), 1, "the first job is still in hand");
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
