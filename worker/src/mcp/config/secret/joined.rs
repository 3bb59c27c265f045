//! A text whose lines are joined: base64 that was broken into lines becomes one piece again.

use std::ops::Range;

/// A text without its line breaks.
#[derive(Debug)]
pub(super) struct Joined {
    /// The text without its breaks.
    pub(super) text: String,
    /// Each break that was left out: its place in `text`, and the place behind it in the original.
    breaks: Vec<(usize, usize)>,
}

impl Joined {
    /// Joins the lines of a text. Returns `None` if it has one line only.
    ///
    /// A break is a line end, as it is or as an escape of JSON, with the indentation of the next line.
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

    /// Returns the place in the original text of a part of the joined one.
    pub(super) fn original(&self, part: &Range<usize>) -> Range<usize> {
        self.start(part.start)..self.place(part.end, |at| at < part.end)
    }

    /// Returns the place in the original text of a character of the joined one.
    pub(super) fn start(&self, at: usize) -> usize {
        self.place(at, |place| place <= at)
    }

    /// `is_before` says which breaks lie before the place.
    fn place(&self, at: usize, is_before: impl Fn(usize) -> bool) -> usize {
        let before = self.breaks.partition_point(|(place, _)| is_before(*place));
        match before.checked_sub(1).and_then(|last| self.breaks.get(last)) {
            Some((place, behind)) => behind + (at - place),
            None => at,
        }
    }
}

/// Returns what follows the line end that a text begins with.
fn behind_line_end(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix(['\n', '\r']) {
        return Some(rest);
    }
    // `\n` within JSON, and `\\n` within JSON that is a text of JSON.
    text.trim_start_matches('\\').strip_prefix(['n', 'r'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_places_found_again() {
        let text = "ab\ncd\r\n  ef\\ngh\\\\r\\\\n\tij \\x\\\\y";
        let joined = Joined::of(text).expect("several lines");
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
        assert!(Joined::of("one line \\x").is_none());
    }
}
