//! Mistakes in the text, in the words of somebody who writes workflows.
//!
//! The braces, colons and exclamation marks of expressions mean something else to YAML. What the parser says about
//! them is true and of no help, so these cases are recognised and explained.

use super::DEPTH_LIMIT;
use crate::codes::Code;
use crate::diagnostics::Diagnostic;
use crate::source::{Source, Span};

/// The parser could not go on at byte `at`.
pub(super) fn syntax(source: &Source<'_>, at: usize, info: &str) -> Diagnostic {
    let character = source.text().get(at..).and_then(|text| text.chars().next());
    let span = Span::new(at, at + character.filter(|c| *c != '\n').map_or(0, char::len_utf8));
    if info.contains("recursion limit") {
        return too_deep(span);
    }
    if info.contains("unknown anchor") {
        return alias(span);
    }
    let (line_start, line) = source.line_at(at);
    let line = line.trim_end();
    let before = line.get(..at - line_start).unwrap_or(line);
    if info.contains("mapping values are not allowed") {
        return colon(line_start, line, before, span);
    }
    brace(line_start, line, before).unwrap_or_else(|| plainer(span, info))
}

/// What the parser says, with a help for what happens often.
fn plainer(span: Span, info: &str) -> Diagnostic {
    let known: [(&str, &str, &str); 5] = [
        ("tabs disallowed", "a tab cannot indent", "use spaces"),
        (
            "quoted scalar",
            "this quote is never closed, or its text is indented too little",
            "close it on the same line",
        ),
        (
            "illegal placement of ':'",
            "`:` is not expected here",
            "a bracket or brace before it may not be closed",
        ),
        (
            "did not find expected key",
            "the indentation does not match",
            "keys of one map begin in the same column",
        ),
        (
            "did not find expected ',' or",
            "`,` or a closing bracket is missing",
            "close what was opened with `[` or `{`",
        ),
    ];
    match known.iter().find(|(part, ..)| info.contains(part)) {
        Some((_, message, help)) => Diagnostic::new(Code::Syntax, span, *message).help(*help),
        None => Diagnostic::new(Code::Syntax, span, format!("not well-formed: {info}")),
    }
}

/// `x: ${{ a ? b : c }}`: the value ends at the second colon.
fn colon(line_start: usize, line: &str, before: &str, at: Span) -> Diagnostic {
    let message = "`: ` ends a value that has no quotes";
    let Some(from) = before.find("${{") else {
        let help = "put quotes round the whole value, or check the indentation";
        return Diagnostic::new(Code::Syntax, at, message).help(help);
    };
    let written = line.get(from..).unwrap_or_default();
    let span = Span::new(line_start + from, line_start + line.len());
    Diagnostic::new(Code::ColonTrap, span, message)
        .label("YAML stops reading inside this expression")
        .help(format!("put quotes round the whole value: `\"{}\"`", short(written)))
}

/// `{ id: ${{ x }} }`: YAML reads `$`, and then a map that begins with `{`.
fn brace(line_start: usize, line: &str, before: &str) -> Option<Diagnostic> {
    let from =
        before.rfind('$').filter(|from| line.get(*from..).is_some_and(|rest| rest.starts_with("${{")))?;
    if !line.get(..from)?.contains(['{', '[']) {
        return None;
    }
    let end = line.get(from..)?.find("}}").map_or(line.len(), |end| from + end + 2);
    let written = short(line.get(from..end)?);
    let span = Span::new(line_start + from, line_start + end);
    let problem = Diagnostic::new(Code::BraceTrap, span, "inside `{ }` and `[ ]`, YAML reads `{{` as a map");
    let help = format!("put quotes round it: `\"{written}\"`, or write the map over several lines");
    Some(problem.label("not read as an expression").help(help))
}

/// `if: !cancelled()`: YAML reads a tag.
pub(super) fn tag(source: &Source<'_>, span: Span) -> Diagnostic {
    let (line_start, line) = source.line_at(span.start);
    let written = line.get(span.start - line_start..).unwrap_or_default().trim_end();
    let span = Span::new(span.start, span.start + written.len());
    let help = if written.contains('(') {
        format!("write `${{{{ {} }}}}`", short(written))
    } else {
        "put quotes round the text if the `!` belongs to it".to_owned()
    };
    let message = "a value that begins with `!` is a YAML tag, and the format has none";
    Diagnostic::new(Code::Tag, span, message).label("read as a tag, not as an expression").help(help)
}

pub(super) fn alias(span: Span) -> Diagnostic {
    Diagnostic::new(Code::Alias, span, "anchors and aliases are not part of the format")
        .help("write the value where it is used; put quotes round text that begins with `&` or `*`")
}

pub(super) fn too_deep(span: Span) -> Diagnostic {
    let message = format!("lists and maps stand in each other more than {DEPTH_LIMIT} levels deep");
    Diagnostic::new(Code::TooDeep, span, message).help("pass deep data as an input, or let a tool compute it")
}

/// What was written, cut to what fits into a message.
pub(super) fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
