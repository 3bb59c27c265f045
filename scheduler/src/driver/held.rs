//! Jobs that the queue had no room for.
//!
//! They are not waited for: results come in through the log, and only they make room. Nothing but their ids is kept here,
//! since the state has the rest, and tells which of them are still wanted when they are sent again.

use std::collections::BTreeSet;
use std::time::Duration;

use longshore_proto::JobId;
use tokio::time::{Instant, sleep_until};

/// How long to wait before they are sent again. Workers make room for many within this, and the state of all runs is
/// looked through each time.
const PAUSE: Duration = Duration::from_millis(500);

/// The jobs of a partition that wait for room.
#[derive(Debug, Default)]
pub(super) struct Held {
    jobs: BTreeSet<JobId>,
    /// When they are sent again, if there are any.
    again: Option<Instant>,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Takes up what was refused; what was taken up before is not put off by it.
    pub(super) fn add(&mut self, refused: Vec<JobId>) {
        if !refused.is_empty() {
            self.again.get_or_insert_with(|| Instant::now() + PAUSE);
            self.jobs.extend(refused);
        }
    }

    /// Hands all of them out.
    pub(super) fn take(&mut self) -> BTreeSet<JobId> {
        self.again = None;
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
        let mut held = Held::default();
        held.add(Vec::new());
        assert!(held.is_empty() && held.due().now_or_never().is_none());
        let started = Instant::now();
        held.add(vec![job(1)]);
        tokio::time::advance(PAUSE / 2).await;
        held.add(vec![job(1), job(2)]);
        held.due().await;
        assert!(started.elapsed() < PAUSE * 2);
        assert_eq!(held.take(), BTreeSet::from([job(1), job(2)]));
        assert!(held.is_empty() && held.due().now_or_never().is_none());
    }
}
