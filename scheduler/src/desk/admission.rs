//! Whether there is room for more runs: what is admitted also has to be able to end.
//!
//! Results and timers go to the log that submits go to, and a log that is full takes neither; then nothing could end, and
//! nothing would ever become free. So submits are turned away while there is still room for the rest.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use longshore_backend::RunLog;
use longshore_proto::Partition;
use tokio::time::Instant;

use super::Refusal;

/// How full a log may be when a submit is admitted, in per cent. Three tenths are left for what follows from the runs
/// that were admitted; `longshore doctor` warns from here on.
const FULL_PERCENT: u64 = 70;

/// How long what was seen is believed of a log that is less than half as full as it may be, and of others. What is
/// admitted meanwhile is little against what is left.
const BELIEVED: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(250));

/// What was seen of each log, and when.
#[derive(Default)]
pub(super) struct Admission {
    seen: Mutex<BTreeMap<Partition, (Instant, u64)>>,
}

impl Admission {
    /// Grants a place in the log of a partition.
    pub(super) async fn admit(&self, log: &dyn RunLog, partition: Partition) -> Result<(), Refusal> {
        let seen = self.seen(partition);
        let percent = match seen {
            Some(percent) => percent,
            None => {
                let percent = log.fullness(partition).await?;
                let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                all.insert(partition, (Instant::now(), percent));
                percent
            }
        };
        if percent < FULL_PERCENT { Ok(()) } else { Err(Refusal::Full { partition, percent }) }
    }

    /// What was seen a moment ago.
    fn seen(&self, partition: Partition) -> Option<u64> {
        // Nothing can panic half-way through a change of it.
        let all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, percent) = *all.get(&partition)?;
        let (spacious, others) = BELIEVED;
        let believed = if percent < FULL_PERCENT / 2 { spacious } else { others };
        (at.elapsed() < believed).then_some(percent)
    }
}
