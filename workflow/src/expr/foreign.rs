//! Words and signs of other languages, and those of this one that mean the same.

/// The help for a name that expressions do not see.
pub(super) fn name(name: &str) -> Option<String> {
    let meant = match name {
        "always" | "success" | "failure" | "cancelled" => {
            return Some(format!("it is a function: `{name}()`"));
        }
        "yes" | "on" | "Yes" | "On" | "True" | "TRUE" => "true",
        "no" | "off" | "No" | "Off" | "False" | "FALSE" => "false",
        "None" | "nil" | "undefined" | "Null" | "NULL" => "null",
        _ => return None,
    };
    Some(format!("write `{meant}`"))
}

/// The help for a function that there is not.
pub(super) fn function(name: &str) -> Option<&'static str> {
    Some(match name {
        "len" | "length" | "lenght" | "count" | "strlen" => "write `size(x)`",
        "json" | "toJson" | "to_json" | "tojson" | "stringify" => {
            "`toJSON(x)` makes text of a value, and `fromJSON(x)` reads it"
        }
        "fromJson" | "from_json" | "fromjson" | "parseJSON" | "loads" => "write `fromJSON(x)`",
        "str" | "toString" => "write `string(x)`",
        _ => return None,
    })
}

/// The help for text that cannot be read, where the reader stopped at `at`.
pub(super) fn syntax(text: &str, at: usize) -> Option<&'static str> {
    let from =
        text.char_indices().rev().map(|(index, _)| index).filter(|index| *index <= at).nth(1).unwrap_or(0);
    let here = text.get(from..)?.trim_start();
    let before = text.get(..at).unwrap_or_default().trim_end();
    let begins = |words: &[&str]| words.iter().any(|word| here.starts_with(word));
    if text.contains("??") {
        Some("write `default(a, b)` for `a`, or `b` if it is missing")
    } else if begins(&["=>"]) {
        Some("write the variable and the expression as two arguments: `list.map(x, x.name)`")
    } else if text.contains("===") || text.contains("!==") {
        Some("equality is `==`, and `!=` is its opposite")
    } else if here.starts_with('=') && !here.starts_with("==") {
        Some("equality is `==`")
    } else if begins(&["and ", "or ", "not "]) || ends_with_word(before, &["and", "or", "not"]) {
        Some("conditions are combined with `&&`, `||` and `!`")
    } else if here.starts_with('|') && !here.starts_with("||") {
        Some("there are no pipes; write a function round the value: `size(x)`")
    } else if is_slice(text, at) {
        Some("there are no slices; `list[0]` is one item, and `list.filter(x, ...)` are some")
    } else if ends_with_word(before, &["f"])
        && text.get(at..).is_some_and(|rest| rest.starts_with(['\'', '"']))
    {
        Some("write `format('{0}', x)`, or put `${{ x }}` into the text outside of an expression")
    } else if begins(&["'", "\""]) {
        Some("a string ends with the quote it began with, on the same line; a backslash is written `\\\\`")
    } else {
        None
    }
}

fn ends_with_word(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| {
        text.strip_suffix(word).is_some_and(|rest| !rest.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

/// Returns true if the parser stopped at a colon within brackets, as in `text[0:2]`.
fn is_slice(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let opened = before.rfind('[').is_some_and(|open| before.rfind(']').is_none_or(|close| close < open));
    opened && text.get(at..).is_some_and(|rest| rest.starts_with(':'))
}
