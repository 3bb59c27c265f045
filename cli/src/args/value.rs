//! Types and parsers of option values.

use std::collections::BTreeSet;
use std::num::{NonZeroU16, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use longshore_proto::{ServerName, Timestamp, ToolName};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest timeout of a call from the command line.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// `name=value`. The value may contain further `=`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NameValue {
    /// The text before the first `=`.
    pub(crate) name: String,
    /// The text after it.
    pub(crate) value: String,
}

impl FromStr for NameValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok(Self { name: name.trim().to_owned(), value: value.to_owned() })
            }
            _ => Err("write it as name=value".to_owned()),
        }
    }
}

/// Parses an input. The error about a text that looks like a file or an object names the option for it.
pub(crate) fn input(text: &str) -> Result<NameValue, String> {
    let is_stdin = matches!(text, "-" | "@-");
    let is_file = text.starts_with('@') || [".json", ".yaml", ".yml"].iter().any(|end| text.ends_with(end));
    let is_object = text.trim_start().starts_with('{');
    text.parse().map_err(|why: String| match (is_stdin, is_file || is_object) {
        (true, _) => format!("{why}; a JSON object of inputs on stdin is read with --input-file -"),
        (false, true) => format!("{why}; an object of inputs is read from a file with --input-file FILE"),
        (false, false) => why,
    })
}

/// Returns the first name that is given twice.
pub(crate) fn given_twice(pairs: &[NameValue]) -> Option<&str> {
    let mut names = BTreeSet::new();
    pairs.iter().map(|pair| pair.name.as_str()).find(|name| !names.insert(*name))
}

/// `server/tool`, split at the first slash as in a workflow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ToolTarget {
    /// The server.
    pub(crate) server: ServerName,
    /// The tool.
    pub(crate) tool: ToolName,
}

impl FromStr for ToolTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (server, tool) = text.split_once('/').ok_or("write it as server/tool")?;
        let server = server.parse().map_err(|error: longshore_proto::IdError| error.to_string())?;
        let tool = tool.parse().map_err(|error: longshore_proto::IdError| error.to_string())?;
        Ok(Self { server, tool })
    }
}

/// `server`, or `server/tool`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ToolSelection {
    /// The server.
    pub(crate) server: ServerName,
    /// One of its tools; `None` for all of them.
    pub(crate) tool: Option<ToolName>,
}

impl FromStr for ToolSelection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') {
            let ToolTarget { server, tool } = text.parse()?;
            return Ok(Self { server, tool: Some(tool) });
        }
        let server = text.parse().map_err(|error: longshore_proto::IdError| error.to_string())?;
        Ok(Self { server, tool: None })
    }
}

/// Parses `500ms`, `30s`, `5m` or `1h`: a whole number and a unit, as in a workflow.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let millis = match text.get(digits.len()..) {
        Some("ms") => 1,
        Some("s") => 1_000,
        Some("m") => 60_000,
        Some("h") => 3_600_000,
        _ => return Err("write a whole number and a unit: 500ms, 30s, 5m or 1h".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| format!("`{digits}` is not a whole number"))?;
    let duration = Duration::from_millis(number.saturating_mul(millis));
    if duration.is_zero() || duration > MAX_TIMEOUT {
        return Err("it must be more than 0, and at most 24h".to_owned());
    }
    Ok(duration)
}

/// A moment in the past, as a duration before now or as a date.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SinceTime {
    /// This long before now.
    Ago(Duration),
    /// At this moment.
    At(Timestamp),
}

impl SinceTime {
    /// Returns the moment, relative to `now`.
    pub(crate) fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(ago) => {
                let millis = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
                Timestamp::from_millis(now.as_millis().saturating_sub(millis))
            }
            Self::At(moment) => moment,
        }
    }
}

/// Number of digits of present times in milliseconds since 1970.
const MILLIS_DIGITS: usize = 13;

