//! Names and operators of other languages, and their equivalents in this language.

use std::ops::Range;

/// Returns the help for an unknown name.
pub(super) fn name(name: &str) -> Option<String> {
    let meant = match name {
        "always" | "success" | "failure" | "cancelled" => {
            return Some(format!("it is a function: `{name}()`"));
        }
        "yes" | "on" | "Yes" | "On" | "True" | "TRUE" => "true",
        "no" | "off" | "No" | "Off" | "False" | "FALSE" => "false",
        "None" | "nil" | "undefined" | "Null" | "NULL" => "null",
        "params" | "parameters" | "args" | "arguments" | "variables" => {
            return Some("what a run is given is read as `inputs.<name>`".to_owned());
        }
        "needs" | "jobs" | "tasks" | "nodes" | "outputs" | "output" | "result" => {
            return Some("what a step gave is read as `steps.<id>.output`".to_owned());
        }
        "env" | "environment" => {
            return Some("a workflow sees no environment variables; pass values as `inputs`".to_owned());
        }
        "github" | "workflow" | "context" | "execution" => {
            return Some("the run is read as `run.id`, `run.workflow` and `run.attempt`".to_owned());
        }
        _ => return None,
    };
    Some(format!("write `{meant}`"))
}

/// Returns the help for an unknown function.
pub(super) fn function(name: &str) -> Option<&'static str> {
    Some(match name {
        "len" | "length" | "lenght" | "count" | "strlen" => "write `size(x)`",
        "json" | "toJson" | "to_json" | "tojson" | "stringify" => {
            "`toJSON(x)` makes text of a value, and `fromJSON(x)` reads it"
        }
        "fromJson" | "from_json" | "fromjson" | "parseJSON" | "loads" => "write `fromJSON(x)`",
        "str" | "toString" => "write `string(x)`",
        "min" | "max" => "write `a > b ? a : b`",
        "toUpperCase" | "toLowerCase" | "upper" | "lower" | "upperAscii" | "lowerAscii" => {
            "no function changes letters; `matches(x, '(?i)text')` compares them in any case"
        }
        "includes" | "has_key" | "hasKey" => "write `contains(a, b)`",
        "isEmpty" | "empty" | "is_empty" => "write `size(x) == 0`",
        "coalesce" | "ifelse" | "iif" | "nvl" => "write `default(path, value)`, or `condition ? a : b`",
        _ => return None,
    })
}

/// Returns the help for a field or method that is a function in this language.
pub(super) fn field(name: &str, path: &str) -> Option<String> {
    matches!(name, "length" | "len" | "count" | "size").then(|| format!("write `size({path})`"))
}

/// Recognises a name with a dash, which is parsed as a subtraction. `name` begins at byte `at`, directly after the dash.
/// Returns the range of the whole name, the message and the help.
pub(super) fn dashed(text: &str, name: &str, at: usize) -> Option<(Range<usize>, String, String)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let before = text.get(..at)?;
    let path_start = before.rfind(|c: char| !is_word(c) && c != '.').map_or(0, |last| last + 1);
    let path = before.get(path_start..)?.strip_suffix('-')?;
    let (parent, first) = path.rsplit_once('.')?;
    let rest = text.get(at..)?;
    let end = at + rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()).max(name.len());
    let start = at - 1 - first.len();
    let word = text.get(start..end)?;
    if first.is_empty() || first.ends_with('-') && first.len() == 1 {
        return None;
    }
    let message = format!("a `-` within a name is a subtraction: `{word}`");
    let help = match parent {
        "steps" | "inputs" => {
            let name = word.replace('-', "_");
            format!("names cannot hold `-`: call it `{name}`, and write `{parent}.{name}`")
        }
        _ => format!("write `{parent}['{word}']`"),
    };
    Some((start..end, message, help))
}

/// Returns the help for a syntax error at byte `at`.
pub(super) fn syntax(text: &str, at: usize) -> Option<String> {
    reserved_field(text, at).or_else(|| sign(text, at).map(str::to_owned))
}

