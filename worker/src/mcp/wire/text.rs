//! Reads the JSON text of a message, and quotes texts in fault messages.

use serde_json::Value;

use super::super::config::Secrets;
use super::super::envelope::{EnvelopeScan, MessageEnvelope};
use super::memory::{MOST_MEMORY_BYTES, exceeds_memory};

/// Bytes of a text in a fault message.
const EXCERPT_BYTES: usize = 160;
/// The least number of bytes around an excerpt that are searched for secrets. The margin is wider if there are longer secrets, so
/// that a secret at the edge of the excerpt is found as a whole.
const MARGIN_BYTES: usize = 4096;

/// Reason why a text cannot be read.
#[derive(Debug)]
pub(super) enum UnreadableText {
    /// The text is not JSON.
    NoJson {
        error: serde_json::Error,
        /// Byte at which the text stops being JSON.
        at: usize,
        /// The word at this byte, if it is a number in other languages.
        word: Option<&'static str>,
    },
    /// The values of the text would take too much memory.
    TooManyValues,
}

impl UnreadableText {
    /// Describes the reason, with an excerpt of the text at the byte.
    pub(super) fn describe(&self, excerpt: impl Fn(usize) -> String) -> String {
        match self {
            Self::NoJson { at, word: Some(word), .. } => {
                format!("`{word}` is no value of JSON, at byte {at}: {}", excerpt(*at))
            }
            Self::NoJson { error, at, .. } if error.to_string().starts_with("number out of range") => {
                format!(
                    "it has a number that is out of the range of 64-bit numbers, before byte {at}: {}",
                    excerpt(*at)
                )
            }
            Self::NoJson { error, at, .. } => format!("it is no JSON: {error}, at: {}", excerpt(*at)),
            Self::TooManyValues => format!(
                "it has so many values that reading it would take more than {} MiB of memory: {}",
                MOST_MEMORY_BYTES >> 20,
                excerpt(0)
            ),
        }
    }
}

/// Reads JSON. Half a surrogate pair, and bytes that are not UTF-8, become U+FFFD, so that one invalid character does not lose an
/// answer.
pub(super) fn read(text: &[u8]) -> Result<Value, UnreadableText> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    if exceeds_memory(text) {
        return Err(UnreadableText::TooManyValues);
    }
    let error = match serde_json::from_slice(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let repaired = replace_lone_surrogates(&String::from_utf8_lossy(text));
    if repaired.as_bytes() != text
        && let Ok(value) = serde_json::from_str(&repaired)
    {
        return Ok(value);
    }
    let at = offset(text, &error);
    let rest = text.get(at..).unwrap_or_default();
    let word = ["NaN", "Infinity", "-Infinity", "undefined"]
        .into_iter()
        .find(|word| rest.starts_with(word.as_bytes()));
    Err(UnreadableText::NoJson { error, at, word })
}

/// Returns the byte of an error, whose line and column start at 1.
fn offset(text: &[u8], error: &serde_json::Error) -> usize {
    let before = error.line().saturating_sub(1);
    let start: usize = text.split_inclusive(|byte| *byte == b'\n').take(before).map(<[u8]>::len).sum();
    let at = start.saturating_add(error.column().saturating_sub(1)).min(text.len());
    // The position of a signed number is that of the byte after the sign.
    match at.checked_sub(1).and_then(|before| text.get(before)) {
        Some(b'-') => at.saturating_sub(1),
        _ => at,
    }
}

/// Replaces every escape of half a surrogate pair by that of U+FFFD.
fn replace_lone_surrogates(text: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        replaced.push_str(before);
        let taken = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                replaced.push_str("\\ufffd");
                rest = escape.get(6..).unwrap_or_default();
                continue;
            }
            (Some(_), _) => 6,
            // A backslash and the character that it escapes: the second of two backslashes begins no escape.
            (None, _) => escape.chars().take(2).map(char::len_utf8).sum(),
        };
        replaced.push_str(escape.get(..taken).unwrap_or(escape));
        rest = escape.get(taken..).unwrap_or_default();
    }
    replaced.push_str(rest);
    replaced
}

/// Returns the code unit of an escape `\uXXXX` at the beginning of a text.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok()
}

/// Returns the id of a response that is not valid JSON as a whole.
pub(super) fn response_id(text: &[u8]) -> Option<Value> {
    let mut scan = EnvelopeScan::default();
    scan.read(text);
    match scan.finish() {
        MessageEnvelope::Response { id } => serde_json::from_str(&id).ok(),
        MessageEnvelope::FromServer | MessageEnvelope::Unknown => None,
    }
}

