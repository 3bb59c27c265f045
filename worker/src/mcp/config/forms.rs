//! The encoded forms in which a server may repeat a value: unchanged, within JSON, within a URL, in HTML, in base64.
//!
//! A form is found if the encoded text has the whole value, alone or within other text. A value that was changed in another way
//! (hashed, reversed, cut) is not found. A value has at most 70 forms: itself, 16 within JSON, 30 within URLs, 15 in HTML, and 8 in
//! base64. A token of ASCII letters and digits has 12 at most.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The minimum length of a base64 text that is hidden within another text. A shorter one is found in ordinary data by accident.
const SHORTEST_INNER_BASE64_CHARS: usize = 8;

/// All characters except the unreserved ones of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The characters that JavaScript's `encodeURIComponent` encodes.
const COMPONENT: &AsciiSet = &RESERVED.remove(b'!').remove(b'\'').remove(b'(').remove(b')').remove(b'*');

/// The characters that JavaScript's `encodeURI` encodes.
const WHOLE_URL: &AsciiSet = &COMPONENT
    .remove(b';')
    .remove(b',')
    .remove(b'/')
    .remove(b'?')
    .remove(b':')
    .remove(b'@')
    .remove(b'&')
    .remove(b'=')
    .remove(b'+')
    .remove(b'$')
    .remove(b'#');

/// The sets of characters that libraries encode in a URL, each with its library.
const URL_SETS: [&AsciiSet; 7] = [
    RESERVED,
    // Python's `quote`.
    &RESERVED.remove(b'/'),
    COMPONENT,
    WHOLE_URL,
    // PHP's `urlencode`.
    &RESERVED.add(b'~'),
    // Java's `URLEncoder` and the forms of browsers.
    &RESERVED.add(b'~').remove(b'*'),
    // .NET's `WebUtility`.
    &RESERVED.add(b'~').remove(b'*').remove(b'!').remove(b'(').remove(b')'),
];

/// The escapes of a library in JSON strings.
struct JsonStyle {
    /// Characters that are written as `\uXXXX` besides control characters.
    escaped: &'static str,
    /// Characters beyond ASCII are written as `\uXXXX`.
    is_ascii: bool,
    /// The hexadecimal digits are in upper case.
    is_upper: bool,
    /// `/` is written as `\/`.
    escapes_slash: bool,
}

const PLAIN_JSON: JsonStyle =
    JsonStyle { escaped: "", is_ascii: false, is_upper: false, escapes_slash: false };

/// The styles of common libraries.
const JSON_STYLES: [JsonStyle; 8] = [
    PLAIN_JSON,
    JsonStyle { escapes_slash: true, ..PLAIN_JSON },
    // Python, and Java's Jackson with its own digits.
    JsonStyle { is_ascii: true, ..PLAIN_JSON },
    JsonStyle { is_ascii: true, is_upper: true, ..PLAIN_JSON },
    // PHP.
    JsonStyle { is_ascii: true, escapes_slash: true, ..PLAIN_JSON },
    // Go and Ruby on Rails.
    JsonStyle { escaped: "<>&\u{2028}\u{2029}", ..PLAIN_JSON },
    // Java's Gson.
    JsonStyle { escaped: "<>&='\u{2028}\u{2029}", ..PLAIN_JSON },
    // .NET.
    JsonStyle { escaped: "<>&'\"+`\u{7f}", is_ascii: true, is_upper: true, escapes_slash: false },
];

/// The forms of a value.
#[derive(Clone, Debug, Default)]
pub(super) struct ValueForms {
    /// All forms except base64, including the value itself.
    pub(super) texts: BTreeSet<String>,
    /// Forms in base64, which tools break into lines.
    pub(super) base64: BTreeSet<String>,
}

/// Returns every form of a value.
pub(super) fn of(value: &str) -> ValueForms {
    let mut forms: BTreeSet<String> = [value.to_owned()].into();
    for style in &JSON_STYLES {
        let inside = style.encode(value);
        // JSON within a JSON string.
        let within = JsonStyle { escaped: "", ..*style }.encode(&inside);
        forms.extend([inside, within]);
    }
    for set in URL_SETS {
        let encoded = utf8_percent_encode(value, set).to_string();
        let lower = lower_hex(&encoded);
        forms.extend([encoded.replace("%20", "+"), lower.replace("%20", "+"), lower, encoded]);
    }
    // A URL within a URL.
    for set in [RESERVED, COMPONENT] {
        forms.insert(utf8_percent_encode(value, set).to_string().replace('%', "%25"));
    }
    forms.extend(html(value));
    forms.retain(|form| !form.is_empty());
    ValueForms { texts: forms, base64: in_base64(value) }
}

fn in_base64(value: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        forms.insert(engine.encode(value));
        let inner = (0..3).map(|offset| inner_base64(value, offset, &|bytes| engine.encode(bytes)));
        forms.extend(inner.filter(|form| form.len() >= SHORTEST_INNER_BASE64_CHARS));
    }
    forms.retain(|form| !form.is_empty());
    forms
}

impl JsonStyle {
    fn encode(&self, value: &str) -> String {
        let mut text = String::with_capacity(value.len());
        for c in value.chars() {
            let short = match c {
                _ if self.escaped.contains(c) || (self.is_ascii && !c.is_ascii()) => None,
                '"' => Some("\\\""),
                '\\' => Some("\\\\"),
                '\n' => Some("\\n"),
                '\r' => Some("\\r"),
                '\t' => Some("\\t"),
                '\u{8}' => Some("\\b"),
                '\u{c}' => Some("\\f"),
                '/' if self.escapes_slash => Some("\\/"),
                '\0'..=' ' if c != ' ' => None,
                _ => {
                    text.push(c);
                    continue;
                }
            };
            match short {
                Some(short) => text.push_str(short),
                None => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&self.unit(*unit))),
            }
        }
        text
    }

    fn unit(&self, unit: u16) -> String {
        if self.is_upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") }
    }
}

/// Returns a value as text of HTML or XML, with each escape of quotes that libraries use.
fn html(value: &str) -> Vec<String> {
    let escaped = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let double = ["\"", "&quot;", "&#34;"].map(|quote| escaped.replace('"', quote));
    let single = ["'", "&#39;", "&#x27;", "&#039;", "&apos;"];
    double.iter().flat_map(|text| single.map(|quote| text.replace('\'', quote))).collect()
}

/// Returns the characters of a base64 text that depend only on the value, if `offset` bytes (modulo 3) precede the value and any
/// bytes follow it.
fn inner_base64(value: &str, offset: usize, encode: &dyn Fn(&[u8]) -> String) -> String {
    let bytes = [vec![0; offset], value.as_bytes().to_vec()].concat();
    let encoded = encode(&bytes);
    // Each character has six bits. These are the first and the last character whose bits are all those of the value.
    let first = (offset * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    encoded.get(first..end.max(first)).unwrap_or_default().to_owned()
}

/// Returns a percent-encoded text with its hexadecimal digits in lower case.
fn lower_hex(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push('%');
        match part.split_at_checked(2) {
            Some((digits, rest)) => {
                text.push_str(&digits.to_ascii_lowercase());
                text.push_str(rest);
            }
            None => text.push_str(part),
        }
    }
    text
}

#[cfg(test)]
mod tests;
