//! A line for a terminal: pieces of text with styles, measured in terminal columns.
//!
//! Lines are composed and compared as data. [`Screen`](super::screen::Screen) turns them into bytes, with colours or
//! without.

use std::fmt;

use anstyle::{AnsiColor, Style};
use longshore_ports::redact_addresses;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::printable::one_line;

/// Text without a style.
pub(crate) const PLAIN: Style = Style::new();
/// Secondary text.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// A heading.
pub(crate) const STRONG: Style = Style::new().bold();
/// Success.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Failure.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// A condition that the user should check.
pub(crate) const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
/// Work in progress.
pub(crate) const BUSY: Style = AnsiColor::Cyan.on_default();

/// A line in pieces. No piece contains a control character.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct StyledLine(Vec<(Style, String)>);

impl StyledLine {
    /// Creates a line of one piece.
    pub(crate) fn of(style: Style, text: &str) -> Self {
        Self::default().with(style, text)
    }

    /// Appends a piece.
    pub(crate) fn with(mut self, style: Style, text: &str) -> Self {
        if !text.is_empty() {
            self.0.push((style, one_line(text).into_owned()));
        }
        self
    }

    /// Masks the credentials in addresses.
    pub(crate) fn without_credentials(mut self) -> Self {
        for (_, text) in &mut self.0 {
            *text = redact_addresses(text).into_owned();
        }
        self
    }

    /// Appends another line.
    pub(crate) fn followed_by(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Appends spaces up to a width.
    pub(crate) fn padded(self, width: usize) -> Self {
        let missing = width.saturating_sub(self.width());
        self.with(PLAIN, &" ".repeat(missing))
    }

    /// Returns the width in terminal columns.
    pub(crate) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// Cuts the end of the line to a width, and marks the cut with an ellipsis.
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

    /// Breaks the line into lines of at most `columns`, at spaces where possible. The second line and the following ones are
    /// indented by two more columns than the first one.
    pub(crate) fn wrapped(self, columns: usize) -> Vec<Self> {
        if self.width() <= columns {
            return vec![self];
        }
        let leading = self.0.first().map_or(0, |(_, text)| text.len() - text.trim_start_matches(' ').len());
        let margin = Self::of(PLAIN, &" ".repeat((leading + 2).min(columns / 2)));
        let (mut lines, mut line, mut is_empty) = (Vec::new(), Self::default(), true);
        for (style, word) in
            self.0.iter().flat_map(|(style, text)| text.split_inclusive(' ').map(move |word| (*style, word)))
        {
            let mut rest = word;
            while !rest.is_empty() {
                let left = columns.saturating_sub(line.width());
                let fits = rest.trim_end().width() <= left;
                if !fits && !is_empty {
                    lines.push(std::mem::replace(&mut line, margin.clone()));
                    is_empty = true;
                    continue;
                }
                // Of a word that is wider than a line, as much as goes into one; at least one character, so that this ends.
                let first = rest.chars().next().map_or(0, char::len_utf8);
                let part = if fits { rest } else { fitting(rest, left) };
                let part = if part.is_empty() { rest.get(..first).unwrap_or(rest) } else { part };
                line = line.with(style, part);
                rest = rest.get(part.len()..).unwrap_or_default();
                is_empty &= part.trim().is_empty();
            }
        }
        lines.push(line);
        lines
    }

    /// Cuts the beginning of the line to a width, and marks the cut with an ellipsis.
    pub(crate) fn without_beginning(self, columns: usize, ellipsis: &str) -> Self {
        if self.width() <= columns {
            return self;
        }
        let end = self.end(columns.saturating_sub(ellipsis.width()));
        Self::of(FAINT, ellipsis).followed_by(end).cut(columns, "")
    }

    /// Cuts the middle of the line to a width, because names that begin alike often differ at their ends.
    pub(crate) fn without_middle(self, columns: usize, ellipsis: &str) -> Self {
        if self.width() <= columns {
            return self;
        }
        let room = columns.saturating_sub(ellipsis.width());
        let end = self.end(room.div_ceil(2));
        self.cut(columns.saturating_sub(end.width()), ellipsis).followed_by(end)
    }

    /// Returns the last `columns` columns.
    fn end(&self, columns: usize) -> Self {
        let mut left = columns;
        let mut pieces = Vec::new();
        for (style, text) in self.0.iter().rev() {
            let end = fitting_end(text, left);
            left -= end.width();
            pieces.push((*style, end.to_owned()));
            if end.len() < text.len() {
                break;
            }
        }
        pieces.reverse();
        Self(pieces)
    }

    /// Returns the line without styles and trailing spaces.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        let text: String = self.0.iter().map(|(_, text)| text.as_str()).collect();
        text.trim_end().to_owned()
    }
}

