//! Job slots: limits on the jobs that a server and the whole worker have at once.
//!
//! A job needs one slot of its server and one of the worker. Both are taken before the pull, so that no job waits in a worker
//! while another worker is free. The server's slot is released when no further call will be made, the worker's slot when the
//! delivery ends: a server that takes one call at a time does not wait for the log, and the number of results that wait for the
//! log is bounded. A job that waits for its claim or its grant before its call releases both, so that it does not hold up jobs that
//! need neither, and takes them again before the call.

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Jobs of a worker that may wait for a claim or a grant without a slot: with arguments of at most 64 KiB, 64 MiB. Further ones keep
/// their slots, so that the worker pulls no more jobs than it has room for.
const JOBS_WITHOUT_SLOT: usize = 1_024;

/// The slots of a worker.
#[derive(Clone)]
pub(super) struct WorkerSlots {
    slots: Arc<Semaphore>,
    /// Permits to wait without a slot.
    without_slot: Arc<Semaphore>,
}

/// The slots of one server, within those of the worker.
#[derive(Clone)]
pub(super) struct ServerSlots {
    of_server: Arc<Semaphore>,
    of_worker: WorkerSlots,
}

/// The slots of one job. Released on drop.
pub(super) struct JobSlot {
    slots: ServerSlots,
    permits: Mutex<JobPermits>,
}

/// The permits that a job has.
enum JobPermits {
    /// A slot of the server, until no further call will be made, and one of the worker.
    Slots {
        of_server: Option<OwnedSemaphorePermit>,
        _of_worker: OwnedSemaphorePermit,
        /// `None` while the slot waits for a job.
        busy: Option<BusySlotCount>,
    },
    /// The job waits for its claim or its grant.
    WithoutSlot { _permit: OwnedSemaphorePermit },
}

/// Counts a slot as busy until it is dropped.
struct BusySlotCount;

impl BusySlotCount {
    fn new() -> Self {
        gauge!("longshore_worker_slots", "state" => "busy").increment(1);
        Self
    }
}

impl Drop for BusySlotCount {
    fn drop(&mut self) {
        gauge!("longshore_worker_slots", "state" => "busy").decrement(1);
    }
}

impl JobSlot {
    /// Counts the slot as busy from now on: a job was delivered for it.
    pub(super) fn count_as_busy(&self) {
        if let JobPermits::Slots { busy, .. } = &mut *self.permits() {
            *busy = Some(BusySlotCount::new());
        }
    }

    /// Releases the server's slot. Called when no further call will be made for the job.
    pub(super) fn release_server(&self) {
        if let JobPermits::Slots { of_server, .. } = &mut *self.permits() {
            *of_server = None;
        }
    }

    /// Releases both slots while the job waits for its claim or its grant, unless too many jobs do so.
    pub(super) fn release_for_wait(&self) {
        let mut permits = self.permits();
        if let JobPermits::Slots { .. } = &*permits
            && let Ok(permit) = Arc::clone(&self.slots.of_worker.without_slot).try_acquire_owned()
        {
            *permits = JobPermits::WithoutSlot { _permit: permit };
        }
    }

    /// Waits until the job has both slots. Safe to cancel.
    pub(super) async fn hold(&self) {
        if let JobPermits::Slots { .. } = &*self.permits() {
            return;
        }
        let held = self.slots.permits().await;
        *self.permits() = held;
        self.count_as_busy();
    }

    fn permits(&self) -> MutexGuard<'_, JobPermits> {
        // No code that holds the lock can panic half-way.
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WorkerSlots {
    /// Creates the slots of a worker.
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: slot_semaphore(slots), without_slot: slot_semaphore(JOBS_WITHOUT_SLOT) }
    }
}

impl ServerSlots {
    /// Creates the slots of a server: up to `limit` of the worker's slots.
    pub(super) fn new(of_worker: &WorkerSlots, limit: usize) -> Self {
        Self { of_server: slot_semaphore(limit), of_worker: of_worker.clone() }
    }

    /// Waits for a slot.
    pub(super) async fn acquire(&self) -> JobSlot {
        self.job_slot(self.permits().await)
    }

    /// Returns the slots that are free now, at most `max`.
    pub(super) fn acquire_free(&self, max: usize) -> Vec<JobSlot> {
        std::iter::from_fn(|| self.try_acquire()).take(max).collect()
    }

    fn try_acquire(&self) -> Option<JobSlot> {
        let of_server = Arc::clone(&self.of_server).try_acquire_owned().ok()?;
        let of_worker = Arc::clone(&self.of_worker.slots).try_acquire_owned().ok()?;
        Some(self.job_slot(JobPermits::slots(of_server, of_worker)))
    }

    async fn permits(&self) -> JobPermits {
        let of_server = acquire(&self.of_server).await;
        JobPermits::slots(of_server, acquire(&self.of_worker.slots).await)
    }

    fn job_slot(&self, permits: JobPermits) -> JobSlot {
        JobSlot { slots: self.clone(), permits: Mutex::new(permits) }
    }
}

impl JobPermits {
    fn slots(of_server: OwnedSemaphorePermit, of_worker: OwnedSemaphorePermit) -> Self {
        Self::Slots { of_server: Some(of_server), _of_worker: of_worker, busy: None }
    }
}

/// Creates a semaphore with this number of slots, but at least one: with none, no job would ever be taken.
fn slot_semaphore(slots: usize) -> Arc<Semaphore> {
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
        let of_worker = WorkerSlots::new(3);
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
        let of_worker = WorkerSlots::new(2);
        let slots = ServerSlots::new(&of_worker, 1);
        let first = slots.acquire().await;
        first.release_server();
        let second = slots.acquire_free(2);
        assert_eq!(second.len(), 1, "the server takes another call");
        drop(second);
        assert_eq!(of_worker.slots.available_permits(), 1, "the first job still has its slot of the worker");
    }

    #[tokio::test]
    async fn waiting_job_leaves_its_slots_to_others_and_takes_them_again() {
        let of_worker = WorkerSlots::new(1);
        let slots = ServerSlots::new(&of_worker, 1);
        let waiting = slots.acquire().await;
        waiting.release_for_wait();
        let mut other = slots.acquire_free(2);
        assert_eq!(other.len(), 1, "another job runs meanwhile");
        let mut held = std::pin::pin!(waiting.hold());
        assert!(futures::poll!(&mut held).is_pending(), "the slots are taken");
        other.clear();
        held.await;
        assert!(slots.acquire_free(1).is_empty(), "it has them again");
        waiting.hold().await;
    }

    #[tokio::test]
    async fn number_of_jobs_without_a_slot_is_bounded() {
        let of_worker = WorkerSlots::new(JOBS_WITHOUT_SLOT + 1);
        let slots = ServerSlots::new(&of_worker, JOBS_WITHOUT_SLOT + 1);
        let jobs = slots.acquire_free(JOBS_WITHOUT_SLOT + 1);
        jobs.iter().for_each(JobSlot::release_for_wait);
        assert_eq!(slots.acquire_free(JOBS_WITHOUT_SLOT + 1).len(), JOBS_WITHOUT_SLOT);
    }

    #[test]
    fn no_slot_is_taken_if_only_one_of_the_two_is_free() {
        let of_worker = WorkerSlots::new(1);
        let (one, other) = (ServerSlots::new(&of_worker, 1), ServerSlots::new(&of_worker, 1));
        let taken = one.acquire_free(1);
        assert!(other.acquire_free(1).is_empty());
        drop(taken);
        assert_eq!(other.acquire_free(1).len(), 1, "the server's slot was not lost");
    }
}
