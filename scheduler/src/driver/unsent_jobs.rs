//! Jobs that the queue rejected, or whose arguments could not be stored.
//!
//! The driver does not wait for them: results arrive through the log, and only results free space in the queue. Only ids are
//! kept here. The state has the jobs, and says which of them are still wanted when they are sent again.

use std::collections::BTreeSet;
use std::time::Duration;

use longshore_proto::JobId;
use tokio::time::{Instant, sleep_until};

use super::send::RejectedJobs;

/// Pause before unsent jobs are sent again. Workers free space for many jobs within it, and each try looks through the state of
/// all runs.
const PAUSE: Duration = Duration::from_millis(500);

/// The unsent jobs of one partition.
#[derive(Debug, Default)]
pub(super) struct UnsentJobs {
    jobs: BTreeSet<JobId>,
    queue_is_full: bool,
    /// Time of the next try. `None` if no job is unsent.
    due_at: Option<Instant>,
}

impl UnsentJobs {
    /// Returns true if the queue accepted no job at the last try, so that it would reject any other job as well.
    pub(super) const fn queue_is_full(&self) -> bool {
        self.queue_is_full
    }

    /// Adds rejected jobs. Does not delay the next try of earlier ones.
    pub(super) fn add(&mut self, rejected: RejectedJobs) {
        if !rejected.jobs.is_empty() {
            self.queue_is_full |= rejected.queue_is_full;
            self.due_at.get_or_insert_with(|| Instant::now() + PAUSE);
            self.jobs.extend(rejected.jobs);
        }
    }

    /// Removes and returns all jobs.
    pub(super) fn take(&mut self) -> BTreeSet<JobId> {
        self.due_at = None;
        self.queue_is_full = false;
        std::mem::take(&mut self.jobs)
    }

    /// Waits until the jobs are due; for ever if no job is unsent. Safe to cancel.
    pub(super) async fn due(&self) {
        match self.due_at {
            Some(due_at) => sleep_until(due_at).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use longshore_proto::{Attempt, Partition, RunId, Timestamp};

    #[tokio::test(start_paused = true)]
    async fn further_rejected_jobs_do_not_delay_the_next_try() {
        let job = |number| JobId {
            run: RunId::new(Partition(0), Timestamp::from_millis(1), number),
            step: "a".parse().expect("a path"),
            attempt: Attempt::FIRST,
        };
        let rejected = |jobs, queue_is_full| RejectedJobs { jobs, queue_is_full };
        let mut unsent = UnsentJobs::default();
        unsent.add(rejected(Vec::new(), true));
        assert!(!unsent.queue_is_full() && unsent.due().now_or_never().is_none());
        let started = Instant::now();
        unsent.add(rejected(vec![job(1)], false));
        assert!(!unsent.queue_is_full(), "other jobs may be sent");
        tokio::time::advance(PAUSE / 2).await;
        unsent.add(rejected(vec![job(1), job(2)], true));
        assert!(unsent.queue_is_full());
        unsent.due().await;
        assert!(started.elapsed() < PAUSE * 2);
        assert_eq!(unsent.take(), BTreeSet::from([job(1), job(2)]));
        assert!(!unsent.queue_is_full() && unsent.due().now_or_never().is_none());
    }
}