impl FromStr for SinceTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
        let seconds = match unit {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3_600),
            "d" => Some(86_400),
            _ => None,
        };
        if let (Some(seconds), Ok(number)) = (seconds, digits.parse::<u64>()) {
            return Ok(Self::Ago(Duration::from_secs(number.saturating_mul(seconds))));
        }
        // JSON has times in milliseconds. Fewer digits would be a mistake for a duration or a year.
        if text.len() >= MILLIS_DIGITS
            && let Ok(millis) = text.parse()
        {
            return Ok(Self::At(Timestamp::from_millis(millis)));
        }
        let moment = if text.contains(['T', 't']) { text.to_owned() } else { format!("{text}T00:00:00Z") };
        let parsed = OffsetDateTime::parse(&moment, &Rfc3339).ok();
        let millis = parsed.and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
        millis.map(|millis| Self::At(Timestamp::from_millis(millis))).ok_or_else(|| {
            "write how long ago (90s, 30m, 2h, 7d), a date (2026-11-20, in UTC), or a moment (2026-11-20T15:00:00Z, or in \
             milliseconds as in JSON)"
                .to_owned()
        })
    }
}

/// Parses the number of concurrent calls: at least one, and at most the number of ports of a machine.
pub(super) fn slots(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse::<u16>().ok().and_then(NonZeroU16::new) {
        Some(slots) => Ok(slots.into()),
        None => Err(format!("write a whole number from 1 to {}; each server has one slot more", u16::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pair_is_split_at_the_first_equals_sign() {
        let pair: NameValue = "query=a=b".parse().expect("a pair");
        assert_eq!((pair.name.as_str(), pair.value.as_str()), ("query", "a=b"));
        assert_eq!("empty=".parse::<NameValue>().expect("a pair").value, "");
        assert!("=x".parse::<NameValue>().is_err());
        assert!("x".parse::<NameValue>().is_err());
    }

    #[test]
    fn error_about_a_file_or_an_object_names_the_option_for_it() {
        assert_eq!(input("a={}").expect("a pair").value, "{}");
        assert_eq!(input("a=@x.json").expect("a pair").value, "@x.json");
        for (text, words) in [
            ("@-", "on stdin is read with --input-file -"),
            ("-", "on stdin is read with --input-file -"),
            ("@inputs.json", "from a file with --input-file FILE"),
            ("inputs.yaml", "from a file with --input-file FILE"),
            ("{\"a\": 1}", "from a file with --input-file FILE"),
            ("a", "write it as name=value"),
        ] {
            assert!(input(text).expect_err(text).ends_with(words), "{text}");
        }
    }

    #[test]
    fn target_is_split_at_the_first_slash() {
        let target: ToolTarget = "files/dir/read.text".parse().expect("a target");
        assert_eq!((target.server.as_str(), target.tool.as_str()), ("files", "dir/read.text"));
        assert!("files".parse::<ToolTarget>().is_err());
        assert!("fi les/x".parse::<ToolTarget>().is_err());
    }

    #[test]
    fn duration_has_a_unit_and_a_bound() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for bad in ["", "5", "s", "0s", "1.5s", "-1s", "25h", "99999999999999999999h", "5 s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn since_is_a_duration_or_a_date() {
        let now = Timestamp::from_millis(1_795_187_471_042);
        let since = |text: &str| text.parse::<SinceTime>().map(|since| since.moment(now).to_string());
        assert_eq!(since("2h").as_deref(), Ok("2026-11-20T13:11:11.042Z"));
        assert_eq!(since("7d").as_deref(), Ok("2026-11-13T15:11:11.042Z"));
        assert_eq!(since("99999999d").as_deref(), Ok("1970-01-01T00:00:00.000Z"));
        assert_eq!(since("2026-11-19").as_deref(), Ok("2026-11-19T00:00:00.000Z"));
        assert_eq!(since("2026-11-19T01:00:00.5+01:00").as_deref(), Ok("2026-11-19T00:00:00.500Z"));
        assert_eq!(since("1795187471042").as_deref(), Ok("2026-11-20T15:11:11.042Z"));
        for bad in ["", "2", "2026", "2w", "h", "-2h", "yesterday", "2026-13-01", "1969-01-01"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn slots_are_at_least_one() {
        assert_eq!(slots("1"), Ok(NonZeroUsize::MIN));
        assert_eq!(slots("65535").map(NonZeroUsize::get), Ok(65_535));
        for bad in ["0", "-1", "65536", "many", ""] {
            assert!(slots(bad).is_err_and(|why| why.starts_with("write a whole number from 1")), "{bad}");
        }
    }
}
