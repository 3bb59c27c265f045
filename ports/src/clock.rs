//! The one place where the time of day is read.

use longshore_proto::Timestamp;

/// The time of day, by this machine's clock.
///
/// Never used in a decision: decisions see the timestamps of records. It stamps records, tells a leader which timers
/// are due, and marks when an attempt began.
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the edge that the rule points to")]
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
