//! Jobs that the queue had no room for, or whose arguments could not be kept.
//!
//! They are not waited for: results come in through the log, and only they make room. Nothing but their ids is kept here,
//! since the state has the rest, and tells which of them are still wanted when they are sent again.

use std::collections::BTreeSet;
use std::time::Duration;

use longshore_proto::JobId;
use tokio::time::{Instant, sleep_until};

use super::send::Unsent;

/// How long to wait before they are sent again. Workers make room for many within this, and the state of all runs is
/// looked through each time.
const PAUSE: Duration = Duration::from_millis(500);

/// The jobs of a partition that wait for room.
#[derive(Debug, Default)]
pub(super) struct Held {
    jobs: BTreeSet<JobId>,
    /// The queue took no job at all when it was asked last, so others need not be tried.
    queue_is_full: bool,
    /// When they are sent again, if there are any.
    again: Option<Instant>,
}

impl Held {
    /// Whether any other job would be refused as well.
    pub(super) const fn queue_is_full(&self) -> bool {
        self.queue_is_full
    }

    /// Takes up what was not sent; what was taken up before is not put off by it.
    pub(super) fn add(&mut self, unsent: Unsent) {
        if !unsent.jobs.is_empty() {
            self.queue_is_full |= unsent.queue_is_full;
            self.again.get_or_insert_with(|| Instant::now() + PAUSE);
            self.jobs.extend(unsent.jobs);
        }
    }

    /// Hands all of them out.
    pub(super) fn take(&mut self) -> BTreeSet<JobId> {
        self.again = None;
        self.queue_is_full = false;
        std::mem::take(&mut self.jobs)
    }

    /// Waits until they are to be sent again; for ever if there are none. Safe to cancel.
    pub(super) async fn due(&self) {
        match self.again {
            Some(again) => sleep_until(again).await,
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
    async fn they_are_due_once_however_many_come_on_top() {
        let job = |number| JobId {
            run: RunId::new(Partition(0), Timestamp::from_millis(1), number),
            step: "a".parse().expect("a path"),
            attempt: Attempt::FIRST,
        };
        let unsent = |jobs, queue_is_full| Unsent { jobs, queue_is_full };
        let mut held = Held::default();
        held.add(unsent(Vec::new(), true));
        assert!(!held.queue_is_full() && held.due().now_or_never().is_none());
        let started = Instant::now();
        held.add(unsent(vec![job(1)], false));
        assert!(!held.queue_is_full(), "others may be sent");
        tokio::time::advance(PAUSE / 2).await;
        held.add(unsent(vec![job(1), job(2)], true));
        assert!(held.queue_is_full());
        held.due().await;
        assert!(started.elapsed() < PAUSE * 2);
        assert_eq!(held.take(), BTreeSet::from([job(1), job(2)]));
        assert!(!held.queue_is_full() && held.due().now_or_never().is_none());
    }
}
