//! Converts JSON to a form that the YAML parser accepts.
//!
//! JSON is valid YAML with one exception: JSON writes a character beyond U+FFFF as two escapes (`\ud83d\ude00`), which YAML
//! refuses. This module joins them to one (`\U0001f600`) and maps positions back to the original text.

use std::borrow::Cow;

/// The text for the parser, and the mapping of its characters to bytes of the original text.
pub(super) struct ParserInput<'t> {
    pub(super) text: Cow<'t, str>,
    /// Byte offset in the original text for each character, and for the end. `None` if all characters are single bytes.
    places: Option<Vec<usize>>,
}

impl<'t> ParserInput<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        if is_json(text) && text.contains("\\u") {
            return Self::joined(text);
        }
        let places = (!text.is_ascii())
            .then(|| text.char_indices().map(|(at, _)| at).chain(std::iter::once(text.len())).collect());
        Self { text: Cow::Borrowed(text), places }
    }

    /// Returns the byte offset in the original text of the `index`-th character of the parser's text.
    pub(super) fn byte(&self, index: usize) -> usize {
        match &self.places {
            None => index.min(self.text.len()),
            Some(places) => places.get(index).or_else(|| places.last()).copied().unwrap_or_default(),
        }
    }

    fn joined(text: &'t str) -> Self {
        let mut joined = String::with_capacity(text.len());
        let mut places = Vec::with_capacity(text.len() + 1);
        let mut rest = text.char_indices();
        while let Some((at, character)) = rest.next() {
            let tail = text.get(at..).unwrap_or_default();
            if let Some(pair) = surrogate_pair(tail) {
                let escape = format!("\\U{:08x}", u32::from(pair));
                places.extend(std::iter::repeat_n(at, escape.len()));
                joined.push_str(&escape);
                rest.nth(10);
                continue;
            }
            joined.push(character);
            places.push(at);
            if character == '\\' {
                // Skip the escaped character: the second backslash of `\\` begins no escape.
                if let Some((at, character)) = rest.next() {
                    joined.push(character);
                    places.push(at);
                }
            }
        }
        places.push(text.len());
        Self { text: Cow::Owned(joined), places: Some(places) }
    }
}

/// Returns true if the text is a JSON object, with or without a byte order mark.
fn is_json(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').trim_start().starts_with('{')
}

/// Decodes a pair of surrogate escapes at the start of `text`.
fn surrogate_pair(text: &str) -> Option<char> {
    let unit = |text: &str| {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        digits
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then(|| u16::from_str_radix(digits, 16).ok())
            .flatten()
    };
    let units = [unit(text)?, unit(text.get(6..)?)?];
    let is_pair = (0xd800..0xdc00).contains(&units[0]) && (0xdc00..0xe000).contains(&units[1]);
    is_pair.then(|| char::decode_utf16(units).next()?.ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surrogate_pairs_are_joined_and_positions_map_back() {
        let text = r#"{"a": "\ud83d\ude00!", "b\\ud83d": "\u00e9"}"#;
        let prepared = ParserInput::new(text);
        assert_eq!(prepared.text, r#"{"a": "\U0001f600!", "b\\ud83d": "\u00e9"}"#);
        let at = |text: &str, c| text.chars().position(|other| other == c).expect("it is there");
        assert_eq!(prepared.byte(at(&prepared.text, '!')), at(text, '!'));
        assert_eq!(prepared.byte(usize::MAX), text.len());
    }

    #[test]
    fn byte_order_mark_is_ignored() {
        assert_eq!(
            ParserInput::new("\u{feff}{\"a\": \"\\ud83d\\ude00\"}").text,
            "\u{feff}{\"a\": \"\\U0001f600\"}"
        );
    }

    #[test]
    fn yaml_text_is_unchanged() {
        let text = "a: \\ud83d\\ude00";
        assert_eq!(ParserInput::new(text).text, text);
    }
}
