//! Times in messages and results.
//!
//! A user compares a time at the terminal with the local clock, so it is local there, with its offset. In pipes, files and
//! JSON it is UTC, whatever the machine's time zone. Both are RFC 3339, which `--since` accepts.

use jiff::tz::{Offset, TimeZone};
use longshore_proto::Timestamp;

/// RFC 3339 with milliseconds.
const FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.3f%:z";

/// Date and time without milliseconds and offset, for tables that have little room.
const SECONDS: &str = "%Y-%m-%dT%H:%M:%S";

/// Month, day and minute, for tables with very little room.
const MINUTES: &str = "%m-%d %H:%M";

/// Precision of a time in a table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TimePrecision {
    /// RFC 3339 with milliseconds.
    Full,
    /// Date and time up to the second.
    Seconds,
    /// Month, day and time up to the minute.
    Minutes,
}

/// Time zone in which times are printed.
#[derive(Clone, Debug, Default)]
pub(crate) struct TimeFormatter {
    /// `None` for UTC.
    zone: Option<TimeZone>,
}

impl TimeFormatter {
    /// Times in UTC.
    pub(super) const UTC: Self = Self { zone: None };

    /// Returns times in the zone of `TZ` or of the system; in UTC if neither is known.
    pub(super) fn local() -> Self {
        Self { zone: TimeZone::try_system().ok() }
    }

    /// Formats a time in full.
    pub(crate) fn shown(&self, at: Timestamp) -> String {
        self.in_zone(at).unwrap_or_else(|| at.to_string())
    }

    /// Formats a time in this precision.
    pub(crate) fn with_precision(&self, at: Timestamp, form: TimePrecision) -> String {
        let format = match form {
            TimePrecision::Full => return self.shown(at),
            TimePrecision::Seconds => SECONDS,
            TimePrecision::Minutes => MINUTES,
        };
        let zone = self.zone.clone().unwrap_or(TimeZone::UTC);
        let moment = i64::try_from(at.as_millis()).map(jiff::Timestamp::from_millisecond);
        match moment {
            Ok(Ok(moment)) => moment.to_zoned_datetime(zone).strftime(format).to_string(),
            _ => at.to_string(),
        }
    }

    /// Formats a time in the local zone. Returns `None` for UTC, which [`Timestamp`] formats itself, and for times beyond
    /// the year 9999.
    fn in_zone(&self, at: Timestamp) -> Option<String> {
        let millis = i64::try_from(at.as_millis()).ok()?;
        let zoned = jiff::Timestamp::from_millisecond(millis).ok()?.to_zoned_datetime(self.zone.clone()?);
        (zoned.offset() != Offset::UTC).then(|| zoned.strftime(FORMAT).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_local_with_their_offset_or_utc() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        let (winter, summer) =
            (Timestamp::from_millis(1_795_187_471_042), Timestamp::from_millis(1_782_000_000_000));
        let local = TimeFormatter { zone: Some(berlin) };
        assert_eq!(local.shown(winter), "2026-11-20T16:11:11.042+01:00");
        assert_eq!(local.shown(summer), "2026-06-21T02:00:00.000+02:00");
        for utc in [TimeFormatter::UTC, TimeFormatter { zone: Some(TimeZone::UTC) }] {
            assert_eq!(utc.shown(winter), "2026-11-20T15:11:11.042Z");
        }
        assert_eq!(local.with_precision(winter, TimePrecision::Seconds), "2026-11-20T16:11:11");
        assert_eq!(TimeFormatter::UTC.with_precision(winter, TimePrecision::Minutes), "11-20 15:11");
        assert_eq!(
            local.shown(Timestamp::from_millis(u64::MAX)),
            Timestamp::from_millis(u64::MAX).to_string()
        );
    }
}