/// Returns the help for `.in` and the other words that cannot follow a dot.
fn reserved_field(text: &str, at: usize) -> Option<String> {
    // The parser stops at the word or at the dot.
    let rest = text.get(at..)?;
    let (at, rest) = match rest.strip_prefix('.') {
        Some(rest) => (at, rest),
        None => (text.get(..at)?.strip_suffix('.')?.len(), rest),
    };
    let word = ["in", "true", "false", "null"].into_iter().find(|word| {
        rest.strip_prefix(word).is_some_and(|end| !end.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    })?;
    let before = text.get(..at)?;
    let start =
        before.rfind(|c: char| !(c.is_alphanumeric() || "_.[]'".contains(c))).map_or(0, |last| last + 1);
    let path = before.get(start..)?;
    if path == "inputs" {
        return Some(format!(
            "no input can be called `{word}`: call it `{word}_`, and read `inputs.{word}_`"
        ));
    }
    let field = format!("write `{path}['{word}']` for the field `{word}`");
    Some(if word == "in" { format!("{field}, and `x in ['a', 'b']` to look in a list") } else { field })
}

fn sign(text: &str, at: usize) -> Option<&'static str> {
    let from =
        text.char_indices().rev().map(|(index, _)| index).filter(|index| *index <= at).nth(1).unwrap_or(0);
    let here = text.get(from..)?.trim_start();
    let before = text.get(..at).unwrap_or_default().trim_end();
    let begins = |words: &[&str]| words.iter().any(|word| here.starts_with(word));
    let all = text.trim_start();
    if all.starts_with("{{") || here.starts_with('$') || before.ends_with('$') {
        Some("write names without `$` and without braces of their own, as in `inputs.name == 'a'`")
    } else if here.starts_with("<>") || before.ends_with('<') && here.trim_start_matches('<').starts_with('>')
    {
        Some("write `!=`")
    } else if begins(&["is "]) {
        Some("write `x == null`, or `x != null`")
    } else if begins(&["LIKE ", "like "]) {
        Some("write `contains(a, b)`, or `matches(a, 'regex')`")
    } else if begins(&["if ", "then ", "else "]) {
        Some("write `condition ? a : b`")
    } else if text.contains(" in (") {
        Some("write a list in brackets: `x in ['a', 'b']`")
    } else if here.starts_with("**") || before.ends_with('*') && here.starts_with('*') {
        Some("there is no sign for powers; multiply, as in `x * x`")
    } else if text.contains("??") {
        Some("write `default(a, b)` for `a`, or `b` if it is missing")
    } else if begins(&["=>"]) {
        Some("write the variable and the expression as two arguments: `list.map(x, x.name)`")
    } else if text.contains("===") || text.contains("!==") {
        Some("equality is `==`, and `!=` is its opposite")
    } else if here.starts_with('=') && !here.starts_with("==") {
        Some("equality is `==`")
    } else if begins(&["not "]) || ends_with_word(before, &["not"]) {
        Some("write `!x`; conditions are combined with `&&` and `||`")
    } else if begins(&["and ", "or "]) || ends_with_word(before, &["and", "or"]) {
        Some("conditions are combined with `&&`, `||` and `!`")
    } else if here.starts_with('|') && !here.starts_with("||") {
        Some("there are no pipes; write a function round the value: `size(x)`")
    } else if here.starts_with(".*") || here.starts_with("*.") || text.contains("[*]") {
        Some("write `list.map(x, x.name)`")
    } else if here.starts_with('`') {
        Some("write text in single or double quotes")
    } else if is_slice(text, at) {
        Some("there are no slices; `list[0]` is one item, and `list.filter(x, ...)` are some")
    } else if ends_with_word(before, &["f"])
        && text.get(at..).is_some_and(|rest| rest.starts_with(['\'', '"']))
    {
        Some("write `format('{0}', x)`, or put `${{ x }}` into the text outside of an expression")
    } else if begins(&["'", "\""]) {
        Some(
            "a string ends with the quote it began with, on the same line; such a quote within it is written `\\'`, and a backslash `\\\\`",
        )
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
