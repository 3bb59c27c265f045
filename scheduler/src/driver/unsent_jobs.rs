//! Jobs that have to be sent: those that a new leader found missing in the queue, those that the queue rejected, and those whose
//! arguments could not be stored.
//!
//! The driver does not wait for them: results arrive through the log, and only results free space in the queue. Only ids are
//! kept here. The state has the jobs, and says which of them are still wanted when they are sent.

use std::collections::BTreeSet;
use std::time::Duration;

use longshore_proto::JobId;
use tokio::time::{Instant, sleep_until};

use super::send::RejectedJobs;

/// Pause before rejected jobs are sent again. Workers free space for many jobs within it.
const PAUSE: Duration = Duration::from_millis(500);

/// The unsent jobs of one partition.
#[derive(Debug, Default)]
pub(super) struct UnsentJobs {
    /// Jobs that are sent as soon as possible.
    untried: BTreeSet<JobId>,
    /// Jobs that wait for the next try.
    rejected: BTreeSet<JobId>,
    queue_is_full: bool,
    /// Time at which rejected jobs are sent again. `None` if there are none.
    due_at: Option<Instant>,
}

impl UnsentJobs {
    /// Returns these jobs, as not tried yet.
    pub(super) fn new(jobs: BTreeSet<JobId>) -> Self {
        Self { untried: jobs, ..Self::default() }
    }

    /// Returns true if the queue accepted no job at the last try, so that it would reject any other job as well.
    pub(super) const fn queue_is_full(&self) -> bool {
        self.queue_is_full
    }

    /// Adds rejected jobs. Does not delay the next try of earlier ones.
    pub(super) fn add(&mut self, rejected: RejectedJobs) {
        if !rejected.jobs.is_empty() {
            self.queue_is_full |= rejected.queue_is_full;
            self.due_at.get_or_insert_with(|| Instant::now() + PAUSE);
            self.rejected.extend(rejected.jobs);
        }
    }

    /// Lets rejected jobs be tried again, once the others were tried.
    pub(super) fn begin_try(&mut self) {
        if self.untried.is_empty() || self.queue_is_full {
            self.due_at = None;
            self.queue_is_full = false;
            self.untried.append(&mut self.rejected);
        }
    }

    /// Removes and returns one job to send. `None` if no job is left.
    pub(super) fn pop(&mut self) -> Option<JobId> {
        self.untried.pop_first()
    }

    /// Waits until jobs are due; for ever if no job is unsent. Safe to cancel.
    pub(super) async fn due(&self) {
        if !self.untried.is_empty() && !self.queue_is_full {
            return;
        }
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

    fn job(number: u128) -> JobId {
        JobId {
            run: RunId::new(Partition(0), Timestamp::from_millis(1), number),
            step: "a".parse().expect("a path"),
            attempt: Attempt::FIRST,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn further_rejected_jobs_do_not_delay_the_next_try() {
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
        unsent.begin_try();
        assert_eq!([unsent.pop(), unsent.pop(), unsent.pop()], [Some(job(1)), Some(job(2)), None]);
        assert!(!unsent.queue_is_full() && unsent.due().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_that_were_not_tried_are_due_at_once_unless_the_queue_is_full() {
        let mut unsent = UnsentJobs::new(BTreeSet::from([job(1), job(2), job(3)]));
        unsent.due().now_or_never().expect("due");
        unsent.begin_try();
        assert_eq!(unsent.pop(), Some(job(1)));
        unsent.add(RejectedJobs { jobs: vec![job(1)], queue_is_full: false });
        unsent.due().now_or_never().expect("the others are due");
        unsent.begin_try();
        assert_eq!(unsent.pop(), Some(job(2)), "before the rejected one");
        unsent.add(RejectedJobs { jobs: vec![job(2)], queue_is_full: true });
        assert!(unsent.due().now_or_never().is_none());
        unsent.due().await;
        unsent.begin_try();
        assert_eq!([unsent.pop(), unsent.pop(), unsent.pop()], [1, 2, 3].map(|n| Some(job(n))));
    }
}