/// Quotes the part of a text around a byte, without control characters and secrets.
pub(crate) fn excerpt(text: &[u8], at: usize, secrets: &Secrets) -> String {
    let start = at.saturating_sub(EXCERPT_BYTES / 2);
    let margin = secrets.longest_bytes().max(MARGIN_BYTES);
    let from = start.saturating_sub(margin);
    let to = start.saturating_add(EXCERPT_BYTES).saturating_add(margin).min(text.len());
    let decode = |range: std::ops::Range<usize>| {
        String::from_utf8_lossy(text.get(range).unwrap_or_default()).into_owned()
    };
    let around = decode(from..to);
    let is_cut = to < text.len();
    let around = if is_cut { around.trim_end_matches(char::REPLACEMENT_CHARACTER) } else { &around };
    let hidden = secrets.hide_cut(around, is_cut);
    // Hidden secrets move the bytes after them, so the length of the part before `start` is computed with its secrets hidden.
    let lead = secrets.hide(&decode(from..start)).len();
    let lead = hidden.floor_char_boundary(lead.min(hidden.len()));
    let shown = hidden.get(lead..).unwrap_or_default();
    let after = if start + shown.len().min(EXCERPT_BYTES) < text.len() { "…" } else { "" };
    quote(if start > 0 { "…" } else { "" }, shown, after)
}

/// Quotes the beginning of a text in backticks, without control characters. The caller has hidden secrets in it.
pub(crate) fn quote(before: &str, text: &str, after: &str) -> String {
    let end = text.floor_char_boundary(EXCERPT_BYTES.min(text.len()));
    let after = if end < text.len() { "…" } else { after };
    let shown: String = text
        .get(..end)
        .unwrap_or_default()
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("`{before}{shown}{after}`")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        let cases = [
            (r#""a \ud83d""#, json!("a \u{fffd}")),
            (r#""\ude00 b""#, json!("\u{fffd} b")),
            (r#""\ud83d\ud83d\ude00""#, json!("\u{fffd}😀")),
            (r#""\ud83d\ude00 \\ud83d""#, json!("😀 \\ud83d")),
            (r#""é\ud83d\n""#, json!("é\u{fffd}\n")),
        ];
        for (text, wanted) in cases {
            assert_eq!(read(text.as_bytes()).expect("JSON"), wanted, "{text}");
        }
        assert_eq!(read(b"\"a\xff\"").expect("JSON"), json!("a\u{fffd}"));
        assert_eq!(read(b"\xef\xbb\xbf{}").expect("JSON"), json!({}));
    }

    #[test]
    fn byte_and_word_of_an_error_are_described() {
        let said = |text: &str| {
            let error = read(text.as_bytes()).expect_err("no JSON");
            error.describe(|at| excerpt(text.as_bytes(), at, &Secrets::default()))
        };
        assert_eq!(said(r#"{"m": NaN}"#), "`NaN` is no value of JSON, at byte 6: `{\"m\": NaN}`");
        assert_eq!(
            said(r#"{"m": -Infinity}"#),
            "`-Infinity` is no value of JSON, at byte 6: `{\"m\": -Infinity}`"
        );
        let large = said(r#"{"m": 1e400}"#);
        assert!(
            large.starts_with("it has a number that is out of the range of 64-bit numbers, before byte"),
            "{large}"
        );
        assert!(said("{\"a\": ").starts_with("it is no JSON: EOF while parsing"), "{}", said("{\"a\": "));
    }

    #[test]
    fn excerpt_is_short_and_holds_no_secret() {
        let mut secrets = Secrets::default();
        secrets.add("s3cret-token");
        let text = format!("{}s3cret-token{}\u{7}", "x".repeat(75), "y".repeat(300));
        for at in 0..text.len() {
            let shown = excerpt(text.as_bytes(), at, &secrets);
            assert!(
                !shown.contains("s3cret") && !shown.contains("token") && !shown.contains('\u{7}'),
                "{at}: {shown}"
            );
            assert!(shown.len() < 200, "{shown}");
        }
    }

    #[test]
    fn excerpt_holds_no_part_of_a_long_secret() {
        let long: String = (0..1_400).map(|at| format!("k{at}")).collect();
        let mut secrets = Secrets::default();
        secrets.add(&long);
        assert!(long.len() > MARGIN_BYTES, "longer than the margin");
        for before in [10, 4_000] {
            let text = format!("{}{long} {long} {}", "x".repeat(before), "y".repeat(300));
            for at in (0..text.len()).step_by(601) {
                let shown = excerpt(text.as_bytes(), at, &secrets);
                assert!(!shown.contains('k'), "{before}, {at}: {shown}");
            }
        }
    }
}
