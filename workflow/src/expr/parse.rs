//! Text to a syntax tree of the `cel` crate, within limits.
//!
//! The crate's parser is an ANTLR one: correct, tolerant of nothing, and hungry for stack. It bounds nesting but not
//! the length of a chain, so both are bounded here. Its messages are put into plainer words.

use std::ops::Range;
use std::sync::LazyLock;

use cel::ParseError;
use cel::common::ast::{EntryExpr, Expr as Tree, IdedExpr, SourceInfo};

use super::foreign;
use super::refused::Refused;
use super::room;
use crate::codes::Code;

/// The longest expression, in bytes: two screens full; what is longer wants to be a step.
pub(crate) const LENGTH_LIMIT: usize = 4 * 1024;

/// How deep brackets may stand in each other, as the parser's stack grows with them.
const BRACKET_LIMIT: usize = 32;

/// How deep the tree may be, as the evaluator's stack grows with it. A chain `a + b + c` is as deep as it is long.
const DEPTH_LIMIT: usize = 64;

static ENV: LazyLock<cel::Env> = LazyLock::new(cel::Env::stdlib);

/// The tree of an expression, and where its nodes stand in the text.
pub(super) fn parse(text: &str) -> Result<(IdedExpr, SourceInfo), Refused> {
    let whole = 0..text.len();
    if text.len() > LENGTH_LIMIT {
        let message = format!("the expression is {} bytes long; the limit is 4 KiB", text.len());
        return Err(Refused::new(Code::ExpressionTooLong, 0..LENGTH_LIMIT.min(80), message)
            .help("compute parts of it in a `set` step before"));
    }
    if text.trim().is_empty() {
        return Err(Refused::new(Code::ExpressionSyntax, whole, "the expression is empty"));
    }
    if brackets(text) > BRACKET_LIMIT {
        return Err(too_deep(whole));
    }
    room::to_parse(|| {
        let parsed = ENV.parser().parse_with_source_info(text);
        let (tree, info) = parsed.map_err(|errors| refusal(text, errors.errors.into_iter().next()))?;
        if depth(&tree) > DEPTH_LIMIT { Err(too_deep(whole)) } else { Ok((tree, info)) }
    })
}

fn too_deep(at: Range<usize>) -> Refused {
    Refused::new(Code::ExpressionTooDeep, at, "the expression is nested too deeply")
        .help(format!("at most {BRACKET_LIMIT} brackets in each other and {DEPTH_LIMIT} chained operators; compute parts of it in a `set` step before"))
}

/// The deepest nesting of brackets. Those inside strings count as well, which errs on the safe side.
fn brackets(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// How many levels a tree has.
pub(super) fn depth(tree: &IdedExpr) -> usize {
    let mut deepest = 0;
    for_each_child(tree, &mut |child| deepest = deepest.max(depth(child)));
    deepest + 1
}

/// How many nodes a tree has.
pub(super) fn size(tree: &IdedExpr) -> usize {
    let mut sum = 1;
    for_each_child(tree, &mut |child| sum += size(child));
    sum
}

fn for_each_child<'t>(tree: &'t IdedExpr, visit: &mut impl FnMut(&'t IdedExpr)) {
    let mut entries = |entries: &'t [cel::common::ast::IdedEntryExpr]| {
        for entry in entries {
            match &entry.expr {
                EntryExpr::StructField(field) => visit(&field.value),
                EntryExpr::MapEntry(pair) => {
                    visit(&pair.key);
                    visit(&pair.value);
                }
            }
        }
    };
    match &tree.expr {
        Tree::Unspecified | Tree::Ident(_) | Tree::Literal(_) => {}
        Tree::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(visit),
        Tree::Comprehension(each) => {
            [&each.iter_range, &each.accu_init, &each.loop_cond, &each.loop_step, &each.result]
                .into_iter()
                .for_each(visit);
        }
        Tree::List(list) => list.elements.iter().for_each(visit),
        Tree::Map(map) => entries(&map.entries),
        Tree::Select(select) => visit(&select.operand),
        Tree::Struct(message) => entries(&message.entries),
    }
}

/// What the parser says first, in plainer words.
fn refusal(text: &str, error: Option<ParseError>) -> Refused {
    let Some(error) = error else {
        return Refused::new(Code::ExpressionSyntax, 0..text.len(), "this is not an expression");
    };
    let at = position(text, error.pos);
    let said = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
    let quoted = said.split('\'').nth(1).unwrap_or_default();
    let at = at..(at + quoted.len().max(1)).min(text.len()).max(at);
    if said.contains("Recursion limit") {
        return too_deep(0..text.len());
    }
    let message =
        if let Some(missing) = said.strip_prefix("missing '").and_then(|rest| rest.split('\'').next()) {
            format!("`{missing}` is missing")
        } else if quoted == "<EOF>" {
            "the expression ends too early".to_owned()
        } else if let Some(word) = said.strip_prefix("reserved identifier: ") {
            format!("`{word}` is a word that expressions reserve")
        } else if said.starts_with("token recognition error") {
            let rest =
                said.split_once("at: '").map_or(quoted, |(_, rest)| rest.strip_suffix('\'').unwrap_or(rest));
            format!("cannot read `{}`", rest.trim_end())
        } else if ["extraneous", "mismatched", "no viable"].iter().any(|word| said.starts_with(word)) {
            match quoted.trim() {
                "" => "the expression cannot be read from here on".to_owned(),
                quoted => format!("`{quoted}` is not expected here"),
            }
        } else if said.starts_with("Incomplete `ExprContext`") {
            // The parser speaks of its own parts.
            "the expression cannot be read".to_owned()
        } else if said.contains("has() macro") {
            "`has()` takes a field, as in `has(steps.fetch.output.title)`".to_owned()
        } else {
            said.to_owned()
        };
    let refused = Refused::new(Code::ExpressionSyntax, at.clone(), message);
    match foreign::syntax(text, at.start) {
        Some(help) => refused.help(help),
        None => refused,
    }
}

/// The byte at a line and column, both from 1.
fn position(text: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(column).unwrap_or(1).saturating_sub(1);
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
}
