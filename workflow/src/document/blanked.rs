//! A text in which invalid parts are overwritten, so that the rest can be parsed.
//!
//! A mistake that stops the YAML parser would hide all later ones. So the invalid part is overwritten with a word of the same
//! length, which keeps all positions, and the text is parsed again. The overwritten part becomes a refused value.

use std::borrow::Cow;

use crate::source::Span;

/// The largest number of parts that are blanked, and so of passes over the text: more than the mistakes of this kind in a
/// usual text.
const LIMIT: usize = 10;

/// The largest number of bytes that are parsed again in total, which bounds the time for a large text.
const LIMIT_BYTES: usize = 2 * 1024 * 1024;

/// A text with its blanked parts.
pub(super) struct BlankedText<'t> {
    pub(super) text: Cow<'t, str>,
    blanked: Vec<Span>,
}

impl<'t> BlankedText<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self { text: Cow::Borrowed(text), blanked: Vec::new() }
    }

    /// Blanks a part. Returns false if it was blanked before or a limit is reached; then parsing again is useless.
    pub(super) fn blank_out(&mut self, span: Span) -> bool {
        let limit = LIMIT.min(LIMIT_BYTES / self.text.len().max(1));
        if span.start >= span.end || self.blanked.len() >= limit || self.is_blanked(span) {
            return false;
        }
        let parts = (self.text.get(..span.start), self.text.get(span.end..));
        let (Some(before), Some(after)) = parts else { return false };
        let mut text = String::with_capacity(self.text.len());
        text.push_str(before);
        text.extend(std::iter::repeat_n('x', span.end - span.start));
        text.push_str(after);
        self.text = Cow::Owned(text);
        self.blanked.push(span);
        true
    }

    /// Returns true if the span overlaps a blanked part.
    pub(super) fn is_blanked(&self, span: Span) -> bool {
        self.blanked.iter().any(|blanked| blanked.start < span.end && span.start < blanked.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanking_keeps_all_positions() {
        let text = "a: ${{ ü }} # ö";
        let mut blanked = BlankedText::new(text);
        let end = text.find(" #").expect("it is there");
        assert!(blanked.blank_out(Span::new(3, end)));
        assert_eq!(blanked.text, "a: xxxxxxxxx # ö");
        assert_eq!(blanked.text.len(), text.len());
        assert!(blanked.is_blanked(Span::new(0, 4)) && !blanked.is_blanked(Span::new(0, 3)));
        assert!(!blanked.blank_out(Span::new(4, 6)), "the part is blanked already");
    }
}
