//! What time it is by the log, whatever the clock here says.
//!
//! Deadlines are counted from the moments that the log gives to its records, which are those of the broker's clock. So
//! they are compared with the same clock: the moment of the newest record, and what has passed here since it was read. A
//! scheduler whose clock is wrong fires its timers in time all the same, a little late by what the record took to get
//! here.

use longshore_proto::Timestamp;

/// The moment of a record by the log's clock, and when it was read by ours.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LogTime {
    record: Timestamp,
    read: Timestamp,
}

impl LogTime {
    /// A record was read.
    pub(super) const fn read(&mut self, record: Timestamp, now: Timestamp) {
        (self.record, self.read) = (record, now);
    }

    /// What time it is by the log when it is `now` here. While our clock is set back, time stands still.
    pub(super) fn at(self, now: Timestamp) -> Timestamp {
        self.record.plus(now.since(self.read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_late_as_the_last_record_and_what_has_passed_since() {
        let moment = Timestamp::from_millis;
        let mut time = LogTime::default();
        assert_eq!(time.at(moment(70_000)), moment(70_000), "ours, before anything was read");
        time.read(moment(100_000), moment(70_000));
        assert_eq!(time.at(moment(70_500)), moment(100_500), "ours is behind");
        time.read(moment(100_600), moment(130_600));
        assert_eq!(time.at(moment(130_650)), moment(100_650), "ours is ahead");
        assert_eq!(time.at(moment(90_000)), moment(100_600), "ours was set back");
    }
}
