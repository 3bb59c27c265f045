//! What time it is by the log, whatever the clock here says.
//!
//! Deadlines are counted from the moments that the log gives to its records, which are those of the broker's clock. So
//! they are compared with the same clock: the moment of the newest record, and what has passed here since it was read. A
//! scheduler whose clock is wrong, or is set while it runs, fires its timers in time all the same, a little late by what
//! the record took to get here. While a machine sleeps no time passes for it, until the next record tells.

use longshore_proto::Timestamp;
use tokio::time::Instant;

/// The moment of a record by the log's clock, and when it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogTime {
    record: Timestamp,
    read: Instant,
}

impl LogTime {
    /// Before anything was read: our own clock's moment for that of a record.
    pub(super) const fn new(ours: Timestamp, now: Instant) -> Self {
        Self { record: ours, read: now }
    }

    /// A record was read.
    pub(super) const fn read(&mut self, record: Timestamp, now: Instant) {
        (self.record, self.read) = (record, now);
    }

    /// What time it is by the log.
    pub(super) fn at(self, now: Instant) -> Timestamp {
        self.record.plus(now.saturating_duration_since(self.read))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_as_late_as_the_last_record_and_what_has_passed_since() {
        let moment = Timestamp::from_millis;
        let start = Instant::now();
        let passed = |millis| start + Duration::from_millis(millis);
        let mut time = LogTime::new(moment(70_000), start);
        assert_eq!(time.at(passed(20)), moment(70_020), "ours, before anything was read");
        time.read(moment(100_000), passed(50));
        assert_eq!(time.at(passed(550)), moment(100_500), "the log's clock is ahead of ours");
        time.read(moment(60_000), passed(600));
        assert_eq!(time.at(passed(650)), moment(60_050), "the log's clock was set back");
        assert_eq!(time.at(passed(600)), moment(60_000));
    }
}
