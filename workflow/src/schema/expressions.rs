//! Conditions and templates, with the place of every expression in the file.

use super::Shaper;
use crate::codes::Code;
use crate::diagnostics::Diagnostic;
use crate::document::{Entry, Kind, Node};
use crate::draft::{Reference, Referent};
use crate::expr::find::{OPEN, Piece, pieces};
use crate::expr::{Expr, Mention};
use crate::source::{Placed, Span};
use crate::template::{Part, Template, TextPart};

/// The most expressions of a file, and the most bytes of them together: in a release build, the parser takes up
/// to 1.2 ms for each KiB of an expression that was written to be slow, and some 25 µs for an ordinary one.
const COUNT_LIMIT: usize = 10_000;
const BYTES_LIMIT: usize = 256 * 1024;

/// Where an expression stands.
#[derive(Clone, Copy)]
enum Origin {
    /// Written as it is, beginning at this byte.
    Exact(usize),
    /// Written with escapes or over several lines: only the value as a whole has a place.
    Within(Span),
}

impl Origin {
    fn span(self, range: &std::ops::Range<usize>) -> Span {
        match self {
            Self::Exact(start) => Span::new(start, start).part(range),
            Self::Within(span) => span,
        }
    }
}

impl Shaper<'_, '_> {
    /// A condition: an expression whose braces may be left out.
    pub(super) fn condition(&mut self, entry: &Entry) -> Option<Expr> {
        let span = self.value_span(entry);
        let text = match &entry.value.kind {
            Kind::Bool(value) => return self.expression(&value.to_string(), Origin::Within(span)),
            Kind::Text(text) => text,
            _ => {
                self.wrong_type(entry, "a condition", "as in `if: steps.fetch.output.found`");
                return None;
            }
        };
        let expr = self.condition_text(text, entry, span);
        if let Some(expr) = &expr
            && expr.is_optional_path()
        {
            let message = format!("`{}` may be nothing, which is no condition", expr.source());
            let help = format!("write `{}.orValue(false)`", expr.source());
            self.refuse(Diagnostic::new(Code::OptionalInText, span, message).help(help));
        }
        expr
    }

    fn condition_text(&mut self, text: &str, entry: &Entry, span: Span) -> Option<Expr> {
        let pieces = self.pieces(text, &entry.value)?;
        let blank = |piece: &&Piece| match piece {
            Piece::Text(range) => !text.get(range.clone()).unwrap_or_default().trim().is_empty(),
            Piece::Expression(_) => true,
        };
        let mut cursor = 0;
        match pieces.iter().filter(blank).collect::<Vec<_>>().as_slice() {
            [Piece::Expression(range)] => {
                let inner = text.get(range.clone()).unwrap_or_default();
                let origin = self.origin(&entry.value, inner, &mut cursor);
                self.expression(inner, origin)
            }
            [] | [Piece::Text(_)] => {
                let raw = self.source.slice(entry.value.span);
                let origin = raw
                    .find(text)
                    .map_or(Origin::Within(span), |at| Origin::Exact(entry.value.span.start + at));
                self.expression(text, origin)
            }
            _ => {
                let message = "a condition is one expression, and here is text beside the braces";
                let help = "leave the braces out, or put them round the whole";
                self.refuse(Diagnostic::new(Code::MixedCondition, span, message).help(help));
                None
            }
        }
    }

    /// A value with expressions in its texts. What is refused becomes null; the report says why.
    pub(super) fn template(&mut self, node: &Node) -> Template {
        Template::new(self.part(node))
    }

