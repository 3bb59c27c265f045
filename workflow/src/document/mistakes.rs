//! Messages for syntax errors, in terms of workflows instead of YAML.
//!
//! The braces, colons and exclamation marks of expressions have other meanings in YAML. The parser's errors about them do
//! not help an author, so these cases are recognised and explained.

use super::DEPTH_LIMIT;
use crate::codes::Code;
use crate::diagnostics::Diagnostic;
use crate::source::{SourceText, Span, shorten};

/// A mistake that stops the parser.
pub(super) struct FatalMistake {
    pub(super) problem: Diagnostic,
    /// Span of the value with the mistake, if the rest of the text can be parsed once it is blanked.
    pub(super) value: Option<Span>,
}

impl From<Diagnostic> for FatalMistake {
    fn from(problem: Diagnostic) -> Self {
        Self { problem, value: None }
    }
}

/// Explains an error at which the parser stopped, at byte `at`.
pub(super) fn syntax(source: &SourceText<'_>, at: usize, info: &str) -> FatalMistake {
    let character = source.text().get(at..).and_then(|text| text.chars().next());
    let span = Span::new(at, at + character.filter(|c| *c != '\n').map_or(0, char::len_utf8));
    if info.contains("recursion limit") {
        return too_deep(span).into();
    }
    let (line_start, line) = source.line_at(at);
    let line = line.trim_end();
    let before = line.get(..at - line_start).unwrap_or(line);
    if info.contains("unknown anchor") {
        return FatalMistake { problem: alias(span), value: alias_at(source, at) };
    }
    if info.contains("mapping values are not allowed") {
        let above = source.line_at(line_start.saturating_sub(1)).1;
        return misplaced_key(line_start, before, above)
            .map_or_else(|| colon(line_start, line, before, span), FatalMistake::from);
    }
    brace(line_start, line, before).unwrap_or_else(|| explain(span, info).into())
}

/// Returns the span of an alias `*name` at or directly before byte `at`.
fn alias_at(source: &SourceText<'_>, at: usize) -> Option<Span> {
    let (line_start, line) = source.line_at(at);
    let star = line_start + line.get(..=at.checked_sub(line_start)?)?.rfind('*')?;
    let name = source.text().get(star + 1..)?.split([' ', ',', ']', '}', '\n', '\r']).next()?;
    Some(Span::new(star, star + 1 + name.len()))
}

/// Parts of parser messages, each with an explanation and the remedy. The first match applies.
const MEANINGS: [(&str, &str, &str); 21] = [
    (
        "expected '-' indicator",
        OUT_OF_LINE,
        "the keys of a step begin in the same column, two behind its `-`",
    ),
    ("did not find expected key", OUT_OF_LINE, SAME_COLUMN),
    (
        "invalid indentation in quoted",
        "this quote is never closed, or its text is indented too little",
        "close it on the same line",
    ),
    ("invalid indentation", OUT_OF_LINE, SAME_COLUMN),
    ("mapping keys are not allowed", OUT_OF_LINE, SAME_COLUMN),
    (
        "wrongly indented line in block",
        OUT_OF_LINE,
        "indent all lines of a text as its first one, or further",
    ),
    (
        "<document start>",
        "this line does not belong to the value above it",
        "begin the keys at the top in the first column",
    ),
    ("unprintable", "this character cannot be printed", "remove it"),
    ("tab", "a tab cannot indent", "use spaces"),
    (
        "trailing content",
        "nothing can follow a closing quote",
        "put the whole value into quotes, or `,` between two values",
    ),
    (
        "quoted scalar, found un",
        "this quote is never closed, or its text is indented too little",
        "close it on the same line",
    ),
    (
        "parsing a quoted scalar",
        "a backslash begins an escape, and this is not one",
        "use single quotes, or write the backslash twice",
    ),
    (
        "illegal placement of ':'",
        "`:` is not expected here",
        "a bracket or brace before it may not be closed",
    ),
    ("expected ',' or", "`,` or a closing bracket is missing", "close what was opened with `[` or `{`"),
    (
        "misplaced bracket",
        "this bracket closes nothing",
        "remove it, or put quotes round the text it belongs to",
    ),
    (
        "simple key expect",
        "a key before this place has no `:`",
        "write `key: value`; indent further lines of a text below its key",
    ),
    (
        "unexpected character",
        "a value without quotes cannot begin with this character",
        "put quotes round the text",
    ),
    (
        "scanning a block scalar",
        "nothing can follow `|` or `>` on its line",
        "begin the text on the next line, indented further than its key",
    ),
    ("block sequence entries", "a list cannot begin here", "begin it on a line of its own, below its key"),
    ("'-'", "a `-` that begins an entry needs a space behind it", "write `- `, or put quotes round the text"),
    (
        "unexpected e",
        "the text ends before this is complete",
        "close what was opened with a quote, `[` or `{`",
    ),
];

