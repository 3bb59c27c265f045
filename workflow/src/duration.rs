//! Durations in text form: `30s`, `1h30m`, `500ms`.

use crate::source::shorten;
use std::time::Duration;

/// The longest duration: no run waits longer, and a sum of two of them cannot overflow.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// The error of a text that is not a duration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum DurationError {
    /// The text is not a sequence of numbers with units.
    #[error("`{0}` is not a duration")]
    Malformed(String),
    /// The duration is longer than [`LONGEST`].
    #[error("`{0}` is longer than 365 days")]
    TooLong(String),
}

/// Parses one or more numbers, each with a unit of `ms`, `s`, `m`, `h` or `d`.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed(shorten(text));
    let too_long = || DurationError::TooLong(shorten(text));
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(malformed)?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        if digits.is_empty() {
            return Err(malformed());
        }
        let unit_millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(malformed()),
        };
        let millis = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_millis));
        sum = sum.saturating_add(Duration::from_millis(millis.ok_or_else(too_long)?));
        rest = after;
    }
    if text.is_empty() {
        Err(malformed())
    } else if sum > LONGEST {
        Err(too_long())
    } else {
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_are_durations() {
        let cases = [
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1d", 86_400_000),
            ("2m0s", 120_000),
            ("365d", 31_536_000_000),
        ];
        for (text, millis) in cases {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "30", "s", "1.5s", "-1s", "1 s", "30 seconds", "1S", "1w", "s1", "1s2", "٣s"] {
            assert!(matches!(parse(text), Err(DurationError::Malformed(_))), "{text}");
        }
        for text in ["366d", "99999999999999999999s", "18446744073709551615d"] {
            assert!(matches!(parse(text), Err(DurationError::TooLong(_))), "{text}");
        }
    }
}
