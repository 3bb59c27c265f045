//! Parsers of settings: each text becomes a value within its bounds, or a description of the expected form.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use longshore_ports::redact_addresses;
use percent_encoding::percent_decode_str;
use url::Url;

/// Bounds of the number of logs. Each is a stream with its own files, and some for each scheduler are enough.
pub(super) const PARTITIONS: RangeInclusive<u16> = 1..=256;

/// Bounds of the number of jobs that a worker executes at once. A job takes a task and some kilobytes; more jobs need more
/// connections to servers than a process may usually have open.
pub(super) const SLOTS: RangeInclusive<NonZeroUsize> =
    NonZeroUsize::MIN..=NonZeroUsize::MIN.saturating_add(9_999);

/// Bounds of the number of finished runs that are kept. A scheduler that leads all partitions has 100 bytes of memory for
/// each.
pub(super) const KEPT: RangeInclusive<usize> = 1..=10_000_000;

/// Bounds of the number of runs of a namespace that have not ended. Each takes some kilobytes of its scheduler's memory.
pub(super) const LIVE_RUNS: RangeInclusive<u64> = 1..=100_000_000;

/// Bounds of the retention of finished runs, in hours: up to a year.
const KEPT_HOURS: RangeInclusive<u64> = 1..=365 * 24;

/// Numbers of servers that may keep a stream, by what JetStream offers: odd, so that there is always a majority.
const REPLICAS: [usize; 3] = [1, 3, 5];

/// Length of the longest prefix of keys, which is a part of every key.
const PREFIX_CHARS: usize = 32;

/// Length of the longest address, enough for a line of an environment file.
const ADDRESS_LIMIT: usize = 2_048;

/// An address that may contain a password. It is displayed with masked credentials.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct StoreAddress(String);

impl StoreAddress {
    /// Returns the address with its credentials, for connections.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// Substrings of the names of query parameters whose values are credentials, in lower case.
const CREDENTIAL_NAMES: [&str; 11] =
    ["pass", "pwd", "secret", "token", "key", "auth", "cred", "sig", "jwt", "seed", "session"];

/// Minimum length of the value of another parameter that counts as a credential. Shorter ones occur in many texts.
const SHORTEST_PARAMETER_BYTES: usize = 8;

/// Returns true if the value of a query parameter is probably a credential. Redis reads only `pass`, and for sockets only;
/// others are there by mistake, but are secret nevertheless.
fn names_a_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    CREDENTIAL_NAMES.iter().any(|part| name.contains(part))
}

impl StoreAddress {
    /// Returns every credential in the address: the password, or a user without one, which is a token for NATS; the
    /// fragment; and values of parameters, except short ones such as the number of a database. Each as written, and decoded.
    pub(crate) fn credentials(&self) -> Vec<String> {
        let Ok(url) = Url::parse(&self.0) else { return Vec::new() };
        let written = url.password().or_else(|| Some(url.username()).filter(|user| !user.is_empty()));
        let decoded = written.map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
        let is_credential = |name: &str, value: &str| {
            !value.is_empty() && (names_a_credential(name) || value.len() >= SHORTEST_PARAMETER_BYTES)
        };
        let in_query = url.query_pairs().filter(|(name, value)| is_credential(name, value));
        let in_query = in_query.map(|(_, value)| value.into_owned());
        let fragment = url.fragment().map(ToOwned::to_owned);
        let written = written.map(ToOwned::to_owned);
        written.into_iter().chain(decoded).chain(in_query).chain(fragment).collect()
    }

    /// Returns true if the address has a user, a password or a token. Redis also reads them from parameters of a socket's
    /// address.
    pub(super) fn has_credentials(&self) -> bool {
        let Ok(url) = Url::parse(&self.0) else { return true };
        let in_query = || url.query_pairs().any(|(name, _)| name == "user" || names_a_credential(&name));
        !url.username().is_empty() || url.password().is_some() || in_query()
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_addresses(&self.0))
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parses `nats://host:4222`, several separated by commas; the scheme may be missing.
pub(super) fn nats_urls(text: &str) -> Result<Vec<StoreAddress>, String> {
    let whole = |part: &str| if part.contains("://") { part.to_owned() } else { format!("nats://{part}") };
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    // An address of NATS has no path. `nats//user:password@host`, without its colon, would be one of the host `nats`.
    let has_no_path =
        |url: &StoreAddress| Url::parse(url.reveal()).is_ok_and(|url| ["", "/"].contains(&url.path()));
    let parsed = |part: &str| address(&whole(part), &["nats", "tls"]).filter(has_no_path);
    let urls: Option<Vec<_>> = parts.map(parsed).collect();
    let urls = urls.filter(|urls| !urls.is_empty());
    urls.ok_or_else(|| "nats://host:4222 or tls://host:4222, or several with commas".to_owned())
}

/// Parses `redis://host:6379/0`.
pub(super) fn redis_url(text: &str) -> Result<StoreAddress, String> {
    address(text.trim(), &["redis", "rediss", "unix", "redis+unix"]).ok_or_else(|| {
        "redis://host:6379, or redis://host:6379/0 with `user:password@` before the host".to_owned()
    })
}

fn address(text: &str, schemes: &[&str]) -> Option<StoreAddress> {
    let url = Url::parse(text).ok()?;
    let has_location = url.host_str().is_some_and(|host| !host.is_empty()) || url.scheme().ends_with("unix");
    (schemes.contains(&url.scheme()) && has_location && text.len() <= ADDRESS_LIMIT)
        .then(|| StoreAddress(text.to_owned()))
}

/// Parses a prefix of the subjects of answers: `_INBOX`, or `_INBOX_worker`.
pub(super) fn inbox_prefix(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fits = !text.is_empty()
        && text.len() <= PREFIX_CHARS
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if fits { Ok(text.to_owned()) } else { Err("1 to 32 of A-Z, a-z, 0-9, `-` and `_`".to_owned()) }
}

/// The use of atomic batches for large groups of jobs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AtomicBatches {
    /// A measurement decides.
    Auto,
    /// Large groups go as atomic batches.
    Always,
    /// All jobs go one by one.
    Never,
}

