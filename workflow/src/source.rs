//! The text of a workflow, and positions in it.
//!
//! Within this crate a position is a [`Span`] of bytes. [`SourceText`] converts it to line and column.

use std::ops::Range;

/// The largest text of a workflow, in bytes. A workflow must fit into one message, and the default payload limit of NATS
/// (`max_payload`) is 1 MiB.
pub(crate) const TEXT_LIMIT_BYTES: usize = 1024 * 1024;

/// The longest excerpt, in bytes: a few lines of a wide terminal. Up to 50 excerpts are rendered.
const LINE_LIMIT_BYTES: usize = 800;

/// The number of characters of a foreign text that a message repeats.
const SHOWN_CHARS: usize = 80;

/// Shortens a foreign text to what fits into a message.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

/// A range of bytes of the text. The end is exclusive.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// Returns a part of the span. `range` is relative to its start.
    pub(crate) const fn subspan(self, range: &Range<usize>) -> Self {
        Self { start: self.start + range.start, end: self.start + range.end }
    }
}

/// A value with its span.
#[derive(Clone, Debug)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// Line, column and length of a span, for display: counted from 1, in characters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TextPosition {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) length: usize,
}

/// The lines around a span, for display.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Excerpt<'t> {
    pub(crate) text: &'t str,
    /// Number of the first of these lines, starting at 1.
    pub(crate) line: usize,
    /// Span relative to the excerpt.
    pub(crate) span: Span,
    /// True if the excerpt is a part of one line.
    pub(crate) is_cut: bool,
}

/// The text with an index of its lines.
#[derive(Debug)]
pub(crate) struct SourceText<'t> {
    text: &'t str,
    /// Offset of the first byte of each line.
    lines: Vec<usize>,
}

impl<'t> SourceText<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, lines }
    }

    pub(crate) const fn text(&self) -> &'t str {
        self.text
    }

    /// Returns the text of a span. Empty if the span is outside of the text or splits a character.
    pub(crate) fn slice(&self, span: Span) -> &'t str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Returns line, column and length of a span.
    pub(crate) fn position(&self, span: Span) -> TextPosition {
        let span = self.whole_characters(span);
        let line = self.line_of(span.start);
        let from = self.line_start(line);
        let count = |span| self.slice(span).chars().count();
        TextPosition {
            line: line + 1,
            column: count(Span::new(from, span.start)) + 1,
            length: count(span).max(1),
        }
    }

    /// Cuts a span at the end of its first line, so that it can be underlined.
    pub(crate) fn first_line(&self, span: Span) -> Span {
        let text = self.slice(span);
        let line = text.split('\n').next().unwrap_or_default().trim_end();
        Span::new(span.start, span.start + line.len())
    }

    /// Returns the start of the line that contains a byte, and the line without its end.
    pub(crate) fn line_at(&self, byte: usize) -> (usize, &'t str) {
        let line = self.line_of(byte);
        let start = self.line_start(line);
        let end = self.lines.get(line + 1).map_or(self.text.len(), |next| next - 1);
        (start, self.text.get(start..end).unwrap_or_default())
    }

    /// Returns the line in which a span begins, and the line before it.
    ///
    /// Of a very long line, as in JSON without line breaks, only the part around the span is returned.
    pub(crate) fn excerpt(&self, span: Span) -> Excerpt<'t> {
        let span = self.whole_characters(span);
        let line = self.line_of(span.start);
        let (line_start, text) = self.line_at(span.start);
        let first = line.saturating_sub(1);
        let end = line_start + text.len();
        let is_cut = end - self.line_start(first) > LINE_LIMIT_BYTES;
        let (line, from, to) = if is_cut {
            let from = self
                .text
                .floor_char_boundary(span.start.saturating_sub(LINE_LIMIT_BYTES / 4))
                .max(line_start);
            (line, from, self.text.ceil_char_boundary(span.start + LINE_LIMIT_BYTES / 2).min(end))
        } else {
            (first, self.line_start(first), end)
        };
        let start = span.start.clamp(from, to) - from;
        let span = Span::new(start, span.end.clamp(from + start, to) - from);
        Excerpt { text: self.text.get(from..to).unwrap_or_default(), line: line + 1, span, is_cut }
    }

    /// Widens a span to whole characters and limits it to the text. Parsers may report positions within a character.
    fn whole_characters(&self, span: Span) -> Span {
        let start = self.text.floor_char_boundary(span.start);
        Span::new(start, self.text.ceil_char_boundary(span.end).max(start))
    }

    fn line_of(&self, byte: usize) -> usize {
        self.lines.partition_point(|start| *start <= byte).saturating_sub(1)
    }

    fn line_start(&self, line: usize) -> usize {
        self.lines.get(line).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = SourceText::new("ä: 1\nbö: xyz\n");
        let at = source.text().find("xyz").expect("it is there");
        let place = source.position(Span::new(at, at + 3));
        assert_eq!((place.line, place.column, place.length), (2, 5, 3));
        let excerpt =
            Excerpt { text: "ä: 1\nbö: xyz", line: 1, span: Span::new(at, at + 3), is_cut: false };
        assert_eq!(source.excerpt(Span::new(at, at + 3)), excerpt);
    }

    #[test]
    fn long_line_is_cut_around_the_span() {
        let text = format!("first\n{}here{}", "ä".repeat(5_000), "ü".repeat(5_000));
        let source = SourceText::new(&text);
        let at = text.find("here").expect("it is there");
        let excerpt = source.excerpt(Span::new(at, at + 4));
        assert!(excerpt.text.len() <= LINE_LIMIT_BYTES, "{}", excerpt.text.len());
        assert_eq!((excerpt.line, &excerpt.text[excerpt.span.start..excerpt.span.end]), (2, "here"));
    }

    #[test]
    fn spans_never_split_a_character() {
        let source = SourceText::new("aéz");
        assert_eq!(source.position(Span::new(2, 2)), TextPosition { line: 1, column: 2, length: 1 });
        assert_eq!(source.excerpt(Span::new(2, 99)).span, Span::new(1, 4));
    }

    #[test]
    fn end_of_the_text_has_a_position() {
        let source = SourceText::new("a: 1\n");
        assert_eq!(source.position(Span::new(5, 5)), TextPosition { line: 2, column: 1, length: 1 });
    }
}
