//! The job queue in memory. The scheduler's state has all outstanding jobs, so nothing here has to be durable.
//!
//! A [`JobTable`] holds the jobs; this file has its lock, the wait for jobs, and the receipts. The worker is in the
//! same process, so a dropped receipt means that its worker is gone, and the job is queued again at once.

mod job_table;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{Delivery, Error, GrantWaiter, GrantWaiters, JobQueue, Receipt};
use longshore_proto::{DeliveryId, Grant, Job, JobAddress, JobId, ServerName};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use self::job_table::{JobTable, TakenJob};
use super::failure::StoreError;

/// Maximum number of jobs that are queued or delivered: many times the number that a process runs at once, and 20 MiB at
/// the usual 2 KiB for a job.
const MAX_JOBS: usize = 10_000;

/// The acknowledgement wait that workers see. It never expires, because a worker that ends drops its receipt. Workers use
/// it as the base of their heartbeat interval.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// Longest delay of a job that is given back. Longer waits are timers of the scheduler.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// The job queue of a process.
#[derive(Default)]
pub(super) struct MemoryQueue {
    shared: Arc<SharedQueue>,
    /// Deliveries that wait for a grant.
    grants: GrantWaiters,
}

/// The part of a queue that its receipts share.
#[derive(Default)]
struct SharedQueue {
    jobs: Mutex<JobTable>,
    /// Notified when a job was queued, now or for later.
    changed: Notify,
}

impl SharedQueue {
    fn jobs(&self) -> MutexGuard<'_, JobTable> {
        // No code that holds the lock can panic half-way.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self, server: &ServerName, max: usize) -> Vec<TakenJob> {
        loop {
            // Registered before the check, so that a job that is published in between is noticed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let due = {
                let mut jobs = self.jobs();
                let taken = jobs.take(server, max, Instant::now());
                if !taken.is_empty() {
                    return taken;
                }
                jobs.next_due(server)
            };
            match due {
                None => changed.await,
                Some(due) => tokio::select! { () = changed => {}, () = sleep_until(due) => {} },
            }
        }
    }

    fn give_back(&self, job: &JobId, due: Option<Instant>) {
        self.jobs().give_back(job, due);
        self.changed.notify_waiters();
    }
}

#[async_trait]
impl JobQueue for MemoryQueue {
    async fn publish(&self, jobs: Vec<Job>) -> Result<(), Error> {
        let mut table = self.shared.jobs();
        let has_room = jobs.into_iter().all(|job| table.publish(job, MAX_JOBS));
        drop(table);
        self.shared.changed.notify_waiters();
        if has_room {
            return Ok(());
        }
        let full = StoreError::Refused(format!(
            "{MAX_JOBS} jobs are queued or delivered already: publish the rest again later"
        ));
        Err(Error::transient("queue jobs", full))
    }

    async fn holds(&self, jobs: &[JobAddress]) -> Result<Vec<bool>, Error> {
        let table = self.shared.jobs();
        Ok(jobs.iter().map(|job| table.holds(&job.id)).collect())
    }

    async fn waiting(&self, server: &ServerName, job: &JobId) -> Result<Option<u64>, Error> {
        let waiting = self.shared.jobs().waiting(server, job);
        Ok(waiting.map(|jobs| u64::try_from(jobs).unwrap_or(u64::MAX)))
    }

    async fn withdraw(&self, jobs: &[JobId]) -> Result<(), Error> {
        let mut table = self.shared.jobs();
        jobs.iter().for_each(|job| table.withdraw(job));
        Ok(())
    }

    async fn recall(&self, jobs: &[JobId]) -> Result<(), Error> {
        let waiting = self.shared.jobs();
        jobs.iter().for_each(|job| waiting.recall(job));
        Ok(())
    }

    async fn grant(&self, grants: &[Grant]) -> Result<(), Error> {
        grants.iter().for_each(|grant| self.grants.decide(grant));
        Ok(())
    }

    async fn grant_waiter(&self, delivery: &DeliveryId) -> Result<GrantWaiter, Error> {
        Ok(self.grants.register(delivery))
    }

    fn outlives_process(&self) -> bool {
        false
    }

    async fn pull(
        &self,
        server: &ServerName,
        max: NonZeroUsize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        // A job is taken in the same step in which it is returned, so a cancelled call takes none.
        let taken = timeout(wait, self.shared.take(server, max.get())).await.unwrap_or_default();
        Ok(taken.into_iter().map(|taken| self.deliver(taken)).collect())
    }
}

impl MemoryQueue {
    fn deliver(&self, taken: TakenJob) -> Delivery {
        let TakenJob { job, delivered, recalled } = taken;
        let shared = Arc::clone(&self.shared);
        let receipt = Box::new(QueueReceipt { shared, job: job.id.clone(), is_answered: false });
        Delivery { job, delivered, recalled, recall_missed: false, was_last: false, receipt }
    }
}

/// The receipt of a delivered job. Dropped without an answer, it queues the job again.
struct QueueReceipt {
    shared: Arc<SharedQueue>,
    job: JobId,
    is_answered: bool,
}

#[async_trait]
impl Receipt for QueueReceipt {
    fn ack_wait(&self) -> Duration {
        ACK_WAIT
    }

    async fn extend_ack_wait(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn ack(mut self: Box<Self>) -> Result<(), Error> {
        self.is_answered = true;
        self.shared.jobs().remove(&self.job);
        Ok(())
    }

    async fn give_back(mut self: Box<Self>, delay: Option<Duration>) -> Result<(), Error> {
        self.is_answered = true;
        let due = delay.map(|delay| Instant::now() + delay.min(LONGEST_DELAY));
        self.shared.give_back(&self.job, due);
        Ok(())
    }
}

impl Drop for QueueReceipt {
    fn drop(&mut self) {
        if !self.is_answered {
            self.shared.give_back(&self.job, None);
        }
    }
}
