//! Whether there is room for more runs: what is admitted also has to be able to end.
//!
//! Results and timers go to the log that submits go to, and a log that is full takes neither; then nothing could end, and
//! nothing would ever become free. So submits are turned away while there is still room for the rest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_backend::{Error, RunLog};
use longshore_proto::Partition;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::Refusal;

/// How full a log may be when a submit is admitted, in per cent. Three tenths are left for what follows from the runs
/// that were admitted; `longshore doctor` warns from here on.
const FULL_PERCENT: u64 = 70;

/// How long what was seen is believed of a log that is less than half as full as it may be, and of others. What is
/// admitted meanwhile is little against what is left.
const BELIEVED: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(250));

/// What was seen of each log.
pub(super) struct Admission {
    log: Arc<dyn RunLog>,
    seen: Arc<Mutex<BTreeMap<Partition, Seen>>>,
    /// Those that nobody waits for; they end within the patience of the log.
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
    /// Of a log that had plenty of room, what was seen last decides, however long ago, and it is looked at again for those
    /// who come later: what is admitted in the meantime is what comes during one look.
    pub(super) async fn admit(&self, partition: Partition) -> Result<(), Refusal> {
        let seen = lock(&self.seen).get(&partition).copied();
        let (spacious, others) = BELIEVED;
        let percent = match seen {
            Some(Seen { percent, at, looking }) if percent < FULL_PERCENT / 2 => {
                if !looking && at.elapsed() >= spacious {
                    self.look_again(partition);
                }
                percent
            }
            Some(Seen { percent, at, .. }) if at.elapsed() < others => percent,
            _ => look(&*self.log, &self.seen, partition).await?,
        };
        if percent < FULL_PERCENT { Ok(()) } else { Err(Refusal::Full { partition, percent }) }
    }

    fn look_again(&self, partition: Partition) {
        if let Some(seen) = lock(&self.seen).get_mut(&partition) {
            seen.looking = true;
        }
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
