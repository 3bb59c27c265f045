//! Whether there is room for more runs: what is admitted also has to be able to end.
//!
//! Results and timers go to the log that submits go to, and a log that is full takes neither; then nothing could end, and
//! nothing would ever become free. So submits are turned away while there is still room for the rest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_ports::{ADMISSION_LIMIT_PERCENT, Error, RunLog};
use longshore_proto::Partition;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::Refusal;

/// When a log that was less than half as full as it may be is looked at again, and how long what was seen of it is
/// believed until then: others may have filled it, though hardly within so short a time.
const SPACIOUS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// How long what was seen of any other log is believed. What is admitted meanwhile is little against what is left.
const BELIEVED: Duration = Duration::from_millis(250);

/// What was seen of each log.
pub(super) struct Admission {
    log: Arc<dyn RunLog>,
    seen: Arc<Mutex<BTreeMap<Partition, Seen>>>,
    /// Those that nobody waits for, not even the end of the process: they only look.
    looks: TaskTracker,
}

#[derive(Clone, Copy)]
struct Seen {
    percent: u64,
    at: Instant,
    /// Whether somebody looks again.
    looking: bool,
}

impl Admission {
    pub(super) fn new(log: Arc<dyn RunLog>) -> Self {
        Self { log, seen: Arc::default(), looks: TaskTracker::new() }
    }

    /// Grants a place in the log of a partition.
    ///
    /// Nobody waits while a log that had plenty of room is looked at again: what is seen then is for those who come later.
    pub(super) async fn admit(&self, partition: Partition) -> Result<(), Refusal> {
        let percent = match self.believed(partition) {
            Some(percent) => percent,
            None => look(&*self.log, &self.seen, partition).await?,
        };
        if percent < ADMISSION_LIMIT_PERCENT { Ok(()) } else { Err(Refusal::Full { partition, percent }) }
    }

    /// What was seen, if it is still believed.
    fn believed(&self, partition: Partition) -> Option<u64> {
        let mut all = lock(&self.seen);
        let seen = all.get_mut(&partition)?;
        let age = seen.at.elapsed();
        if seen.percent >= ADMISSION_LIMIT_PERCENT / 2 {
            return (age < BELIEVED).then_some(seen.percent);
        }
        let (looked_at_again, believed) = SPACIOUS;
        if age >= looked_at_again && !seen.looking {
            seen.looking = true;
            self.look_again(partition);
        }
        (age < believed).then_some(seen.percent)
    }

    fn look_again(&self, partition: Partition) {
        let (log, seen) = (Arc::clone(&self.log), Arc::clone(&self.seen));
        self.looks.spawn(async move {
            if let Err(error) = look(&*log, &seen, partition).await {
                debug!(%partition, %error, "how full the log is cannot be seen");
                // The next submit waits for it.
                lock(&seen).remove(&partition);
            }
        });
    }
}

async fn look(
    log: &dyn RunLog,
    seen: &Mutex<BTreeMap<Partition, Seen>>,
    partition: Partition,
) -> Result<u64, Error> {
    let percent = log.fullness(partition).await?;
    lock(seen).insert(partition, Seen { percent, at: Instant::now(), looking: false });
    Ok(percent)
}

fn lock(seen: &Mutex<BTreeMap<Partition, Seen>>) -> MutexGuard<'_, BTreeMap<Partition, Seen>> {
    // Nothing can panic half-way through a change of it.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// A log of which only its fullness is asked, and how often that was.
    #[derive(Default)]
    struct Measured {
        percent: AtomicU64,
        looks: AtomicU64,
    }

    #[async_trait]
    impl RunLog for Measured {
        async fn incarnation(&self, _: Partition) -> Result<Incarnation, Error> {
            Err(Error::permanent("test", "not asked"))
        }
        async fn append(&self, _: Partition, _: &[Event]) -> Result<Vec<Seq>, Error> {
            Err(Error::permanent("test", "not asked"))
        }
        async fn tail(&self, _: Partition) -> Result<Seq, Error> {
            Err(Error::permanent("test", "not asked"))
        }
        async fn read(&self, _: Partition, _: Seq) -> Result<Box<dyn LogReader>, Error> {
            Err(Error::permanent("test", "not asked"))
        }
        async fn trim(&self, _: Partition, _: Seq) -> Result<(), Error> {
            Err(Error::permanent("test", "not asked"))
        }
        async fn fullness(&self, _: Partition) -> Result<u64, Error> {
            self.looks.fetch_add(1, Ordering::Relaxed);
            match self.percent.load(Ordering::Relaxed) {
                101.. => Err(Error::transient("test", "away")),
                percent => Ok(percent),
            }
        }
    }

    impl Measured {
        fn looks(&self) -> u64 {
            self.looks.load(Ordering::Relaxed)
        }
        fn set(&self, percent: u64) {
            self.percent.store(percent, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_spacious_log_is_looked_at_again_for_those_who_come_later() {
        let log = Arc::new(Measured::default());
        let admission = Admission::new(log.clone());
        assert!(admission.admit(P0).await.is_ok());
        log.set(90);
        advance(SPACIOUS.0).await;
        for _ in 0..2 {
            assert!(admission.admit(P0).await.is_ok(), "by what was seen last");
        }
        yield_now().await;
        assert_eq!(log.looks(), 2, "once for both");
        assert!(matches!(admission.admit(P0).await, Err(Refusal::Full { percent: 90, .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_long_ago_or_cannot_be_seen_again_is_not_believed() {
        let log = Arc::new(Measured::default());
        let admission = Admission::new(log.clone());
        assert!(admission.admit(P0).await.is_ok());
        log.set(90);
        advance(SPACIOUS.1).await;
        assert!(admission.admit(P0).await.is_err());
        log.set(0);
        advance(BELIEVED).await;
        assert!(admission.admit(P0).await.is_ok());
        log.set(101);
        advance(SPACIOUS.0).await;
        assert!(admission.admit(P0).await.is_ok(), "by what was seen last");
        yield_now().await;
        assert!(admission.admit(P0).await.is_err());
    }
}