impl fmt::Display for StyledLine {
    /// Writes the line with the escape sequences of its styles.
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

/// Returns as much of the end of a text as fits into `columns`.
fn fitting_end(text: &str, columns: usize) -> &str {
    let mut width = 0;
    let start = text.char_indices().rev().find(|(_, c)| {
        width += c.width().unwrap_or(0);
        width > columns
    });
    start.and_then(|(start, c)| text.get(start + c.len_utf8()..)).unwrap_or(text)
}

/// Returns as much of the beginning of a text as fits into `columns`.
fn fitting(text: &str, columns: usize) -> &str {
    let mut width = 0;
    let end = text.char_indices().find(|(_, c)| {
        width += c.width().unwrap_or(0);
        width > columns
    });
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_never_takes_more_than_its_columns() {
        let line = || StyledLine::of(GOOD, "日本語").with(PLAIN, " and more");
        assert_eq!(line().width(), 15);
        assert_eq!(line().cut(15, "…").text(), "日本語 and more");
        assert_eq!(line().cut(10, "…").text(), "日本語 an…");
        assert_eq!(line().cut(4, "…").text(), "日…");
        for columns in 1..16 {
            assert!(line().cut(columns, "…").width() <= columns, "{columns}");
        }
    }

    #[test]
    fn wrapped_line_loses_nothing() {
        let wrapped = |line: StyledLine, columns| {
            line.wrapped(columns).iter().map(StyledLine::text).collect::<Vec<_>>()
        };
        let line = || {
            StyledLine::of(GOOD, "  ! disk:").with(PLAIN, " the store at /var/lib/longshore/store.db is full")
        };
        assert_eq!(
            wrapped(line(), 30),
            ["  ! disk: the store at", "    /var/lib/longshore/store.d", "    b is full"]
        );
        assert_eq!(wrapped(line(), 80), ["  ! disk: the store at /var/lib/longshore/store.db is full"]);
        assert_eq!(
            wrapped(StyledLine::of(PLAIN, "日本語日本語"), 5),
            ["日本", "  語", "  日", "  本", "  語"]
        );
        let letters = |lines: &[String]| lines.concat().replace(' ', "");
        for columns in 8..60 {
            let lines = wrapped(line(), columns);
            assert_eq!(letters(&lines), letters(&wrapped(line(), 80)), "{columns}");
            assert!(lines.iter().all(|line| line.width() <= columns), "{columns}: {lines:?}");
        }
    }

    #[test]
    fn a_line_may_lose_its_middle() {
        let line = || StyledLine::of(GOOD, "+ ").with(PLAIN, "north_of_日本語_south");
        assert_eq!(line().without_middle(24, "…").text(), "+ north_of_日本語_south");
        assert_eq!(line().without_middle(12, "…").text(), "+ nor…_south");
        assert_eq!(line().without_middle(11, "...").text(), "+ no...outh");
        for columns in 1..25 {
            assert!(line().without_middle(columns, "…").width() <= columns, "{columns}");
        }
    }

    #[test]
    fn a_line_may_lose_its_beginning() {
        assert_eq!(StyledLine::of(PLAIN, "run_00_9v0w").without_beginning(6, "…").text(), "…_9v0w");
        assert_eq!(StyledLine::of(PLAIN, "run_00_9v0w").without_beginning(11, "…").text(), "run_00_9v0w");
    }

    #[test]
    fn styles_close_before_the_line_ends() {
        assert_eq!(StyledLine::of(GOOD, "ok").padded(9).to_string(), "\u{1b}[32mok\u{1b}[0m");
    }
}
