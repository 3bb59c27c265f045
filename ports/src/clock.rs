//! The only reader of the system clock.

use longshore_proto::Timestamp;

/// Returns the time of this machine's clock.
///
/// Decisions of the state machine do not depend on it, but on the timestamps of records. It is used to timestamp records
/// and attempts, and to find the timers that are due.
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the only reader of the clock")]
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
