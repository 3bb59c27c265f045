//! Jobs that wait before their call: for their claim, or for the grant of a leader.
//!
//! Both take milliseconds while Redis and the leaders answer. Metrics and readiness show waits that last.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::gauge;
use tokio::time::{Instant, sleep};

/// Interval at which the metrics are measured.
const MEASURING_INTERVAL: Duration = Duration::from_secs(1);

/// The reason why a job waits.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum WaitReason {
    /// The store of claims has not answered.
    Claim,
    /// No leader has decided about the grant.
    Grant,
}

impl WaitReason {
    const ALL: [Self; 2] = [Self::Claim, Self::Grant];

    /// Returns the name in metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Grant => "grant",
        }
    }
}

/// The waiting jobs of a worker. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct JobWaits(Arc<Mutex<WaitingJobs>>);

/// The start of each wait, by its reason and number. Later waits have greater numbers.
#[derive(Debug, Default)]
struct WaitingJobs {
    since: BTreeMap<(WaitReason, u64), Instant>,
    next: u64,
}

/// The jobs that wait for the same reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct WaitSummary {
    /// Number of jobs.
    pub jobs: usize,
    /// The longest wait so far.
    pub longest: Duration,
}

impl JobWaits {
    /// Returns the jobs that wait for a reason now.
    pub fn summary(&self, reason: WaitReason) -> WaitSummary {
        let waiting = self.lock();
        let mut since = waiting.since.range((reason, 0)..=(reason, u64::MAX)).map(|(_, since)| since);
        let Some(first) = since.next() else { return WaitSummary::default() };
        WaitSummary { jobs: 1 + since.count(), longest: first.elapsed() }
    }

    /// Counts a job as waiting until the returned value is dropped.
    pub(super) fn begin(&self, reason: WaitReason) -> JobWait {
        let mut waiting = self.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.since.insert((reason, number), Instant::now());
        drop(waiting);
        JobWait { waits: self.clone(), key: (reason, number) }
    }

    /// Exports the metrics for as long as it is polled.
    pub(super) async fn measure(&self) -> Infallible {
        loop {
            for reason in WaitReason::ALL {
                let WaitSummary { jobs, longest } = self.summary(reason);
                let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
                gauge!("longshore_worker_jobs_waiting", "reason" => reason.as_str()).set(jobs);
                gauge!("longshore_worker_oldest_wait_seconds", "reason" => reason.as_str())
                    .set(longest.as_secs_f64());
            }
            sleep(MEASURING_INTERVAL).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, WaitingJobs> {
        // No code that holds the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wait of one job.
pub(super) struct JobWait {
    waits: JobWaits,
    key: (WaitReason, u64),
}

impl Drop for JobWait {
    fn drop(&mut self) {
        self.waits.lock().since.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn longest_wait_is_that_of_the_job_that_began_first_and_still_waits() {
        let waits = JobWaits::default();
        let first = waits.begin(WaitReason::Grant);
        sleep(Duration::from_secs(3)).await;
        let second = waits.begin(WaitReason::Grant);
        let claim = waits.begin(WaitReason::Claim);
        sleep(Duration::from_secs(2)).await;
        let of = |jobs, seconds| WaitSummary { jobs, longest: Duration::from_secs(seconds) };
        assert_eq!(waits.summary(WaitReason::Grant), of(2, 5));
        drop(first);
        assert_eq!(waits.summary(WaitReason::Grant), of(1, 2));
        drop((second, claim));
        assert_eq!(waits.summary(WaitReason::Grant), WaitSummary::default());
        assert_eq!(waits.summary(WaitReason::Claim), WaitSummary::default());
    }
}
