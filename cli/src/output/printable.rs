//! Text from elsewhere, made harmless for a terminal.
//!
//! A tool's message is data: its control characters must not move the cursor, change colours or ring a bell.

use std::borrow::Cow;

/// The text with line breaks and tabs kept and every other control character shown as a replacement character.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    replaced(text, |c| matches!(c, '\n' | '\t'))
}

/// The same with every line but the first indented by at least two columns, so that no line of a text from elsewhere
/// passes for one of ours. Empty lines are left out.
pub(crate) fn hanging(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let hung = lines.enumerate().map(|(number, line)| {
        let margin = if number == 0 || line.starts_with("  ") { "" } else { "  " };
        format!("{margin}{}", printable(&line.trim_end().replace('\t', "    ")))
    });
    hung.collect::<Vec<_>>().join("\n")
}

/// The text on one line: white space with a line break or a tab in it is one space, control characters are replaced.
/// Other spaces stay, because they are the layout of whoever put the line together.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    const BREAKS: [char; 3] = ['\n', '\r', '\t'];
    let clean = replaced(text, |c| BREAKS.contains(&c));
    if !clean.contains(BREAKS) {
        return clean;
    }
    let (mut line, mut rest) = (String::with_capacity(clean.len()), clean.as_ref());
    while let Some((before, after)) = rest.split_once(BREAKS) {
        line.push_str(before.trim_end());
        line.push(' ');
        rest = after.trim_start();
    }
    line.push_str(rest);
    Cow::Owned(line)
}

fn replaced(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let harmful = |c: char| (c.is_control() && !keep(c)) || is_layout(c);
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if harmful(c) { char::REPLACEMENT_CHARACTER } else { c }).collect())
}

/// Characters that turn the direction of what follows, so that a name could show as another one, and the two that
/// separate lines or paragraphs in some terminals.
const fn is_layout(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_a_tool_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc\u{9b}d"), "a\u{fffd}[2Jb\nc\u{fffd}d");
        assert_eq!(printable("gnp\u{202e}.exe"), "gnp\u{fffd}.exe");
        assert_eq!(printable("grün"), "grün");
    }

    #[test]
    fn further_lines_of_a_message_hang_below_its_first() {
        let text = "tool_error: no\r\n\nerror: forged\n    at main\x1b[2J\n\tat\tx";
        let hung = "tool_error: no\n  error: forged\n    at main\u{fffd}[2J\n      at    x";
        assert_eq!(hanging(text), hung);
        assert_eq!(hanging("one"), "one");
    }

    #[test]
    fn a_message_of_many_lines_fits_into_one() {
        assert_eq!(one_line("first\n\n  second\tthird"), "first second third");
        assert_eq!(one_line("    a  b  first \r\n\tsecond  c"), "    a  b  first second  c");
        assert_eq!(one_line("two  spaces stay"), "two  spaces stay");
    }
}
