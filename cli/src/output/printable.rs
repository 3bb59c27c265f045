//! Escapes control characters in text from other sources before it is shown on a terminal.
//!
//! The message of a tool is data. Its control characters must not move the cursor, change colours or ring the bell, and its
//! direction controls must not make one name look like another. Each is shown as `\uXXXX`, which within JSON is an escape of
//! the same character, so a document keeps its value.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes every control character except line breaks and tabs.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_space)
}

/// Escapes control characters, and indents every line but the first by at least two columns, so that no line of foreign text
/// looks like a message of Longshore. Empty lines are left out.
pub(crate) fn hanging(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let indented = lines.enumerate().map(|(number, line)| {
        let margin = if number == 0 || line.starts_with("  ") { "" } else { "  " };
        format!("{margin}{}", printable(&line.trim_end().replace('\t', "    ")))
    });
    indented.collect::<Vec<_>>().join("\n")
}

/// Puts text on one line: white space with a line break or a tab becomes one space, and control characters are escaped.
/// Other spaces stay, because they are part of the layout.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    const BREAKS: [char; 3] = ['\n', '\r', '\t'];
    let clean = escaped(text, |c| BREAKS.contains(&c));
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

/// Escapes text as the last step before a terminal: styles (`ESC [ 1 ; 31 m`), line breaks and tabs stay, and every other
/// control character is escaped. It catches foreign text that was not escaped before.
pub(super) fn styled(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| is_harmful(c) && !is_space(c)) {
        return Cow::Borrowed(text);
    }
    let (mut safe, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once(ESCAPE) {
        safe.push_str(&escaped(before, is_space));
        let style = style_length(after).and_then(|end| after.split_at_checked(end));
        rest = if let Some((style, tail)) = style {
            safe.push(ESCAPE);
            safe.push_str(style);
            tail
        } else {
            push_escaped(&mut safe, ESCAPE);
            after
        };
    }
    safe.push_str(&escaped(rest, is_space));
    Cow::Owned(safe)
}

/// First character of every terminal sequence.
const ESCAPE: char = '\u{1b}';

/// Returns the length of a style sequence without its escape character; `None` for another sequence.
fn style_length(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix('[')?;
    let end = parameters.find(|c: char| !(c.is_ascii_digit() || c == ';'))?;
    parameters.get(end..)?.starts_with('m').then_some(end + 2)
}

const fn is_space(c: char) -> bool {
    matches!(c, '\n' | '\t')
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let harmful = |c: char| is_harmful(c) && !keep(c);
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if harmful(c) { push_escaped(&mut safe, c) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

/// Appends the escape of a character. All harmful characters have at most four hexadecimal digits.
fn push_escaped(text: &mut String, c: char) {
    let _ = write!(text, "\\u{:04x}", u32::from(c));
}

/// Returns true for control characters (C0, DEL, C1), for direction marks and embeddings, with which one name can look like
/// another, and for the separators of lines and paragraphs, which break lines in some terminals.
fn is_harmful(c: char) -> bool {
    let is_direction =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    is_direction || c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_of_a_tool_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc\u{9b}d"), r"a\u001b[2Jb".to_owned() + "\n" + r"c\u009bd");
        assert_eq!(printable("gnp\u{202e}.exe"), r"gnp\u202e.exe");
        assert_eq!(printable("grün"), "grün");
    }

    #[test]
    fn further_lines_of_a_message_are_indented() {
        let text = "tool_error: no\r\n\nerror: forged\n    at main\x1b[2J\n\tat\tx";
        let indented = "tool_error: no\n  error: forged\n    at main\\u001b[2J\n      at    x";
        assert_eq!(hanging(text), indented);
        assert_eq!(hanging("one"), "one");
    }

    #[test]
    fn control_characters_are_escaped_and_keep_their_value_in_json() {
        let harmful = ('\0'..='\u{ffff}').filter(|c| is_harmful(*c));
        for c in harmful.filter(|c| !is_space(*c)) {
            let json = serde_json::to_string(&format!("a{c}b")).expect("text");
            for safe in [printable(&json), styled(&json)] {
                assert!(!safe.contains(is_harmful), "{safe:?}");
                assert_eq!(serde_json::from_str::<String>(&safe).expect("JSON"), format!("a{c}b"));
            }
        }
        assert_eq!(printable("\u{61c}\u{200e}\u{200f}\u{7f}"), r"\u061c\u200e\u200f\u007f");
    }

    #[test]
    fn only_style_sequences_reach_the_terminal() {
        let ours = "\x1b[1;31merror:\x1b[0m a\tb\n\x1b[m";
        assert_eq!(styled(ours), ours);
        let theirs = "\x1b[2J\x1b]0;title\x07\x1b[31\u{9b}31m\r\x1b";
        assert_eq!(styled(theirs), r"\u001b[2J\u001b]0;title\u0007\u001b[31\u009b31m\u000d\u001b");
    }

    #[test]
    fn message_of_many_lines_becomes_one_line() {
        assert_eq!(one_line("first\n\n  second\tthird"), "first second third");
        assert_eq!(one_line("    a  b  first \r\n\tsecond  c"), "    a  b  first second  c");
        assert_eq!(one_line("two  spaces stay"), "two  spaces stay");
    }
}
