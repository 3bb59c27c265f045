//! Conditions and templates, and the positions of their expressions in the file.

use super::DraftBuilder;
use crate::codes::Code;
use crate::diagnostics::Diagnostic;
use crate::document::{DocumentNode, MapEntry, NodeKind};
use crate::draft::{Reference, ReferenceTarget};
use crate::expr::find::{OPEN, TextPiece, pieces};
use crate::expr::{Expr, Mention};
use crate::source::{Span, Spanned};
use crate::template::{Template, TemplateNode, TextFragment};

/// The largest number of expressions of a file, and of their bytes in total. In a release build, the parser takes up to
/// 1.2 ms for each KiB of an expression that was constructed to be slow, and some 25 µs for a usual one.
const COUNT_LIMIT: usize = 10_000;
const BYTES_LIMIT: usize = 256 * 1024;

/// The position of an expression in the file.
#[derive(Clone, Copy)]
enum ExprOrigin {
    /// The expression occurs literally, starting at this byte.
    Exact(usize),
    /// The value has escapes or several lines, so only the value as a whole has a span.
    Within(Span),
}

impl ExprOrigin {
    fn span(self, range: &std::ops::Range<usize>) -> Span {
        match self {
            Self::Exact(start) => Span::new(start, start).subspan(range),
            Self::Within(span) => span,
        }
    }
}

impl DraftBuilder<'_, '_> {
    /// Compiles a condition: an expression with or without braces.
    pub(super) fn condition(&mut self, entry: &MapEntry) -> Option<Expr> {
        let span = self.value_span(entry);
        let text = match &entry.value.kind {
            NodeKind::Bool(value) => return self.expression(&value.to_string(), ExprOrigin::Within(span)),
            NodeKind::Text(text) => text,
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

    fn condition_text(&mut self, text: &str, entry: &MapEntry, span: Span) -> Option<Expr> {
        let pieces = self.pieces(text, &entry.value)?;
        let blank = |piece: &&TextPiece| match piece {
            TextPiece::Text(range) => !text.get(range.clone()).unwrap_or_default().trim().is_empty(),
            TextPiece::Expression(_) => true,
        };
        let mut cursor = 0;
        match pieces.iter().filter(blank).collect::<Vec<_>>().as_slice() {
            [TextPiece::Expression(range)] => {
                let inner = text.get(range.clone()).unwrap_or_default();
                let origin = self.origin(&entry.value, inner, &mut cursor);
                self.expression(inner, origin)
            }
            [] | [TextPiece::Text(_)] => {
                let raw = self.source.slice(entry.value.span);
                let origin = raw
                    .find(text)
                    .map_or(ExprOrigin::Within(span), |at| ExprOrigin::Exact(entry.value.span.start + at));
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

    /// Compiles a value with expressions in its texts. Refused parts become null, and the report explains them.
    pub(super) fn template(&mut self, node: &DocumentNode) -> Template {
        Template::new(self.template_node(node))
    }

    fn template_node(&mut self, node: &DocumentNode) -> TemplateNode {
        match &node.kind {
            NodeKind::Text(text) if text.contains(OPEN) => self.text_part(text, node),
            NodeKind::Text(text) => {
                self.literal(text, node);
                TemplateNode::Constant(node.to_json())
            }
            NodeKind::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.template_node(item)).collect();
                if items.iter().all(|item| matches!(item, TemplateNode::Constant(_))) {
                    return TemplateNode::Constant(node.to_json());
                }
                TemplateNode::List(items)
            }
            NodeKind::Map(entries) => {
                let entries: Vec<_> = entries.iter().map(|entry| self.entry_part(entry)).collect();
                if entries.iter().all(|(_, item)| matches!(item, TemplateNode::Constant(_))) {
                    return TemplateNode::Constant(node.to_json());
                }
                TemplateNode::Map(entries)
            }
            _ => TemplateNode::Constant(node.to_json()),
        }
    }

    fn entry_part(&mut self, entry: &MapEntry) -> (String, TemplateNode) {
        if entry.key.contains(OPEN) {
            self.no_expression(entry.key_span, "keys");
        }
        (entry.key.clone(), self.template_node(&entry.value))
    }

    fn text_part(&mut self, text: &str, node: &DocumentNode) -> TemplateNode {
        let Some(pieces) = self.pieces(text, node) else { return TemplateNode::Constant(node.to_json()) };
        let alone = pieces.len() == 1;
        let mut cursor = 0;
        let mut parts = Vec::new();
        for piece in pieces {
            match piece {
                TextPiece::Text(range) => {
                    parts.push(TextFragment::Plain(text.get(range).unwrap_or_default().to_owned()))
                }
                TextPiece::Expression(range) => {
                    let inner = text.get(range).unwrap_or_default();
                    let origin = self.origin(node, inner, &mut cursor);
                    match self.expression(inner, origin) {
                        Some(expr) if alone => return TemplateNode::Whole(expr),
                        Some(expr) if expr.is_optional_path() => self.optional_in_text(&expr, inner, origin),
                        expr => parts.extend(expr.map(TextFragment::Expression)),
                    }
                }
            }
        }
        TemplateNode::Text(parts)
    }

    /// Refuses an optional value within text: only a key or an item can be left out.
    fn optional_in_text(&mut self, expr: &Expr, text: &str, origin: ExprOrigin) {
        let message = format!("`{}` may be nothing, which is no text", expr.source());
        let help = format!("write `${{{{ {}.orValue('') }}}}`", expr.source());
        let span = origin.span(&(0..text.len()));
        self.refuse(Diagnostic::new(Code::OptionalInText, span, message).help(help));
    }

    /// Splits a text into text and expressions. Refuses an expression without end.
    fn pieces(&mut self, text: &str, node: &DocumentNode) -> Option<Vec<TextPiece>> {
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

    /// Returns the position of the next expression of a text.
    fn origin(&self, node: &DocumentNode, inner: &str, cursor: &mut usize) -> ExprOrigin {
        let raw = self.source.slice(node.span);
        let start = raw.get(*cursor..).and_then(|rest| rest.find(OPEN)).map(|at| *cursor + at + OPEN.len());
        if let Some(start) = start {
            *cursor = start;
            if raw.get(start..).is_some_and(|rest| rest.starts_with(inner)) {
                *cursor = start + inner.len();
                return ExprOrigin::Exact(node.span.start + start);
            }
        }
        ExprOrigin::Within(self.node_span(node))
    }

    /// Compiles an expression and records its references.
    fn expression(&mut self, text: &str, origin: ExprOrigin) -> Option<Expr> {
        if !self.count_expression(text, origin) {
            return None;
        }
        match Expr::compile(text) {
            Ok((expr, mentions)) => {
                let takes_secret = self.is_in_arguments && expr.input().is_some();
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

impl DraftBuilder<'_, '_> {
    /// Counts an expression. Returns false beyond the limits, which is reported once.
    fn count_expression(&mut self, text: &str, origin: ExprOrigin) -> bool {
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

fn reference(mention: Mention, origin: ExprOrigin, takes_secret: bool) -> Reference {
    match mention {
        Mention::Input { name, at } => {
            Reference { span: origin.span(&at), to: ReferenceTarget::Input { name, takes_secret } }
        }
        Mention::Use { found, at } => Reference { span: origin.span(&at), to: ReferenceTarget::Use(found) },
        Mention::Step { id, at, field } => {
            let field = field.map(|(value, at)| Spanned { value, span: origin.span(&at) });
            Reference { span: origin.span(&at), to: ReferenceTarget::Step { id, field } }
        }
    }
}
