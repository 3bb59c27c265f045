//! Redaction of addresses for display. User information, values of query parameters and fragments may be credentials.

use std::borrow::Cow;

use url::Url;

/// Replacement of a redacted part.
const MASK: &str = "***";

/// Replaces the possible credentials of all addresses in a text by `***`.
///
/// `nats://user:password@host:4222/?token=x#y` becomes `nats://***@host:4222/?token=***#***`. Of an address that cannot be
/// parsed only the scheme remains.
pub fn redact_addresses(text: &str) -> Cow<'_, str> {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("://") {
        let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let (before, address) =
            rest.split_at(rest.get(..at).unwrap_or_default().trim_end_matches(is_scheme).len());
        let end = address_length(address, is_scheme);
        let (address, behind) = address.split_at(end);
        shown.push_str(before);
        shown.push_str(&redact_address(address));
        rest = behind;
    }
    if shown.is_empty() && rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// Returns the length of the address at the start of a text. An address ends at a space or a quotation mark, and before a
/// comma that is followed by another address.
fn address_length(text: &str, is_scheme: impl Fn(char) -> bool) -> usize {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
    let end = text.find(is_end).unwrap_or(text.len());
    let address = text.get(..end).unwrap_or_default();
    let scheme = address.find("://").map_or(0, |at| at + 3);
    let next = address.get(scheme..).and_then(|rest| rest.find("://")).map(|at| scheme + at);
    let before = next.and_then(|next| address.get(..next)).map(|before| before.trim_end_matches(is_scheme));
    before.filter(|before| before.ends_with(',')).map_or(end, str::len)
}

fn redact_address(address: &str) -> String {
    let bare = address.trim_end_matches([',', ';', ':', '.', ')', ']']);
    let punctuation = address.get(bare.len()..).unwrap_or_default();
    let shown = Url::parse(bare).ok().and_then(|url| public_parts(bare, &url));
    let scheme = || bare.split("://").next().unwrap_or_default();
    shown.unwrap_or_else(|| format!("{}://{MASK}", scheme())) + punctuation
}

/// Returns the parts of an address that are not redacted, in their original spelling.
fn public_parts(address: &str, url: &Url) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    let (rest, fragment) = split(rest, '#');
    let (rest, query) = split(rest, '?');
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // With other schemes such a path is the rest of a password that contains a slash.
    if path.contains('@') && !scheme.starts_with("http") {
        return None;
    }
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let user = if authority.len() > host.len() || !url.username().is_empty() { "***@" } else { "" };
    let query = query.map(|query| format!("?{}", redact_values(query))).unwrap_or_default();
    let fragment = fragment.map(|_| format!("#{MASK}")).unwrap_or_default();
    Some(format!("{scheme}://{user}{host}{path}{query}{fragment}"))
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, behind)| (before, Some(behind)))
}

/// Redacts the values of query parameters, and parameters without a value, which may be credentials themselves.
fn redact_values(query: &str) -> String {
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={MASK}"),
        None => MASK.to_owned(),
    });
    shown.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possible_credentials_in_addresses_are_redacted() {
        for (text, shown) in [
            ("nats://user:s3cret@host:4222", "nats://***@host:4222"),
            ("nats://s3cret@host", "nats://***@host"),
            ("nats://host?x=s3cret", "nats://host?x=***"),
            ("nats://host#s3cret", "nats://host#***"),
            ("https://host/mcp?s3cret&a=s3cret@x#s3cret", "https://host/mcp?***&a=***#***"),
            ("redis+unix:///run/r.sock?db=1&pass=s3cret", "redis+unix:///run/r.sock?db=***&pass=***"),
            ("nats://a:s3cret@b,nats://c:s3cret@d:1", "nats://***@b,nats://***@d:1"),
            ("cannot reach `redis://:s3cret@h:1/0`, again", "cannot reach `redis://***@h:1/0`, again"),
            ("(nats://u:s3cret@h:4222)", "(nats://***@h:4222)"),
            ("nats://u:s3cret/@h nats://u:s3#cret@h nats://u:pa ok", "nats://*** nats://*** nats://*** ok"),
            ("nats://user:12/s3cret@h", "nats://***"),
            ("https://host/@scope/package", "https://host/@scope/package"),
        ] {
            assert_eq!(redact_addresses(text), shown, "{text}");
        }
        for text in ["", "no address", "a: //b", "https://host:1/mcp"] {
            assert_eq!(redact_addresses(text), text);
        }
    }
}
