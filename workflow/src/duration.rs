//! Durations in text form: `30s`, `1h30m`, `500ms`.

use std::time::Duration;

use crate::source::shorten;

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

/// The units with their milliseconds and the words for them, the largest first.
const UNITS: [(&str, u64, &[&str]); 5] = [
    ("d", 86_400_000, &["d", "day", "days"]),
    ("h", 3_600_000, &["h", "hr", "hrs", "hour", "hours"]),
    ("m", 60_000, &["m", "min", "mins", "minute", "minutes"]),
    ("s", 1_000, &["", "s", "sec", "secs", "second", "seconds"]),
    ("ms", 1, &["ms", "msec", "millis", "millisecond", "milliseconds"]),
];

/// Returns the duration that is meant by a text in another form, such as `0.5` (seconds), `1.5h`, `30 sec` and `PT1H`.
pub(crate) fn meant(text: &str) -> Option<String> {
    let lower = match text.strip_prefix('P') {
        // Before the `T`, an `M` of ISO 8601 is a month.
        Some(iso) if iso.split('T').next().is_some_and(|days| days.contains('M')) => return None,
        Some(iso) => iso.replacen('T', "", 1).to_ascii_lowercase(),
        None => text.to_ascii_lowercase(),
    };
    let mut rest = lower.trim();
    let (mut sum, mut last) = (0_u64, None);
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, after) = rest.split_at(rest.find(|c| !is_number(c)).unwrap_or(rest.len()));
        let (word, after) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        let unit = UNITS.iter().position(|(_, _, words)| words.contains(&word.trim()))?;
        sum = sum.checked_add(milliseconds(number, UNITS.get(unit)?.1)?)?;
        (rest, last) = (after, Some(unit));
    }
    let (unit, millis, _) = UNITS.iter().skip(last?).find(|(_, millis, _)| sum.is_multiple_of(*millis))?;
    let written = format!("{}{unit}", sum / millis);
    parse(&written).is_ok().then_some(written)
}

/// Returns a decimal number of units in milliseconds, if it is a whole number of them.
fn milliseconds(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let scaled = format!("{whole}{fraction}").parse::<u64>().ok()?.checked_mul(unit)?;
    scaled.is_multiple_of(scale).then_some(scaled / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meant_duration_is_found_in_other_forms() {
        let cases = [
            ("0.5", "500ms"),
            ("90", "90s"),
            ("1.5h", "90m"),
            ("1.5H", "90m"),
            ("30 sec", "30s"),
            ("1 hour 30 min", "90m"),
            ("0.25s", "250ms"),
            ("PT1H30M", "90m"),
            ("P1DT2H", "26h"),
            ("PT0.5S", "500ms"),
            (".5 days", "12h"),
        ];
        for (text, wanted) in cases {
            assert_eq!(meant(text).as_deref(), Some(wanted), "{text}");
        }
        for text in
            ["", "soon", "-1s", "1.2.3s", "0.0001s", "P1M", "400 days", "1w", "s", "99999999999999999999h"]
        {
            assert_eq!(meant(text), None, "{text}");
        }
    }

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
