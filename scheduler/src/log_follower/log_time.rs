//! Time by the log's clock.
//!
//! Deadlines are counted from the timestamps of records, which are times of the broker's clock, so they are compared with the
//! same clock: the timestamp of the newest record plus the time since it was read. Timers are right even if the clock of the
//! scheduler is wrong or is set while it runs. They are late by the time that the newest record took to arrive. While the
//! machine is suspended, no time passes until the next record is read.

use longshore_proto::Timestamp;
use tokio::time::Instant;

/// The timestamp of the newest record, and the time when it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogTime {
    record: Timestamp,
    read_at: Instant,
}

impl LogTime {
    /// Starts with the local time, until a record is read.
    pub(super) const fn new(local: Timestamp, now: Instant) -> Self {
        Self { record: local, read_at: now }
    }

    /// Notes the timestamp of a record that was read at `now`.
    pub(super) const fn note_record(&mut self, record: Timestamp, now: Instant) {
        (self.record, self.read_at) = (record, now);
    }

    /// Returns the time by the log's clock.
    pub(super) fn at(self, now: Instant) -> Timestamp {
        self.record.plus(now.saturating_duration_since(self.read_at))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn log_time_is_the_last_timestamp_plus_the_time_since_it_was_read() {
        let timestamp = Timestamp::from_millis;
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut time = LogTime::new(timestamp(70_000), start);
        assert_eq!(time.at(after(20)), timestamp(70_020), "the local time before a record is read");
        time.note_record(timestamp(100_000), after(50));
        assert_eq!(time.at(after(550)), timestamp(100_500), "the log's clock is ahead of the local one");
        time.note_record(timestamp(60_000), after(600));
        assert_eq!(time.at(after(650)), timestamp(60_050), "the log's clock was set back");
        assert_eq!(time.at(after(600)), timestamp(60_000));
    }
}
