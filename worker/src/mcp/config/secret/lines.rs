//! Hiding of secrets in the lines of a process, including secrets that span several lines.

use std::ops::Range;

use super::{MASK, Secrets, find};

/// Minimum length of the last word of a line for it to count as base64 that may continue in the next line. Tools break base64
/// into lines of 60, 64 or 76 characters; words of ordinary lines are shorter.
const SHORTEST_BASE64_LINE_CHARS: usize = 48;

/// Maximum number of bytes of waiting lines, in addition to twice the longest value.
const MOST_WAITING_BYTES: usize = 4 * 1024;

/// Hides secrets in consecutive lines.
///
/// A line whose end may be the beginning of a value in base64 waits for the next line. `T` is a tag of a line, such as its level.
#[derive(Debug)]
pub(crate) struct LineMask<T> {
    secrets: Secrets,
    waiting: Vec<(T, String)>,
}

impl<T> LineMask<T> {
    /// Creates a mask without waiting lines.
    pub(crate) const fn new(secrets: Secrets) -> Self {
        Self { secrets, waiting: Vec::new() }
    }

    /// Returns the values that are hidden.
    pub(crate) const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Adds a line, and returns the lines that can be shown now. `is_cut` means that the end of the line was cut off.
    pub(crate) fn push(&mut self, tag: T, line: String, is_cut: bool) -> Vec<(T, String)> {
        self.waiting.push((tag, line));
        let text = self.text();
        if is_cut {
            return self.release(self.waiting.len(), &self.hidden(&text, true));
        }
        let first = self.first_waiting(&text).unwrap_or(self.waiting.len());
        self.release(first, &self.hidden(&text, false))
    }

    /// Returns the waiting lines as they would be shown if no line followed.
    pub(crate) fn waiting(&self) -> Vec<(&T, String)> {
        let hidden = self.hidden(&self.text(), true);
        self.waiting.iter().map(|(tag, _)| tag).zip(hidden).collect()
    }

    /// Takes the waiting lines. Called when no line follows.
    pub(crate) fn finish(&mut self) -> Vec<(T, String)> {
        let hidden = self.hidden(&self.text(), true);
        self.release(self.waiting.len(), &hidden)
    }

    fn text(&self) -> String {
        self.waiting.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Returns the index of the first line that must wait.
    fn first_waiting(&self, text: &str) -> Option<usize> {
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
        let (_, last) = self.waiting.last()?;
        let last_word = last.len() - last.trim_end_matches(is_base64).len();
        if last_word < SHORTEST_BASE64_LINE_CHARS {
            return None;
        }
        let most = self.secrets.longest_bytes().saturating_mul(2).saturating_add(MOST_WAITING_BYTES);
        let start = self.secrets.start_of_base64(text).filter(|_| text.len() <= most)?;
        let start = self.secrets.start_of_containing(text, start);
        self.line_ranges().iter().position(|line| start <= line.end)
    }

    /// Returns the ranges of the lines in [`LineMask::text`]. A line may contain line breaks.
    fn line_ranges(&self) -> Vec<Range<usize>> {
        let mut end = 0;
        let range = |(_, line): &(T, String)| {
            let start = end;
            end = start + line.len() + 1;
            start..start + line.len()
        };
        self.waiting.iter().map(range).collect()
    }

    /// Returns each line with secrets hidden. If `is_cut`, an incomplete value at the end is hidden too.
    fn hidden(&self, text: &str, is_cut: bool) -> Vec<String> {
        let mut parts = self.secrets.find(text).parts;
        if let Some(start) = is_cut.then(|| self.secrets.start_of_incomplete(text)).flatten() {
            parts.push(start..text.len());
            parts = find::merged(parts);
        }
        let of_line = |line: Range<usize>| {
            let (mut hidden, mut shown_to) = (String::new(), line.start);
            for part in parts.iter().filter(|part| part.start < line.end && line.start < part.end) {
                hidden.push_str(text.get(shown_to..part.start.max(shown_to)).unwrap_or_default());
                if part.start >= line.start {
                    hidden.push_str(MASK);
                }
                shown_to = part.end.min(line.end);
            }
            hidden.push_str(text.get(shown_to..line.end).unwrap_or_default());
            hidden
        };
        self.line_ranges().into_iter().map(of_line).collect()
    }

    /// Removes the first `count` waiting lines, and returns them with their texts from `hidden`.
    fn release(&mut self, count: usize, hidden: &[String]) -> Vec<(T, String)> {
        let tags = self.waiting.drain(..count.min(self.waiting.len())).map(|(tag, _)| tag);
        tags.zip(hidden.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const VALUE: &str =
        "sk-l1ve-0123456789-abcdefghij-0123456789-klmnopqrst-0123456789-uvwxyz-0123456789-ABCD";

    fn mask() -> LineMask<usize> {
        let mut secrets = Secrets::default();
        secrets.add(VALUE);
        LineMask::new(secrets)
    }

    /// Pushes all lines, and returns the shown lines. Each must be shown once.
    fn shown(lines: &[&str]) -> String {
        let mut mask = mask();
        let mut shown = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            shown.extend(mask.push(number, (*line).to_owned(), false));
        }
        shown.extend(mask.finish());
        let numbers: Vec<usize> = shown.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (0..lines.len()).collect::<Vec<_>>());
        shown.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn value_in_base64_is_hidden_across_lines_at_any_offset() {
        for before in 0..120 {
            let encoded = STANDARD.encode(format!("{}{VALUE}{}", "x".repeat(before), "y".repeat(90)));
            for columns in [60, 64, 76] {
                let lines: Vec<&str> = encoded
                    .as_bytes()
                    .chunks(columns)
                    .map(|line| std::str::from_utf8(line).expect("text"))
                    .collect();
                let lines = [vec!["token:"], lines, vec!["ready"]].concat();
                let shown = shown(&lines);
                let kept: String = shown.split("***").collect::<String>().replace('\n', "");
                assert!(
                    encoded.len() + 11 - kept.len() >= (VALUE.len() * 8 - 10) / 6,
                    "{before}, {columns}: {shown}"
                );
                assert!(shown.starts_with("token:\n") && shown.ends_with("\nready"), "{shown}");
            }
        }
    }

    #[test]
    fn incomplete_value_is_hidden_and_ordinary_lines_do_not_wait() {
        let encoded = STANDARD.encode(VALUE);
        let mut mask = mask();
        assert_eq!(mask.push(1, "listening on port 3000".to_owned(), false).len(), 1);
        assert_eq!(mask.push(2, format!("begin c2st {}", "0".repeat(64)), false).len(), 1);
        assert!(mask.push(3, encoded[..64].to_owned(), false).is_empty());
        assert_eq!(mask.waiting(), [(&3, "***".to_owned())]);
        assert_eq!(mask.finish(), [(3, "***".to_owned())]);
        assert!(mask.finish().is_empty());
    }

    #[test]
    fn number_of_waiting_lines_is_bounded() {
        let mut secrets = Secrets::default();
        secrets.add(&"A".repeat(200));
        let mut mask = LineMask::new(secrets);
        let line = STANDARD.encode("A".repeat(57));
        let waiting = (0..100).map(|number| {
            mask.push(number, line.clone(), false);
            mask.waiting.len()
        });
        assert!(waiting.max().is_some_and(|most| most < 90));
    }
}
