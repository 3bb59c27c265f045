//! Backpressure of ingest: while many jobs are outstanding, submits are ingested only as fast as jobs complete.
//!
//! To ingest a run is cheaper than to finish it, so a burst of submits would become live runs long before workers get to them.
//! A submit that waits in its stream is as durable and costs nothing; a live run takes memory, and every change of it is
//! written to a checkpoint. So ingest looks at the number of jobs that the partitions of this process have outstanding. It
//! slows down and never stops: jobs that no worker takes do not block other submits.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// Number of outstanding jobs at which ingest starts to slow down. A busy process completes as many within some hundredths of a
/// second, so that workers do not run out of jobs.
const MANY_JOBS: usize = 256;

/// Submits of one slow batch, and the longest wait before it: 3,000 submits per second. Slower tools need no more, and with
/// faster ones the number of outstanding jobs falls.
const SLOW_BATCH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
const SLOW_PAUSE: Duration = Duration::from_millis(20);

/// The number of outstanding jobs of all partitions that this process leads.
#[derive(Clone, Debug, Default)]
pub struct Backpressure {
    jobs: watch::Sender<usize>,
}

impl Backpressure {
    /// Waits until further submits may be ingested, and returns how many of `wanted`. Safe to cancel.
    pub(crate) async fn admit(&self, wanted: NonZeroUsize) -> NonZeroUsize {
        let mut jobs = self.jobs.subscribe();
        match timeout(SLOW_PAUSE, jobs.wait_for(|jobs| *jobs < MANY_JOBS)).await {
            Ok(_) => wanted,
            Err(_elapsed) => SLOW_BATCH.min(wanted),
        }
    }

    /// Adds a partition without outstanding jobs.
    pub(crate) fn add_partition(&self) -> OutstandingJobs {
        OutstandingJobs { backpressure: self.clone(), count: 0 }
    }
}

/// The number of outstanding jobs of one partition. Dropping it subtracts them from the backpressure.
#[derive(Debug)]
pub(crate) struct OutstandingJobs {
    backpressure: Backpressure,
    count: usize,
}

impl OutstandingJobs {
    /// Sets the number of outstanding jobs.
    pub(crate) fn set(&mut self, count: usize) {
        let before = std::mem::replace(&mut self.count, count);
        // The sum contains `before`, so this cannot saturate.
        self.backpressure.jobs.send_if_modified(|jobs| {
            *jobs = (*jobs + count).saturating_sub(before);
            count != before
        });
    }
}

impl Drop for OutstandingJobs {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const ALL: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

    #[tokio::test(start_paused = true)]
    async fn many_outstanding_jobs_slow_ingest_down_without_stopping_it() {
        let backpressure = Backpressure::default();
        let (mut one, mut other) = (backpressure.add_partition(), backpressure.add_partition());
        one.set(MANY_JOBS / 2);
        assert_eq!(backpressure.admit(ALL).await, ALL);
        other.set(MANY_JOBS / 2);
        let started = Instant::now();
        assert_eq!(backpressure.admit(ALL).await, SLOW_BATCH);
        assert_eq!(started.elapsed(), SLOW_PAUSE);
        assert_eq!(backpressure.admit(NonZeroUsize::MIN).await, NonZeroUsize::MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn ingest_continues_when_jobs_complete_or_their_partition_is_released() {
        let backpressure = Backpressure::default();
        let (mut one, mut other) = (backpressure.add_partition(), backpressure.add_partition());
        for completes in [true, false] {
            one.set(MANY_JOBS - 1);
            other.set(1);
            let started = Instant::now();
            let (admitted, ()) = tokio::join!(backpressure.admit(ALL), async {
                if completes {
                    one.set(MANY_JOBS - 2);
                } else {
                    drop(std::mem::replace(&mut other, backpressure.add_partition()));
                }
            });
            assert_eq!((admitted, started.elapsed()), (ALL, Duration::ZERO));
        }
    }
}
