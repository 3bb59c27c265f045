//! Room for more runs in the logs.
//!
//! Results and timers are appended to the same log as submits. A full log accepts none of them, so no run could end and nothing
//! would become free. So submits are refused while there is still room for what follows from admitted runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use longshore_ports::{ADMISSION_LIMIT_PERCENT, Error, RunLog};
use longshore_proto::Partition;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::refusal::Refusal;

/// Age at which the fullness of a log below half of the limit is measured again in the background.
const HALF_FREE_REFRESH_AGE: Duration = Duration::from_secs(2);

/// Longest time that the fullness of a log below half of the limit is used. Other schedulers may fill the log, but hardly within
/// so short a time.
const HALF_FREE_MAX_AGE: Duration = Duration::from_secs(30);

/// Longest time that the fullness of any other log is used. Submits that are admitted meanwhile take a small part of the rest.
const MAX_AGE: Duration = Duration::from_millis(250);

type Measurements = Mutex<BTreeMap<Partition, FullnessMeasurement>>;

/// The measured fullness of each log.
pub(crate) struct LogRoom {
    log: Arc<dyn RunLog>,
    measurements: Arc<Measurements>,
    /// Measurements in the background. They change nothing, so even the end of the process does not wait for them.
    refreshes: TaskTracker,
}

#[derive(Clone, Copy)]
struct FullnessMeasurement {
    percent: u64,
    measured_at: Instant,
    /// A refresh is under way.
    is_refreshing: bool,
}

impl LogRoom {
    pub(super) fn new(log: Arc<dyn RunLog>) -> Self {
        Self { log, measurements: Arc::default(), refreshes: TaskTracker::new() }
    }

    /// Checks that the log of a partition has room for a submit. A log with plenty of room is measured again in the background,
    /// for later submits.
    pub(super) async fn check(&self, partition: Partition) -> Result<(), Refusal> {
        let percent = match self.cached(partition) {
            Some(percent) => percent,
            None => measure(&*self.log, &self.measurements, partition).await?,
        };
        if percent < ADMISSION_LIMIT_PERCENT {
            Ok(())
        } else {
            Err(Refusal::Full { partition, percent, limit: ADMISSION_LIMIT_PERCENT })
        }
    }

    /// Checks the logs of several partitions.
    pub(crate) async fn check_all(
        &self,
        partitions: BTreeSet<Partition>,
    ) -> BTreeMap<Partition, Result<(), Arc<Refusal>>> {
        let checks = partitions.into_iter().map(async |partition| {
            let room = self.check(partition).await;
            (partition, room.map_err(Arc::new))
        });
        join_all(checks).await.into_iter().collect()
    }

    /// Returns the last measured fullness, unless it is too old. Starts a measurement in the background if it soon will be.
    fn cached(&self, partition: Partition) -> Option<u64> {
        let mut measurements = lock(&self.measurements);
        let last = measurements.get_mut(&partition)?;
        let age = last.measured_at.elapsed();
        if last.percent >= ADMISSION_LIMIT_PERCENT / 2 {
            return (age < MAX_AGE).then_some(last.percent);
        }
        if age >= HALF_FREE_REFRESH_AGE && !last.is_refreshing {
            last.is_refreshing = true;
            self.refresh(partition);
        }
        (age < HALF_FREE_MAX_AGE).then_some(last.percent)
    }

    /// Measures a log in the background.
    fn refresh(&self, partition: Partition) {
        let (log, measurements) = (Arc::clone(&self.log), Arc::clone(&self.measurements));
        self.refreshes.spawn(async move {
            if let Err(error) = measure(&*log, &measurements, partition).await {
                debug!(%partition, %error, "cannot measure how full the log is; the next submit waits for it");
                lock(&measurements).remove(&partition);
            }
        });
    }
}

async fn measure(log: &dyn RunLog, measurements: &Measurements, partition: Partition) -> Result<u64, Error> {
    let percent = log.fullness(partition).await?;
    let measured_at = Instant::now();
    lock(measurements).insert(partition, FullnessMeasurement { percent, measured_at, is_refreshing: false });
    Ok(percent)
}

fn lock(measurements: &Measurements) -> MutexGuard<'_, BTreeMap<Partition, FullnessMeasurement>> {
    // No code that holds the lock can panic in the middle of a change.
    measurements.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use longshore_ports::LogReader;
    use longshore_proto::{Event, Incarnation, Seq};
    use tokio::task::yield_now;
    use tokio::time::advance;

    use super::*;

    const P0: Partition = Partition(0);

    /// A log that answers its fullness only, and counts the requests.
    #[derive(Default)]
    struct MeasuredLog {
        percent: AtomicU64,
        requests: AtomicU64,
    }

    #[async_trait]
    impl RunLog for MeasuredLog {
        async fn incarnation(&self, _: Partition) -> Result<Incarnation, Error> {
            Err(Error::permanent("test", "not expected"))
        }
        async fn append(&self, _: Partition, _: &[Event]) -> Result<Vec<Seq>, Error> {
            Err(Error::permanent("test", "not expected"))
        }
        async fn tail(&self, _: Partition) -> Result<Seq, Error> {
            Err(Error::permanent("test", "not expected"))
        }
        async fn read(&self, _: Partition, _: Seq) -> Result<Box<dyn LogReader>, Error> {
            Err(Error::permanent("test", "not expected"))
        }
        async fn trim(&self, _: Partition, _: Seq) -> Result<(), Error> {
            Err(Error::permanent("test", "not expected"))
        }
        async fn fullness(&self, _: Partition) -> Result<u64, Error> {
            self.requests.fetch_add(1, Ordering::Relaxed);
            match self.percent.load(Ordering::Relaxed) {
                101.. => Err(Error::transient("test", "away")),
                percent => Ok(percent),
            }
        }
    }

    impl MeasuredLog {
        fn requests(&self) -> u64 {
            self.requests.load(Ordering::Relaxed)
        }
        fn set(&self, percent: u64) {
            self.percent.store(percent, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_spacious_log_is_measured_again_in_the_background() {
        let log = Arc::new(MeasuredLog::default());
        let room = LogRoom::new(log.clone());
        assert!(room.check(P0).await.is_ok());
        log.set(90);
        advance(HALF_FREE_REFRESH_AGE).await;
        for _ in 0..2 {
            assert!(room.check(P0).await.is_ok(), "by the last measurement");
        }
        yield_now().await;
        assert_eq!(log.requests(), 2, "one measurement for both");
        assert!(matches!(room.check(P0).await, Err(Refusal::Full { percent: 90, .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_measurement_and_one_that_cannot_be_repeated_are_not_used() {
        let log = Arc::new(MeasuredLog::default());
        let room = LogRoom::new(log.clone());
        assert!(room.check(P0).await.is_ok());
        log.set(90);
        advance(HALF_FREE_MAX_AGE).await;
        assert!(room.check(P0).await.is_err());
        log.set(0);
        advance(MAX_AGE).await;
        assert!(room.check(P0).await.is_ok());
        log.set(101);
        advance(HALF_FREE_REFRESH_AGE).await;
        assert!(room.check(P0).await.is_ok(), "by the last measurement");
        yield_now().await;
        assert!(room.check(P0).await.is_err());
    }
}
