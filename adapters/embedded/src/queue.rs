//! The queue in memory: the state is the outbox, so nothing here has to survive.
//!
//! Which job stands where is decided by [`Places`]; this is its lock, the waiting, and the receipts. A worker lives
//! in the same process, so a receipt that is dropped is the sign that its worker is gone, and the job goes back at
//! once.

mod places;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{Delivery, Error, JobQueue, Queued, Receipt};
use longshore_proto::{Job, JobId, ServerName};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use self::places::{Places, Taken};
use super::failure::Failure;

/// How many jobs have a place at most, queued or delivered. Many times what a process works on at once; and with
/// the usual 2 KiB for a job, 20 MiB.
const JOBS: usize = 10_000;

/// What a worker is told about the queue's patience. It never runs out here, where no worker can vanish without
/// dropping its receipt; a worker that shows progress three times in this time does next to nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A longer wait than this is not a wait in a queue but a timer in a state.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// The jobs of a process.
#[derive(Default)]
pub(super) struct Queue {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    places: Mutex<Places>,
    /// Somebody may find something now, or will have to wait until another moment.
    news: Notify,
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, Places> {
        // No code that holds the lock can panic half-way.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self, server: &ServerName, max: usize) -> Vec<Taken> {
        loop {
            // Registered before looking, so that nothing published in between is missed.
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            let due = {
                let mut places = self.places();
                let taken = places.take(server, max, Instant::now());
                if !taken.is_empty() {
                    return taken;
                }
                places.next_due(server)
            };
            match due {
                None => news.await,
                Some(due) => tokio::select! { () = news => {}, () = sleep_until(due) => {} },
            }
        }
    }

    fn give_back(&self, job: &JobId, due: Option<Instant>) {
        self.places().give_back(job, due);
        self.news.notify_waiters();
    }
}

#[async_trait]
impl JobQueue for Queue {
    async fn publish(&self, jobs: Vec<Job>) -> Result<Vec<Queued>, Error> {
        let mut places = self.shared.places();
        let answers: Option<Vec<_>> = jobs.into_iter().map(|job| places.publish(job, JOBS)).collect();
        drop(places);
        self.shared.news.notify_waiters();
        answers.ok_or_else(|| {
            let full = Failure::Refused(format!("{JOBS} jobs are out already: publish the rest again later"));
            Error::transient("queue jobs", full)
        })
    }

    async fn holds(&self, jobs: &[Job]) -> Result<Vec<bool>, Error> {
        let places = self.shared.places();
        Ok(jobs.iter().map(|job| places.holds(&job.id)).collect())
    }

    async fn waiting(&self, server: &ServerName, job: &JobId) -> Result<Option<u64>, Error> {
        let waiting = self.shared.places().waiting(server, job);
        Ok(waiting.map(|jobs| u64::try_from(jobs).unwrap_or(u64::MAX)))
    }

    async fn recall(&self, job: &JobId) -> Result<(), Error> {
        self.shared.places().recall(job);
        Ok(())
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
        // A job is taken in the same step in which it is returned, so giving up on this takes none.
        let taken = timeout(wait, self.shared.take(server, max.get())).await.unwrap_or_default();
        Ok(taken.into_iter().map(|taken| self.deliver(taken)).collect())
    }
}

impl Queue {
    fn deliver(&self, taken: Taken) -> Delivery {
        let Taken { job, delivered, recalled } = taken;
        let shared = Arc::clone(&self.shared);
        let receipt = Box::new(Held { shared, job: job.id.clone(), answered: false });
        Delivery { job, delivered, queued_at: None, recalled, recall_missed: false, was_last: false, receipt }
    }
}

/// A receipt; there is one for each delivered job.
struct Held {
    shared: Arc<Shared>,
    job: JobId,
    answered: bool,
}

#[async_trait]
impl Receipt for Held {
    fn ack_wait(&self) -> Duration {
        PATIENCE
    }

    async fn extend_ack_wait(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn ack(mut self: Box<Self>) -> Result<(), Error> {
        self.answered = true;
        self.shared.places().remove(&self.job);
        Ok(())
    }

    async fn give_back(mut self: Box<Self>, delay: Option<Duration>) -> Result<(), Error> {
        self.answered = true;
        let due = delay.map(|delay| Instant::now() + delay.min(LONGEST_DELAY));
        self.shared.give_back(&self.job, due);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.answered {
            self.shared.give_back(&self.job, None);
        }
    }
}
