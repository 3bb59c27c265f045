//! Redaction of addresses for display. User information, values of query parameters and fragments may be credentials.

use std::borrow::Cow;

use url::Url;

/// Replacement of a redacted part.
const MASK: &str = "***";

/// Replaces the possible credentials of all addresses in a text by `***`.
///
/// `nats://user:password@host:4222/?token=x#y` becomes `nats://***@host:4222/?token=***#***`. Of an address that cannot be
/// taken apart only the scheme is shown.
pub fn redact_addresses(text: &str) -> Cow<'_, str> {
    replaced(text, redact_address)
}

/// Returns a text of the same length in which every address with what may be a credential is blank behind its scheme: for
/// excerpts with marks below them.
pub fn blanked_addresses(text: &str) -> Cow<'_, str> {
    replaced(text, |address| match address.split_once(":/") {
        Some((scheme, rest)) if redact_address(address) != address => {
            format!("{scheme}:/{}", "*".repeat(rest.len()))
        }
        _ => address.to_owned(),
    })
}

fn replaced(text: &str, show: impl Fn(&str) -> String) -> Cow<'_, str> {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(":/") {
        let (before, address) = rest.split_at(start_of(rest.get(..at).unwrap_or_default()));
        let quote = before.chars().next_back().filter(|last| QUOTES.contains(last));
        let (address, behind) = address.split_at(end_of(address, quote));
        shown.push_str(before);
        shown.push_str(&show(address));
        rest = behind;
    }
    if shown.is_empty() && rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// Quotation marks, which end an address.
const QUOTES: [char; 3] = ['"', '\'', '`'];

fn is_of_scheme(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

/// Returns the place of the scheme at the end of a text. It begins with a letter.
fn start_of(text: &str) -> usize {
    let scheme = text.get(text.trim_end_matches(is_of_scheme).len()..).unwrap_or_default();
    text.len() - scheme.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).len()
}

/// Returns true if the character ends an address. Escape sequences of terminals begin with a control character.
fn is_end(c: char) -> bool {
    c.is_whitespace() || c.is_control() || QUOTES.contains(&c) || matches!(c, '<' | '>')
}

/// Returns the length of the address that a text begins with. It ends at a space, a quotation mark, or before a comma and another
/// address. A wrong one may have such characters in its password: one in quotation marks, `quote`, and one that cannot be taken apart
/// ends behind its host.
fn end_of(text: &str, quote: Option<char>) -> usize {
    let end = text.find(is_end).unwrap_or(text.len());
    let address = text.get(..end).unwrap_or_default();
    // The address of a path that was one has one slash.
    let scheme = address.find(":/").map_or(0, |at| at + 3).min(end);
    let next = address.get(scheme..).and_then(|rest| rest.find("://")).map(|at| scheme + at);
    let before =
        next.and_then(|next| address.get(..next)).map(|before| before.trim_end_matches(is_of_scheme));
    if let Some(before) = before.filter(|before| before.ends_with(',')) {
        return before.len();
    }
    let is_cut = || !address.contains('@') && is_broken(address);
    let limit = match quote {
        Some(quote) => closing(text, quote).unwrap_or(end),
        None if is_cut() => text.find('\n').unwrap_or(text.len()),
        None => end,
    };
    // Another address has an `@` of its own.
    let next = text.get(scheme..limit).and_then(|rest| rest.find("://")).map_or(limit, |at| scheme + at);
    let whole = text.get(..next).unwrap_or_default();
    match whole.rfind('@').filter(|at| *at > end) {
        Some(at) => whole.get(at..).and_then(|host| host.find(is_end)).map_or(whole.len(), |host| at + host),
        None => end,
    }
}

/// Returns the place of the quotation mark that ends a quoted text, as YAML and JSON write it.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut places = text.match_indices(quote).map(|(at, _)| at);
    places.find(|at| !text.get(..*at).is_some_and(|before| before.ends_with('\\')))
}

/// Returns true if an address cannot be taken apart, or is a path that was one and has a user and a password.
fn is_broken(address: &str) -> bool {
    if address.contains("://") {
        return Url::parse(address).is_err();
    }
    let user = address.split_once(":/").and_then(|(_, rest)| rest.split('/').next());
    user.is_some_and(|user| user.contains(':'))
}

fn redact_address(address: &str) -> String {
    if !address.contains("://") {
        return redact_path(address);
    }
    let bare = address.trim_end_matches([',', ';', ':', '.', ')', ']']);
    let punctuation = address.get(bare.len()..).unwrap_or_default();
    let shown = Url::parse(bare).ok().and_then(|url| public_parts(bare, &url));
    let scheme = || bare.split("://").next().unwrap_or_default();
    shown.unwrap_or_else(|| format!("{}://{MASK}", scheme())) + punctuation
}

/// Shows an address that was taken for a path, which has lost one slash: `nats:/***@host`. Of other paths nothing is hidden.
fn redact_path(path: &str) -> String {
    let Some((scheme, rest)) = path.split_once(":/") else { return path.to_owned() };
    let (rest, hidden) = match rest.find(['?', '#']) {
        Some(at) => (rest.get(..at).unwrap_or_default(), MASK),
        None => (rest, ""),
    };
    match rest.rsplit_once('@') {
        // Otherwise it is the scope of a package.
        Some((user, host)) if !user.is_empty() && !user.ends_with('/') => {
            format!("{scheme}:/{MASK}@{host}{hidden}")
        }
        _ => format!("{scheme}:/{rest}{hidden}"),
    }
}

/// Returns the parts of an address that are shown, as they are written.
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
            ("is `nats://u:s3 s3cret@h:1`, and", "is `nats://***@h:1`, and"),
            ("is 'see nats://u:s3 s3cret@h:1', and", "is 'see nats://***@h:1', and"),
            ("no file nats://u:s3 s3cret@h:1 there", "no file nats://***@h:1 there"),
            ("is 'nats://s3cret\"s3cret@h x'", "is 'nats://***@h x'"),
            ("no /tmp/nats:/u:s3cret@h:1/file there", "no /tmp/nats:/***@h:1/file there"),
            ("no /tmp/nats:/u:s3\"s3cret@h:1/file there", "no /tmp/nats:/***@h:1/file there"),
            (r#"{ "nats://u:s3\"s3cret@h:1": 1 }"#, r#"{ "nats://***@h:1": 1 }"#),
            ("no /tmp/redis:/:s3cret/s3@h/file", "no /tmp/redis:/***@h/file"),
            ("no https:/h/path?s3cret#s3cret/file", "no https:/h/path***"),
            ("\u{1b}[1mnats://u:s3cret@h\u{1b}[0m", "\u{1b}[1mnats://***@h\u{1b}[0m"),
            ("https://host/@scope/package", "https://host/@scope/package"),
        ] {
            assert_eq!(redact_addresses(text), shown, "{text}");
            let blanked = blanked_addresses(text);
            assert_eq!((blanked.len(), blanked.contains("s3")), (text.len(), false), "{blanked}");
        }
        for text in
            ["", "no address", "a: //b", "https://host:1/mcp", "PATH=/bin:/usr/bin:/sbin", "file:/lib/@a/b"]
        {
            assert_eq!((redact_addresses(text), blanked_addresses(text)), (text.into(), text.into()));
        }
    }
}
