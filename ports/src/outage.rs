//! Rate limit for log lines about repeated failures.
//!
//! Retry loops get the same error many times a second, in many tasks. Each kind of failure has a key. It is logged when it
//! starts, once a minute while it lasts, and when it ends.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Interval of log lines about a lasting failure.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The largest number of keys. Keys are literals in the code, some with a partition, so it is not reached in practice. At
/// the limit all entries are dropped, and failures that last are logged once more.
const KEYS_LIMIT: usize = 1_000;

static OUTAGES: Mutex<BTreeMap<String, Outage>> = Mutex::new(BTreeMap::new());

/// The state of one kind of failure.
#[derive(Debug, Default)]
struct Outage {
    /// Time of the first failure since the last success.
    since: Option<Instant>,
    /// Time of the last log line.
    logged_at: Option<Instant>,
    /// True if the present outage was logged, not only an earlier one.
    is_logged: bool,
}

impl Outage {
    fn record_failure(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        let is_due = self.logged_at.is_none_or(|at| now.duration_since(at) >= LOG_INTERVAL);
        if is_due {
            self.logged_at = Some(now);
            self.is_logged = true;
        }
        is_due
    }

    fn record_success(&mut self, now: Instant) -> Option<Duration> {
        let since = self.since.take()?;
        std::mem::take(&mut self.is_logged).then(|| now.duration_since(since))
    }
}

/// Records a failure. Returns true if the caller should log it.
pub fn record_failure(key: &str) -> bool {
    update(key, |outage| outage.record_failure(Instant::now()))
}

/// Records a success. Returns the duration of the outage if its start was logged, so that the caller should log its end.
pub fn record_success(key: &str) -> Option<Duration> {
    update(key, |outage| outage.record_success(Instant::now()))
}

fn update<T>(key: &str, change: impl FnOnce(&mut Outage) -> T) -> T {
    // A poisoned map is consistent: no code that holds the lock panics between two changes.
    let mut outages = OUTAGES.lock().unwrap_or_else(PoisonError::into_inner);
    if outages.len() >= KEYS_LIMIT && !outages.contains_key(key) {
        outages.clear();
    }
    match outages.get_mut(key) {
        Some(outage) => change(outage),
        None => change(outages.entry(key.to_owned()).or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_logged_when_it_starts_once_a_minute_and_when_it_ends() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(outage.record_success(at(0)), None);
        let logged: Vec<_> = (0..130).filter(|second| outage.record_failure(at(*second))).collect();
        assert_eq!(logged, [0, 60, 120]);
        assert_eq!(outage.record_success(at(130)), Some(Duration::from_secs(130)));
        assert_eq!(outage.record_success(at(131)), None);
    }

    #[test]
    fn alternating_failures_and_successes_are_logged_twice_a_minute_at_most() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let mut lines = 0;
        for second in 0..60 {
            lines += usize::from(outage.record_failure(start + Duration::from_secs(second)));
            lines += usize::from(outage.record_success(start + Duration::from_secs(second)).is_some());
        }
        assert_eq!(lines, 2);
    }
}
