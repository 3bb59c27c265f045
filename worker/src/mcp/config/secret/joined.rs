//! A text with joined lines, in which base64 that was broken into lines is contiguous.

use std::ops::Range;

/// A text without its line breaks, and the positions of the breaks.
#[derive(Debug)]
pub(super) struct JoinedLines {
    /// Text without its breaks.
    pub(super) text: String,
    /// Removed breaks: the position in `text`, and the position after the break in the original text.
    breaks: Vec<(usize, usize)>,
}

impl JoinedLines {
    /// Joins the lines of a text. Returns `None` if it has one line only.
    ///
    /// A break is a line end, raw or as an escape of JSON, with the indentation of the next line.
    pub(super) fn of(text: &str) -> Option<Self> {
        let (mut joined, mut breaks, mut rest) = (String::new(), Vec::new(), text);
        while let Some(at) = rest.find(['\n', '\r', '\\']) {
            let (before, from) = rest.split_at_checked(at)?;
            joined.push_str(before);
            let behind = behind_line_end(from);
            if let Some(behind) = behind {
                rest = behind.trim_start_matches([' ', '\t']);
                breaks.push((joined.len(), text.len() - rest.len()));
            } else {
                joined.push('\\');
                rest = from.strip_prefix('\\').unwrap_or_default();
            }
        }
        if breaks.is_empty() {
            return None;
        }
        joined.push_str(rest);
        Some(Self { text: joined, breaks })
    }

    /// Returns the range in the original text of a part of the joined text.
    pub(super) fn original(&self, part: &Range<usize>) -> Range<usize> {
        self.start(part.start)..self.position(part.end, |at| at < part.end)
    }

    /// Returns the position in the original text of a character of the joined text.
    pub(super) fn start(&self, at: usize) -> usize {
        self.position(at, |break_at| break_at <= at)
    }

    /// Converts a position. `is_before` is true for breaks that precede the position.
    fn position(&self, at: usize, is_before: impl Fn(usize) -> bool) -> usize {
        let before = self.breaks.partition_point(|(break_at, _)| is_before(*break_at));
        match before.checked_sub(1).and_then(|last| self.breaks.get(last)) {
            Some((break_at, behind)) => behind + (at - break_at),
            None => at,
        }
    }
}

/// Returns the text after the line end with which a text begins.
fn behind_line_end(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix(['\n', '\r']) {
        return Some(rest);
    }
    // `\n` within JSON, and `\\n` within JSON in a JSON string.
    text.trim_start_matches('\\').strip_prefix(['n', 'r'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_positions_are_converted_back() {
        let text = "ab\ncd\r\n  ef\\ngh\\\\r\\\\n\tij \\x\\\\y";
        let joined = JoinedLines::of(text).expect("several lines");
        assert_eq!(joined.text, "abcdefghij \\x\\\\y");
        for (part, wanted) in
            [("bc", "b\nc"), ("cd", "cd"), ("de", "d\r\n  e"), ("ef", "ef"), ("fg", "f\\ng")]
        {
            let at = joined.text.find(part).expect(part);
            let original = joined.original(&(at..at + part.len()));
            assert_eq!(&text[original], wanted, "{part}");
        }
        let at = joined.text.find("hi").expect("a part");
        assert_eq!(&text[joined.original(&(at..at + 2))], "h\\\\r\\\\n\ti");
        assert!(JoinedLines::of("one line \\x").is_none());
    }
}
