//! The text of a workflow, and places in it.
//!
//! A place is a [`Span`] of bytes everywhere inside this crate; [`Source`] turns it into the line and column that
//! people read. It knows nothing of what the text means.

use std::ops::Range;

/// The largest text of a workflow. A broker's payload limit is 1 MiB by default (NATS `max_payload`), and a workflow
/// must fit into one message.
pub(crate) const TEXT_LIMIT_BYTES: usize = 1024 * 1024;

/// The longest excerpt: a few lines of a wide terminal, and little enough to be drawn fifty times.
const LINE_LIMIT_BYTES: usize = 800;

/// Bytes of the text: start, and end past the last one.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The part of this span at `range`, counted from its own start.
    pub(crate) const fn part(self, range: &Range<usize>) -> Self {
        Self { start: self.start + range.start, end: self.start + range.end }
    }
}

/// A value with the place it stands at.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// Line, column and length as people count them: from 1, in characters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) length: usize,
}

/// A few lines of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Excerpt<'t> {
    pub(crate) text: &'t str,
    /// The number of the first of these lines, from 1.
    pub(crate) line: usize,
    /// The span in question, in bytes of the excerpt.
    pub(crate) span: Span,
    /// Whether it is only a part of a line.
    pub(crate) is_cut: bool,
}

/// The text with an index of its lines.
#[derive(Debug)]
pub(crate) struct Source<'t> {
    text: &'t str,
    /// The first byte of each line.
    lines: Vec<usize>,
}

impl<'t> Source<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, lines }
    }

    pub(crate) const fn text(&self) -> &'t str {
        self.text
    }

    /// The text at a span; empty if the span lies outside or cuts a character.
    pub(crate) fn slice(&self, span: Span) -> &'t str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Line, column and length of a span.
    pub(crate) fn place(&self, span: Span) -> Place {
        let span = self.whole_characters(span);
        let line = self.line_of(span.start);
        let from = self.line_start(line);
        let count = |span| self.slice(span).chars().count();
        Place { line: line + 1, column: count(Span::new(from, span.start)) + 1, length: count(span).max(1) }
    }

    /// The span up to the end of its first line: what can be underlined.
    pub(crate) fn first_line(&self, span: Span) -> Span {
        let text = self.slice(span);
        let line = text.split('\n').next().unwrap_or_default().trim_end();
        Span::new(span.start, span.start + line.len())
    }

    /// The line a byte stands in, counted from 0, without its end.
    pub(crate) fn line_at(&self, byte: usize) -> (usize, &'t str) {
        let line = self.line_of(byte);
        let start = self.line_start(line);
        let end = self.lines.get(line + 1).map_or(self.text.len(), |next| next - 1);
        (start, self.text.get(start..end).unwrap_or_default())
    }

    /// The line a span begins in, and the one before it.
    ///
    /// Of a line that is very long, as in JSON without line breaks, only the part around the span is given.
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

    /// The span, widened to characters and kept inside the text: whatever found it may have counted bytes.
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
    fn places_count_characters_from_one() {
        let source = Source::new("ä: 1\nbö: xyz\n");
        let at = source.text().find("xyz").expect("it is there");
        let place = source.place(Span::new(at, at + 3));
        assert_eq!((place.line, place.column, place.length), (2, 5, 3));
        let excerpt =
            Excerpt { text: "ä: 1\nbö: xyz", line: 1, span: Span::new(at, at + 3), is_cut: false };
        assert_eq!(source.excerpt(Span::new(at, at + 3)), excerpt);
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("first\n{}here{}", "ä".repeat(5_000), "ü".repeat(5_000));
        let source = Source::new(&text);
        let at = text.find("here").expect("it is there");
        let excerpt = source.excerpt(Span::new(at, at + 4));
        assert!(excerpt.text.len() <= LINE_LIMIT_BYTES, "{}", excerpt.text.len());
        assert_eq!((excerpt.line, &excerpt.text[excerpt.span.start..excerpt.span.end]), (2, "here"));
    }

    #[test]
    fn a_place_never_cuts_a_character() {
        let source = Source::new("aéz");
        assert_eq!(source.place(Span::new(2, 2)), Place { line: 1, column: 2, length: 1 });
        assert_eq!(source.excerpt(Span::new(2, 99)).span, Span::new(1, 4));
    }

    #[test]
    fn the_end_of_the_text_has_a_place() {
        let source = Source::new("a: 1\n");
        assert_eq!(source.place(Span::new(5, 5)), Place { line: 2, column: 1, length: 1 });
    }
}