/// Parses the use of atomic batches.
pub(super) fn batch(text: &str) -> Result<AtomicBatches, String> {
    match text.trim() {
        "auto" => Ok(AtomicBatches::Auto),
        "always" => Ok(AtomicBatches::Always),
        "never" => Ok(AtomicBatches::Never),
        _ => Err("`auto`, `always` or `never`".to_owned()),
    }
}

/// Parses a prefix of keys: a word without the separators of keys and without pattern characters.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let is_prefix = (1..=PREFIX_CHARS).contains(&text.len()) && text.chars().all(fits);
    if is_prefix { Ok(text.to_owned()) } else { Err("1 to 32 of A-Z, a-z, 0-9, `-` and `_`".to_owned()) }
}

/// Parses a whole number within bounds.
pub(super) fn number<T>(text: &str, range: &RangeInclusive<T>) -> Result<T, String>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    let number = text.trim().parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("a whole number from {} to {}", range.start(), range.end()))
}

/// Parses the number of servers that keep a stream.
pub(super) fn replicas(text: &str) -> Result<usize, String> {
    let number = text.trim().parse().ok().filter(|number| REPLICAS.contains(number));
    number.ok_or_else(|| "1, 3 or 5".to_owned())
}

/// Parses the retention of finished runs: `12h` or `7d`.
pub(super) fn keep_for(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()?.checked_mul(24));
    let hours =
        days.or_else(|| text.strip_suffix('h')?.parse().ok()).filter(|hours| KEPT_HOURS.contains(hours));
    let hours =
        hours.ok_or_else(|| "a whole number of hours or days, such as 12h or 7d, up to 365d".to_owned())?;
    Ok(Duration::from_secs(hours * 3_600))
}

/// Parses an address to listen on.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| "an address and a port, such as 127.0.0.1:9464 or [::]:9464".to_owned())
}

/// Parses the path of a file that is read later.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    let is_path = !text.trim().is_empty() && !text.contains('\0');
    if is_path { Ok(PathBuf::from(text)) } else { Err("the path of a file".to_owned()) }
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LogFormat {
    /// JSON for `scheduler` and `worker` without a terminal, and text otherwise.
    Auto,
    /// Text for people.
    Text,
    /// JSON for programs.
    Json,
}

/// Parses the format of log lines.
pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text.trim() {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("auto, text or json".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_addresses_are_masked() {
        let cases = [
            ("redis://:s3cret@host:6379/0", "redis://***@host:6379/0"),
            ("redis://me:s3cret@host", "redis://***@host"),
            ("redis://host:6379", "redis://host:6379"),
            ("redis+unix:///run/r.sock?db=1&pass=s3cret", "redis+unix:///run/r.sock?db=***&pass=***"),
            ("redis://me:s3cret@host/0?pass=other&a=%20b", "redis://***@host/0?pass=***&a=***"),
            ("redis://s3cret@host/?pass=other", "redis://***@host/?pass=***"),
            ("redis://host:6379/?Auth_Token=s3cret", "redis://host:6379/?Auth_Token=***"),
            ("redis://host:6379/#s3cret", "redis://host:6379/#***"),
        ];
        for (text, shown) in cases {
            let address = redis_url(text).expect(text);
            assert_eq!(
                address.credentials().contains(&"s3cret".to_owned()),
                text.contains("s3cret"),
                "{text}"
            );
            assert_eq!((address.to_string().as_str(), address.reveal()), (shown, text));
            assert_eq!(format!("{address:?}"), shown);
        }
        let urls = nats_urls("nats://t0ken@a:4222, tls://b , c:4223").expect("addresses");
        let shown: Vec<_> = urls.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["nats://***@a:4222", "tls://b", "nats://c:4223"]);
        let urls = nats_urls("nats://a?x=s3cret-value&y=1#s3cret").expect("addresses");
        assert_eq!(urls[0].to_string(), "nats://a?x=***&y=***#***");
        assert_eq!(urls[0].credentials(), ["s3cret-value", "s3cret"]);
    }

    #[test]
    fn invalid_addresses_are_refused() {
        let without_colon = ["nats//user:pw@host", "nats:/user:pw@host", "user:pw@host/path"];
        for bad in
            ["", ",", "http://a", "nats://", "nats://a b", "redis://a"].into_iter().chain(without_colon)
        {
            assert!(nats_urls(bad).is_err(), "{bad}");
        }
        for bad in ["", "host:6379", "http://a", "redis://"] {
            assert!(redis_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(number("8", &PARTITIONS), Ok(8));
        for bad in ["0", "257", "-1", "1.5", "eight", ""] {
            assert!(number(bad, &PARTITIONS).is_err(), "{bad}");
        }
        assert_eq!(keep_for("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(keep_for(" 12h"), Ok(Duration::from_secs(12 * 3_600)));
        for bad in ["0d", "7", "366d", "-1d", "d", "1w", "99999999999999999999h"] {
            assert!(keep_for(bad).is_err(), "{bad}");
        }
        assert_eq!(replicas("3"), Ok(3));
        assert!(replicas("2").is_err());
    }
}
