//! Hiding of secrets in a text whose end was cut off.
//!
//! [`Secrets::hide`] finds whole values only. At the cut, a value may have lost its end, and its beginning would be shown.

use std::borrow::Cow;

use super::joined::JoinedLines;
use super::{MASK, Secrets};

impl Secrets {
    /// Returns the text with all values hidden. If its end was cut off, an incomplete value at the end is hidden too.
    pub(crate) fn hide_cut<'a>(&self, text: &'a str, is_cut: bool) -> Cow<'a, str> {
        match is_cut.then(|| self.start_of_incomplete(text)).flatten() {
            Some(start) => {
                let kept = text.get(..start).unwrap_or_default();
                Cow::Owned(format!("{}{MASK}", self.hide(kept)))
            }
            None => self.hide(text),
        }
    }

    /// Returns the length of the longest form, with room for line breaks in it.
    pub(crate) fn longest_bytes(&self) -> usize {
        let longest = self.forms().map(String::len).max().unwrap_or_default();
        longest.saturating_add(longest / 4)
    }

    /// Returns the start of the part at the end of a text that may be the beginning of a value.
    pub(super) fn start_of_incomplete(&self, text: &str) -> Option<usize> {
        let plain = self.forms().filter_map(|form| start_of_part(text, form)).min();
        let incomplete = plain.into_iter().chain(self.start_of_base64(text)).min()?;
        Some(self.start_of_containing(text, incomplete))
    }

    /// Returns the start of the part at the end of a text that may be the beginning of a value in base64, broken into lines.
    pub(super) fn start_of_base64(&self, text: &str) -> Option<usize> {
        let start = |text: &str| self.base64.keys().filter_map(|form| start_of_part(text, form)).min();
        match JoinedLines::of(text) {
            Some(joined) => start(&joined.text).map(|at| joined.start(at)),
            None => start(text),
        }
    }

    /// Returns the start of the value that contains the byte `at`, or `at` if none does. A text that is cut within a value would
    /// show its first part.
    pub(super) fn start_of_containing(&self, text: &str, at: usize) -> usize {
        let parts = self.find(text).parts;
        let crossing = parts.iter().find(|part| part.start < at && at < part.end);
        crossing.map_or(at, |part| part.start)
    }
}

/// Returns the index at which an incomplete form begins that reaches to the end of the text.
fn start_of_part(text: &str, form: &str) -> Option<usize> {
    let from = text.ceil_char_boundary(text.len().saturating_sub(form.len().saturating_sub(1)));
    let tail = text.get(from..)?;
    tail.char_indices()
        .map(|(at, _)| from + at)
        .find(|at| text.get(*at..).is_some_and(|part| form.starts_with(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[&str]) -> Secrets {
        let mut secrets = Secrets::default();
        for value in values {
            secrets.add(value);
        }
        secrets
    }

    #[test]
    fn value_that_is_cut_off_is_hidden() {
        let secrets = secrets(&["token-one", "neuf-\u{e9}\u{e9}", "one-two-three"]);
        for (text, wanted) in [
            ("a token-one b tok", "a *** b ***"),
            ("a token-one b token-one", "a *** b ***"),
            ("a token-on", "a ***"),
            ("a neuf-\u{e9}", "a ***"),
            // The end of one value is the beginning of another.
            ("a token-one", "a ***"),
            ("a token-one-tw", "a ***"),
            ("no part of any", "no part of any"),
        ] {
            assert_eq!(secrets.hide_cut(text, true), wanted, "{text}");
        }
        assert_eq!(secrets.hide_cut("a token-on", false), "a token-on");
    }

    #[test]
    fn no_part_of_a_value_is_shown_wherever_the_text_is_cut() {
        let (first, second) = ("abcabcabd", "cabcab");
        let secrets = secrets(&[first, second]);
        let whole = format!("x {first} y {second} z {first}{second}");
        for at in 0..whole.len() {
            let shown = secrets.hide_cut(&whole[..at], true).into_owned();
            for part in ["abc", "cab"] {
                assert!(!shown.contains(part), "{at}: {shown}");
            }
        }
    }
}
