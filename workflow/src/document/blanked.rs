//! A text in which what cannot be read is covered, so that the rest of it can be.
//!
//! One mistake that stops the YAML parser would hide all others. So what is wrong is overwritten with a word of the same
//! length, which keeps every place, and the text is read again. The covered part becomes a value of its own kind, about which
//! nothing more is said.

use std::borrow::Cow;

use crate::source::Span;

/// Number of times that a text is read again: more mistakes of this sort than people make before checking once.
const LIMIT: usize = 10;

/// Number of bytes that are read again in all, so that checking a large text stays quick.
const LIMIT_BYTES: usize = 2 * 1024 * 1024;

/// The text, and the parts of it that are covered.
pub(super) struct CoveredText<'t> {
    pub(super) text: Cow<'t, str>,
    covered: Vec<Span>,
}

impl<'t> CoveredText<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self { text: Cow::Borrowed(text), covered: Vec::new() }
    }

    /// Covers a part. Returns false if that was done before or too often, so that reading again is no use.
    pub(super) fn cover(&mut self, span: Span) -> bool {
        let limit = LIMIT.min(LIMIT_BYTES / self.text.len().max(1));
        if span.start >= span.end || self.covered.len() >= limit || self.covers(span) {
            return false;
        }
        let parts = (self.text.get(..span.start), self.text.get(span.end..));
        let (Some(before), Some(after)) = parts else { return false };
        let mut text = String::with_capacity(self.text.len());
        text.push_str(before);
        text.extend(std::iter::repeat_n('x', span.end - span.start));
        text.push_str(after);
        self.text = Cow::Owned(text);
        self.covered.push(span);
        true
    }

    /// Returns true if a part of the span is covered.
    pub(super) fn covers(&self, span: Span) -> bool {
        self.covered.iter().any(|covered| covered.start < span.end && span.start < covered.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covering_keeps_every_place() {
        let text = "a: ${{ ü }} # ö";
        let mut covered = CoveredText::new(text);
        let end = text.find(" #").expect("it is there");
        assert!(covered.cover(Span::new(3, end)));
        assert_eq!(covered.text, "a: xxxxxxxxx # ö");
        assert_eq!(covered.text.len(), text.len());
        assert!(covered.covers(Span::new(0, 4)) && !covered.covers(Span::new(0, 3)));
        assert!(!covered.cover(Span::new(4, 6)), "it is covered already");
    }
}
