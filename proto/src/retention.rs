//! Retention of finished runs: number and age.
//!
//! The setting is in the log, and the log's clock and order decide, so that every reader removes the same runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Bounds on the finished runs that are kept. A kept run can be shown, and its id is recognised when it is submitted again.
/// Each takes about 100 bytes of memory in the scheduler, and its whole state in the checkpoint.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Retention {
    /// Maximum number of finished runs.
    pub runs: usize,
    /// Longest time since the end of a run, by the log's clock.
    pub time: Duration,
}

impl Default for Retention {
    /// Returns 100,000 runs for a week: with states of 4 KiB, about half of the gibibyte that Redis gets in the shipped settings.
    fn default() -> Self {
        Self { runs: 100_000, time: Duration::from_secs(7 * 24 * 3_600) }
    }
}

impl Retention {
    /// Returns the bounds of one of several partitions.
    #[must_use]
    pub fn per_partition(self, partitions: u16) -> Self {
        Self { runs: self.runs.div_ceil(usize::from(partitions.max(1))), ..self }
    }

    /// Returns true if the oldest of `count` runs, which ended at `ended_at`, has to be removed.
    pub fn is_over(self, count: usize, ended_at: Timestamp, now: Timestamp) -> bool {
        count > self.runs || now.since(ended_at) > self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_kept_until_there_are_too_many_or_it_is_too_old() {
        let kept = Retention { runs: 3, time: Duration::from_secs(10) };
        let at = Timestamp::from_millis;
        for (count, now, is_over) in
            [(3, 15_000, false), (4, 5_000, true), (1, 15_001, true), (1, 1_000, false)]
        {
            assert_eq!(kept.is_over(count, at(5_000), at(now)), is_over, "{count} at {now}");
        }
    }

    #[test]
    fn partitions_share_what_is_kept() {
        let kept = Retention { runs: 100, time: Duration::from_secs(1) };
        assert_eq!([1, 8, 200].map(|partitions| kept.per_partition(partitions).runs), [100, 13, 1]);
    }
}
