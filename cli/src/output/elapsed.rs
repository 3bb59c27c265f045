//! Durations for people, with two significant figures.

use std::fmt;
use std::time::Duration;

/// A duration that is displayed as `12ms`, `1.2s`, `3m12s` or `1h02m`.
pub(crate) struct Elapsed(pub(crate) Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, secs) = (self.0.as_millis(), self.0.as_secs());
        let text = match secs {
            0 => format!("{millis}ms"),
            1..=59 => format!("{secs}.{}s", millis / 100 % 10),
            60..=3599 => format!("{}m{:02}s", secs / 60, secs % 60),
            _ => format!("{}h{:02}m", secs / 3600, secs / 60 % 60),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_figures() {
        let cases = [
            (0, "0ms"),
            (12, "12ms"),
            (999, "999ms"),
            (1_250, "1.2s"),
            (59_999, "59.9s"),
            (192_000, "3m12s"),
            (3_720_000, "1h02m"),
        ];
        for (millis, text) in cases {
            assert_eq!(Elapsed(Duration::from_millis(millis)).to_string(), text);
        }
    }
}
