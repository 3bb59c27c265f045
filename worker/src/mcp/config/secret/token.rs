//! Recognition of whole tokens: parts of a text that are not within a longer run of letters and digits.

use std::ops::Range;

/// The longest escape that is recognised before a part: `\u003c`, or a colour of a terminal.
const MOST_ESCAPE_BYTES: usize = 12;

/// Returns true for a part without a letter or a digit directly before or after it.
pub(super) fn is_whole_token(text: &str, part: &Range<usize>) -> bool {
    let behind = text.get(part.end..).and_then(|rest| rest.chars().next());
    if behind.is_some_and(char::is_alphanumeric) {
        return false;
    }
    let before = text.get(..part.start).unwrap_or_default();
    !before.ends_with(char::is_alphanumeric) || ends_with_escape(before)
}

/// Returns true if a text ends with an escape: `%2F` of an address, `\n` and `\u003c` of JSON, `ESC[0m` of a terminal.
fn ends_with_escape(text: &str) -> bool {
    let from = text.ceil_char_boundary(text.len().saturating_sub(MOST_ESCAPE_BYTES));
    let end = text.get(from..).unwrap_or_default();
    let is_hex = |digits: &str, count| digits.len() == count && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let percent = end.rsplit_once('%').is_some_and(|(_, digits)| is_hex(digits, 2) || is_hex(digits, 4));
    let backslash = end.rsplit_once('\\').is_some_and(|(_, escape)| {
        matches!(escape, "n" | "r" | "t" | "b" | "f")
            || escape.strip_prefix('u').is_some_and(|digits| is_hex(digits, 4))
            || escape.strip_prefix('x').is_some_and(|digits| is_hex(digits, 2))
    });
    let colour = end.rsplit_once("\x1b[").and_then(|(_, codes)| codes.strip_suffix('m'));
    percent || backslash || colour.is_some_and(|codes| codes.bytes().all(|b| b.is_ascii_digit() || b == b';'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_next_to_letters_or_digits_is_no_whole_token_unless_they_are_an_escape() {
        let is_whole = |text: &str| {
            let start = text.find("value").expect("the part");
            is_whole_token(text, &(start..start + 5))
        };
        for text in [
            "value",
            "a value b",
            "eu-value-1b",
            "_value_",
            "key=value;",
            "/value/",
            "%2Fvalue%2F",
            "a%252fvalue",
            "a\\nvalue\\n",
            "\\u003cvalue",
            "\\x1bvalue",
            "&lt;value&gt;",
            "\x1b[1;31mvalue\x1b[0m",
            "\u{3002}value",
        ] {
            assert!(is_whole(text), "{text}");
        }
        for text in [
            "values",
            "evalue",
            "1value",
            "value1",
            "valu\u{e9}value",
            "%2Fxvalue",
            "\\nxvalue",
            "m[31mvalue",
        ] {
            assert!(!is_whole(text), "{text}");
        }
    }
}