const OUT_OF_LINE: &str = "the indentation does not match";
const SAME_COLUMN: &str = "keys of one map begin in the same column, and so do the `-` of one list";

/// Explains a parser message.
fn explain(span: Span, info: &str) -> Diagnostic {
    match MEANINGS.iter().find(|(part, ..)| info.contains(part)) {
        Some((_, message, help)) => Diagnostic::new(Code::Syntax, span, *message).help(*help),
        None => Diagnostic::new(Code::Syntax, span, format!("not well-formed: {info}"))
            .help("check quotes, brackets and indentation, here and in the line above"),
    }
}

/// Explains a key that is indented like a continuation of the value above it.
fn misplaced_key(line_start: usize, before: &str, above: &str) -> Option<Diagnostic> {
    let key = before.trim_start();
    if key.is_empty() || key.contains([':', '{', '[', '"', '\'']) || above.trim().is_empty() {
        return None;
    }
    let from = line_start + before.len() - key.len();
    let span = Span::new(from, from + key.len());
    let dash =
        above.trim_start().strip_prefix('-').is_some_and(|rest| rest.starts_with(char::is_alphanumeric));
    let help = if dash {
        "a `-` that begins an entry needs a space behind it: check the line above"
    } else {
        "begin it in the column of the keys it belongs to"
    };
    let message = "this line is indented as if it were more of the value above it";
    Some(Diagnostic::new(Code::Syntax, span, message).help(help))
}

/// Explains `x: ${{ a ? b : c }}`, where the value ends at the second colon.
fn colon(line_start: usize, line: &str, before: &str, at: Span) -> FatalMistake {
    let message = "`: ` ends a value that has no quotes";
    let Some(from) = before.find("${{") else {
        return Diagnostic::new(Code::Syntax, at, message).help("put quotes round the whole value").into();
    };
    let written = line.get(from..).unwrap_or_default();
    let span = Span::new(line_start + from, line_start + line.len());
    let problem = Diagnostic::new(Code::UnquotedColon, span, message)
        .label("YAML stops reading inside this expression")
        .help(format!("put quotes round the whole value: `\"{}\"`", shorten(written)));
    FatalMistake { problem, value: Some(span) }
}

/// Explains `{ id: ${{ x }} }`, where YAML reads `$` and then a map.
fn brace(line_start: usize, line: &str, before: &str) -> Option<FatalMistake> {
    let from =
        before.rfind('$').filter(|from| line.get(*from..).is_some_and(|rest| rest.starts_with("${{")))?;
    if !line.get(..from)?.contains(['{', '[']) {
        return None;
    }
    let end = line.get(from..)?.find("}}").map_or(line.len(), |end| from + end + 2);
    let written = shorten(line.get(from..end)?);
    let span = Span::new(line_start + from, line_start + end);
    let problem =
        Diagnostic::new(Code::UnquotedBraces, span, "inside `{ }` and `[ ]`, YAML reads `{{` as a map");
    let help = format!("put quotes round it: `\"{written}\"`, or write the map over several lines");
    let problem = problem.label("not read as an expression").help(help);
    Some(FatalMistake { problem, value: Some(span) })
}

/// Explains a key that is a list or a map. Most likely it is `{{ x }}`, an expression in other languages.
pub(super) fn key_not_text(source: &SourceText<'_>, span: Span) -> FatalMistake {
    let (line_start, line) = source.line_at(span.start);
    let at = span.start - line_start;
    let from = at.checked_sub(1).filter(|from| line.get(*from..).is_some_and(|rest| rest.starts_with("{{")));
    if let Some(from) = from
        && let Some(length) = line.get(from..).and_then(|rest| rest.find("}}"))
    {
        let end = from + length + 2;
        let written = shorten(line.get(from..end).unwrap_or_default());
        let span = Span::new(line_start + from, line_start + end);
        let message = "YAML reads `{{` as a map, and an expression begins with `${{`";
        let problem = Diagnostic::new(Code::UnquotedBraces, span, message)
            .label("not read as an expression")
            .help(format!("write `\"${written}\"`, with the quotes"));
        return FatalMistake { problem, value: Some(span) };
    }
    Diagnostic::new(Code::KeyNotText, source.first_line(span), "this key is not text")
        .help("keys are plain words; put quotes round a key that begins with `{`, `[` or `?`")
        .into()
}

/// Explains `if: !cancelled()`, where YAML reads a tag.
pub(super) fn tag(source: &SourceText<'_>, span: Span) -> Diagnostic {
    let (line_start, line) = source.line_at(span.start);
    let written = line.get(span.start - line_start..).unwrap_or_default().trim_end();
    let span = Span::new(span.start, span.start + written.len());
    let help = if written.contains('(') {
        format!("write `${{{{ {} }}}}`", shorten(written))
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
    let message = format!("lists and maps are nested more than {DEPTH_LIMIT} levels deep");
    Diagnostic::new(Code::TooDeep, span, message).help("pass deep data as an input, or let a tool compute it")
}
