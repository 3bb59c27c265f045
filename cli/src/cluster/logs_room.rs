//! Room in the logs for more runs: the gauge of a scheduler, and a log line when submits begin or cease to be refused.

use std::sync::{Mutex, PoisonError};

use longshore_ports::ADMISSION_LIMIT_PERCENT;
use metrics::gauge;
use tracing::warn;

/// Hysteresis below the limit, in per cent: measurements vary a little from one to the next.
const REOPENED_BELOW: u64 = 2;

/// The admission state of submits, by the fullness of the logs. Each scheduler logs a change once.
#[derive(Debug, Default)]
pub(super) struct LogsRoom {
    is_closed: Mutex<bool>,
}

impl LogsRoom {
    /// Records the fullness of the fullest log, in per cent, as the admission of submits measures it.
    pub(super) fn record(&self, percent: u64) {
        let percent = u32::try_from(percent).unwrap_or(u32::MAX);
        gauge!("longshore_logs_fullness_ratio").set(f64::from(percent) / 100.0);
        match self.change(u64::from(percent)) {
            (false, true) => warn!(
                percent,
                limit = ADMISSION_LIMIT_PERCENT,
                "the logs are too full: requests to submit are refused and published submits wait, until `max_file` of the \
                 NATS account is raised"
            ),
            (true, false) => {
                warn!(
                    percent,
                    limit = ADMISSION_LIMIT_PERCENT,
                    "the logs have room: submits are admitted again"
                );
            }
            (false, false) | (true, true) => {}
        }
    }

    /// Applies a measurement. Returns whether submits were refused before, and are refused now.
    fn change(&self, percent: u64) -> (bool, bool) {
        // The lock is never poisoned with a half-made change.
        let mut is_closed = self.is_closed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *is_closed;
        let limit = if before { ADMISSION_LIMIT_PERCENT - REOPENED_BELOW } else { ADMISSION_LIMIT_PERCENT };
        *is_closed = percent >= limit;
        (before, *is_closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_at_the_limit_change_state_once() {
        let room = LogsRoom::default();
        let changes = [69, 70, 69, 70, 68, 67, 69].map(|percent| room.change(percent));
        let changed: Vec<_> = changes.iter().filter(|(before, now)| before != now).collect();
        assert_eq!(changed, [&(false, true), &(true, false)]);
    }
}
