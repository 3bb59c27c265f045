//! Logs the start and the end of an outage instead of every failed try.
//!
//! Loops that try again meet the same error many times a second, in many tasks at once. Each kind of failure has a key in
//! its process; it is logged when it starts, once a minute while it lasts, and when it is over.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often a failure that lasts is logged.
const REPEAT: Duration = Duration::from_secs(60);

/// Keys are literals in the code, some with a partition. Beyond this many, all are forgotten: what still fails is logged once
/// more.
const MOST_KEYS: usize = 1_000;

static OUTAGES: Mutex<BTreeMap<String, Outage>> = Mutex::new(BTreeMap::new());

/// A kind of failure.
#[derive(Debug, Default)]
struct Outage {
    /// When the tries began to fail, until one succeeds.
    since: Option<Instant>,
    logged_at: Option<Instant>,
    /// Whether this outage was logged, and not only an earlier one.
    is_logged: bool,
}

impl Outage {
    fn failed(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        let is_due = self.logged_at.is_none_or(|at| now.duration_since(at) >= REPEAT);
        if is_due {
            self.logged_at = Some(now);
            self.is_logged = true;
        }
        is_due
    }

    fn ended(&mut self, now: Instant) -> Option<Duration> {
        let since = self.since.take()?;
        std::mem::take(&mut self.is_logged).then(|| now.duration_since(since))
    }
}

/// Notes a failed try. Returns true if it is to be logged.
pub fn record_failure(key: &str) -> bool {
    with(key, |outage| outage.failed(Instant::now()))
}

/// Notes a success. Returns how long the outage lasted, if its start was logged and so its end should be.
pub fn record_success(key: &str) -> Option<Duration> {
    with(key, |outage| outage.ended(Instant::now()))
}

fn with<T>(key: &str, change: impl FnOnce(&mut Outage) -> T) -> T {
    // No code that holds the lock can panic half-way.
    let mut outages = OUTAGES.lock().unwrap_or_else(PoisonError::into_inner);
    if outages.len() >= MOST_KEYS && !outages.contains_key(key) {
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
        assert_eq!(outage.ended(at(0)), None);
        let logged: Vec<_> = (0..130).filter(|second| outage.failed(at(*second))).collect();
        assert_eq!(logged, [0, 60, 120]);
        assert_eq!(outage.ended(at(130)), Some(Duration::from_secs(130)));
        assert_eq!(outage.ended(at(131)), None);
    }

    #[test]
    fn tries_that_fail_and_succeed_in_turns_are_logged_twice_a_minute_at_most() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let mut lines = 0;
        for second in 0..60 {
            lines += usize::from(outage.failed(start + Duration::from_secs(second)));
            lines += usize::from(outage.ended(start + Duration::from_secs(second)).is_some());
        }
        assert_eq!(lines, 2);
    }
}
