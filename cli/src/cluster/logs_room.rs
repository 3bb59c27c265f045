//! Room in the logs for more runs, as a scheduler measures it: the gauge, and a log line when submits begin or cease to be
//! refused.

use std::sync::{Mutex, PoisonError};

use longshore_scheduler::ADMISSION_LIMIT_PERCENT;
use metrics::gauge;
use tracing::warn;

/// Whether submits are refused because the logs are too full. Each scheduler logs a change once.
#[derive(Debug, Default)]
pub(super) struct LogsRoom {
    is_closed: Mutex<bool>,
}

impl LogsRoom {
    /// Notes the fullness of the fullest log, in per cent, as the admission of submits measures it.
    pub(super) fn note(&self, percent: u64) {
        let percent = u32::try_from(percent).unwrap_or(u32::MAX);
        gauge!("longshore_logs_fullness_ratio").set(f64::from(percent) / 100.0);
        let is_closed = u64::from(percent) >= ADMISSION_LIMIT_PERCENT;
        match (self.replace(is_closed), is_closed) {
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

    /// Returns the state before.
    fn replace(&self, is_closed: bool) -> bool {
        // No code that holds the lock can panic half-way.
        let mut before = self.is_closed.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *before, is_closed)
    }
}
