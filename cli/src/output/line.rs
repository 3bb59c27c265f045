//! One line for a terminal: pieces of text with styles, and how many columns they take.
//!
//! Lines are put together and compared as data; [`Screen`](super::screen::Screen) turns them into bytes, with colours
//! or without.

use std::fmt;

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::printable::one_line;

/// Nothing special.
pub(crate) const PLAIN: Style = Style::new();
/// What matters less.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// A heading.
pub(crate) const STRONG: Style = Style::new().bold();
/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What needs a look.
pub(crate) const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
/// What is going on.
pub(crate) const BUSY: Style = AnsiColor::Cyan.on_default();

/// A line in pieces. No piece holds a control character.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Line(Vec<(Style, String)>);

impl Line {
    /// A line of one piece.
    pub(crate) fn of(style: Style, text: &str) -> Self {
        Self::default().with(style, text)
    }

    /// The line with one more piece.
    pub(crate) fn with(mut self, style: Style, text: &str) -> Self {
        if !text.is_empty() {
            self.0.push((style, one_line(text).into_owned()));
        }
        self
    }

    /// The line with another one behind it.
    pub(crate) fn followed_by(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The line with spaces behind it, up to a width.
    pub(crate) fn padded(self, width: usize) -> Self {
        let missing = width.saturating_sub(self.width());
        self.with(PLAIN, &" ".repeat(missing))
    }

    /// How many columns it takes.
    pub(crate) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// The line within so many columns; what is cut off leaves an ellipsis.
    pub(crate) fn cut(self, columns: usize, ellipsis: &str) -> Self {
        if self.width() <= columns {
            return self;
        }
        let mut left = columns.saturating_sub(ellipsis.width());
        let mut cut = Self::default();
        for (style, text) in self.0 {
            let fitting = fitting(&text, left);
            left -= fitting.width();
            let whole = fitting.len() == text.len();
            cut = cut.with(style, fitting);
            if !whole {
                break;
            }
        }
        cut.with(FAINT, ellipsis)
    }

    /// The line without styles and without trailing spaces.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        let text: String = self.0.iter().map(|(_, text)| text.as_str()).collect();
        text.trim_end().to_owned()
    }
}

impl fmt::Display for Line {
    /// With the escapes of its styles.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.iter().rposition(|(_, text)| !text.trim_end().is_empty());
        for (index, (style, text)) in self.0.iter().enumerate() {
            let text = match last {
                Some(last) if index < last => text,
                Some(last) if index == last => text.trim_end(),
                _ => break, // trailing spaces would wrap where the terminal is too narrow
            };
            write!(f, "{style}{text}{style:#}")?;
        }
        Ok(())
    }
}

/// As much of a text as fits.
fn fitting(text: &str, columns: usize) -> &str {
    let mut width = 0;
    let end = text.char_indices().find(|(_, c)| {
        width += c.width().unwrap_or(0);
        width > columns
    });
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// Rows with their columns aligned, two spaces between them. The last cell of a row is as wide as it likes.
pub(crate) fn aligned(rows: Vec<Vec<Line>>) -> Vec<Line> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(Line::width).max().unwrap_or(0))
        .collect();
    rows.into_iter().map(|row| joined(row, &widths)).collect()
}

fn joined(mut row: Vec<Line>, widths: &[usize]) -> Line {
    let last = row.pop().unwrap_or_default();
    let padded = row.into_iter().zip(widths).map(|(cell, width)| cell.padded(*width).with(PLAIN, "  "));
    padded.reduce(Line::followed_by).unwrap_or_default().followed_by(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_never_takes_more_than_its_columns() {
        let line = || Line::of(GOOD, "日本語").with(PLAIN, " and more");
        assert_eq!(line().width(), 15);
        assert_eq!(line().cut(15, "…").text(), "日本語 and more");
        assert_eq!(line().cut(10, "…").text(), "日本語 an…");
        assert_eq!(line().cut(4, "…").text(), "日…");
        for columns in 1..16 {
            assert!(line().cut(columns, "…").width() <= columns, "{columns}");
        }
    }

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 3]| cells.map(|cell| Line::of(PLAIN, cell)).to_vec();
        let lines = aligned(vec![row(["a", "bbb", "c"]), row(["aaaa", "b", ""]), vec![Line::of(PLAIN, "x")]]);
        let texts: Vec<_> = lines.iter().map(Line::text).collect();
        assert_eq!(texts, ["a     bbb  c", "aaaa  b", "x"]);
    }

    #[test]
    fn styles_close_before_the_line_ends() {
        assert_eq!(Line::of(GOOD, "ok").padded(9).to_string(), "\u{1b}[32mok\u{1b}[0m");
    }
}
