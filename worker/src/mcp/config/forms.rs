//! The forms in which a server may repeat a value: as it is, within JSON, within a URL, in base64.
//!
//! A form is found where the encoded text holds the whole value, alone or among other text. A value that was changed in
//! any other way (hashed, reversed, cut) cannot be found.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// A base64 text that begins or ends within other text is hidden from this length on: a shorter one is found in ordinary
/// data by accident.
const SHORTEST_INNER_BASE64_CHARS: usize = 8;

/// All but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// All but what JavaScript's `encodeURIComponent` leaves as it is.
const COMPONENT: &AsciiSet = &RESERVED.remove(b'!').remove(b'\'').remove(b'(').remove(b')').remove(b'*');

/// Returns every form of a value, the value itself among them.
pub(super) fn of(value: &str) -> BTreeSet<String> {
    let mut forms: BTreeSet<String> = [value.to_owned()].into();
    let json = Value::from(value).to_string();
    let inside = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
    forms.extend([inside.to_owned(), inside.replace('/', "\\/"), ascii(inside)]);
    for set in [RESERVED, COMPONENT] {
        let encoded = utf8_percent_encode(value, set).to_string();
        forms.extend([encoded.replace("%20", "+"), lower_hex(&encoded), encoded]);
    }
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        forms.insert(engine.encode(value));
        let inner = (0..3).map(|offset| inner_base64(value, offset, &|bytes| engine.encode(bytes)));
        forms.extend(inner.filter(|form| form.len() >= SHORTEST_INNER_BASE64_CHARS));
    }
    forms.retain(|form| !form.is_empty());
    forms
}

/// Returns the characters of a base64 text that depend on the value alone when `offset` bytes (modulo 3) precede it and
/// any bytes follow it.
fn inner_base64(value: &str, offset: usize, encode: &dyn Fn(&[u8]) -> String) -> String {
    let bytes = [vec![0; offset], value.as_bytes().to_vec()].concat();
    let encoded = encode(&bytes);
    // Each character holds six bits: the first whole one behind the other bytes, and the last whole one of the value.
    let first = (offset * 8).div_ceil(6);
    let end = bytes.len() * 8 / 6;
    encoded.get(first..end.max(first)).unwrap_or_default().to_owned()
}

/// Returns text within JSON with everything beyond ASCII escaped, as many libraries write it.
fn ascii(inside: &str) -> String {
    let mut text = String::new();
    for c in inside.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
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
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    const VALUE: &str = "p/ss w\u{f6}rd?\"1\"+>>>";

    fn is_found(text: &str) -> bool {
        of(VALUE).iter().any(|form| text.contains(form.as_str()))
    }

    #[test]
    fn finds_a_value_within_json_and_addresses() {
        let texts = [
            format!("plain {VALUE} text"),
            serde_json::json!({ "a": VALUE }).to_string(),
            r#"{"a":"p\/ss w\u00f6rd?\"1\"+>>>"}"#.replace("\\/", "/"),
            "https://h/?q=p%2Fss%20w%C3%B6rd%3F%221%22%2B%3E%3E%3E&x=1".to_owned(),
            "https://h/?q=p%2fss%20w%c3%b6rd%3f%221%22%2b%3e%3e%3e&x=1".to_owned(),
            "q=p%2Fss+w%C3%B6rd%3F%221%22%2B%3E%3E%3E".to_owned(),
        ];
        for text in texts {
            assert!(is_found(&text), "{text}");
        }
    }

    #[test]
    fn finds_a_value_in_base64_wherever_it_begins_and_ends() {
        for before in ["", "u", "us", "usr", "user:"] {
            for after in ["", "1", "12", "123"] {
                let text = format!("{before}{VALUE}{after}");
                for encoded in [STANDARD.encode(&text), URL_SAFE.encode(&text), STANDARD_NO_PAD.encode(&text)]
                {
                    assert!(is_found(&encoded), "{before}|{after}: {encoded}");
                }
            }
        }
        assert!(of("pin4").contains("cGluNA"), "a short value by itself");
    }

    #[test]
    fn other_texts_are_left_alone() {
        for text in ["p", "ss w", "password", "cGFzc3dvcmQ="] {
            assert!(!is_found(text), "{text}");
        }
    }
}