    fn part(&mut self, node: &Node) -> Part {
        match &node.kind {
            Kind::Text(text) if text.contains(OPEN) => self.text_part(text, node),
            Kind::Text(text) => {
                self.literal(text, node);
                Part::Constant(node.to_json())
            }
            Kind::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.part(item)).collect();
                if items.iter().all(|item| matches!(item, Part::Constant(_))) {
                    return Part::Constant(node.to_json());
                }
                Part::List(items)
            }
            Kind::Map(entries) => {
                let entries: Vec<_> = entries.iter().map(|entry| self.entry_part(entry)).collect();
                if entries.iter().all(|(_, item)| matches!(item, Part::Constant(_))) {
                    return Part::Constant(node.to_json());
                }
                Part::Map(entries)
            }
            _ => Part::Constant(node.to_json()),
        }
    }

    fn entry_part(&mut self, entry: &Entry) -> (String, Part) {
        if entry.key.contains(OPEN) {
            self.no_expression(entry.key_span, "keys");
        }
        (entry.key.clone(), self.part(&entry.value))
    }

    fn text_part(&mut self, text: &str, node: &Node) -> Part {
        let Some(pieces) = self.pieces(text, node) else { return Part::Constant(node.to_json()) };
        let alone = pieces.len() == 1;
        let mut cursor = 0;
        let mut parts = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(range) => {
                    parts.push(TextPart::Plain(text.get(range).unwrap_or_default().to_owned()))
                }
                Piece::Expression(range) => {
                    let inner = text.get(range).unwrap_or_default();
                    let origin = self.origin(node, inner, &mut cursor);
                    match self.expression(inner, origin) {
                        Some(expr) if alone => return Part::Whole(expr),
                        Some(expr) if expr.is_optional_path() => self.optional_in_text(&expr, inner, origin),
                        expr => parts.extend(expr.map(TextPart::Expression)),
                    }
                }
            }
        }
        Part::Text(parts)
    }

    /// Refuses an optional value within text: only a key or an item can be left out.
    fn optional_in_text(&mut self, expr: &Expr, text: &str, origin: Origin) {
        let message = format!("`{}` may be nothing, which is no text", expr.source());
        let help = format!("write `${{{{ {}.orValue('') }}}}`", expr.source());
        let span = origin.span(&(0..text.len()));
        self.refuse(Diagnostic::new(Code::OptionalInText, span, message).help(help));
    }

    /// Splits a text; an expression without end is refused.
    fn pieces(&mut self, text: &str, node: &Node) -> Option<Vec<Piece>> {
        let Err(_) = pieces(text) else { return pieces(text).ok() };
        let raw = self.source.slice(node.span);
        let span = match raw.rfind(OPEN) {
            Some(at) => Span::new(node.span.start + at, node.span.start + at + OPEN.len()),
            None => self.node_span(node),
        };
        let help = match self.source.text().get(span.end..node.span.end) {
            Some(rest) if rest.contains("}}") => "a quote or a bracket inside it is not closed",
            _ => "close it with `}}`; a literal `${{` is written `${{ '${{' }}`",
        };
        self.refuse(Diagnostic::new(Code::Unclosed, span, "this expression never ends").help(help));
        None
    }

    /// Where the next expression of a text stands, if it is written as it reads.
    fn origin(&self, node: &Node, inner: &str, cursor: &mut usize) -> Origin {
        let raw = self.source.slice(node.span);
        let start = raw.get(*cursor..).and_then(|rest| rest.find(OPEN)).map(|at| *cursor + at + OPEN.len());
        if let Some(start) = start {
            *cursor = start;
            if raw.get(start..).is_some_and(|rest| rest.starts_with(inner)) {
                *cursor = start + inner.len();
                return Origin::Exact(node.span.start + start);
            }
        }
        Origin::Within(self.node_span(node))
    }

    /// Compiles one expression and notes down what it mentions.
    fn expression(&mut self, text: &str, origin: Origin) -> Option<Expr> {
        if !self.may_have_another(text, origin) {
            return None;
        }
        match Expr::compile(text) {
            Ok((expr, mentions)) => {
                let takes_secret = self.in_arguments && expr.input().is_some();
                let references = mentions.into_iter().map(|mention| reference(mention, origin, takes_secret));
                self.references.extend(references);
                Some(expr)
            }
            Err(refused) => {
                for one in refused {
                    let diagnostic = Diagnostic::new(one.code, origin.span(&one.at), one.message);
                    self.refuse(diagnostic.maybe_help(one.help));
                }
                None
            }
        }
    }
}

impl Shaper<'_, '_> {
    /// Counts an expression; past the limits, says so once.
    fn may_have_another(&mut self, text: &str, origin: Origin) -> bool {
        let within = |(count, bytes): (usize, usize)| count <= COUNT_LIMIT && bytes <= BYTES_LIMIT;
        let before = within(self.expressions);
        let (count, bytes) = self.expressions;
        self.expressions = (count.saturating_add(1), bytes.saturating_add(text.len()));
        let after = within(self.expressions);
        if before && !after {
            let message = "the workflow has too many expressions";
            let help = "at most 10,000, and 256 KiB of them together; let several smaller workflows do it";
            let span = origin.span(&(0..text.len().min(1)));
            self.refuse(Diagnostic::new(Code::TooManyExpressions, span, message).help(help));
        }
        after
    }
}

fn reference(mention: Mention, origin: Origin, takes_secret: bool) -> Reference {
    match mention {
        Mention::Input { name, at } => {
            Reference { span: origin.span(&at), to: Referent::Input { name, takes_secret } }
        }
        Mention::Use { found, at } => Reference { span: origin.span(&at), to: Referent::Use(found) },
        Mention::Step { id, at, field } => {
            let field = field.map(|(value, at)| Placed { value, span: origin.span(&at) });
            Reference { span: origin.span(&at), to: Referent::Step { id, field } }
        }
    }
}
