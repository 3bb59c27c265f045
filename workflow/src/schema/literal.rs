//! Warnings about texts that look like expressions and are not.

use super::DraftBuilder;
use crate::codes::Code;
use crate::diagnostics::Diagnostic;
use crate::document::DocumentNode;
use crate::source::shorten;

/// Braces of other languages. The flag is true if a value that is enclosed by them looks like an expression, independent of
/// the names in it; `$(x)` may be a shell command.
const BRACES: [(&str, &str, bool); 3] = [("{{", "}}", true), ("${", "}", true), ("$(", ")", false)];

/// The names with which paths in expressions begin.
const ROOTS: [&str; 3] = ["inputs", "steps", "run"];

impl DraftBuilder<'_, '_> {
    /// Warns of a text that looks like an expression and is passed on unchanged.
    pub(super) fn literal(&mut self, text: &str, node: &DocumentNode) {
        let Some(found) = look_alike(text) else { return };
        if !found.is_certain && !self.is_declared(found.inner) {
            return;
        }
        let written: String = shorten(found.written);
        let message = format!("`{written}` is text here, and no expression");
        let help = match self.intended_path(found.inner) {
            Some(path) => format!("write `${{{{ {path} }}}}`"),
            None => "an expression is written `${{ ... }}` and reads `inputs`, `steps` and `run`".to_owned(),
        };
        let raw = self.source.slice(node.span);
        let span = match raw.find(found.written) {
            Some(at) => node.span.subspan(&(at..at + found.written.len())),
            None => self.node_span(node),
        };
        let span = self.source.first_line(span);
        self.refuse(Diagnostic::new(Code::LiteralExpression, span, message).help(help));
    }

    /// Returns true for a path to an input or a step that is declared before this text.
    fn is_declared(&self, path: &str) -> bool {
        let mut names = path.split(['.', '[']);
        let (root, name) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        match root {
            "inputs" => self.is_input(name),
            "steps" => self.draft.steps.iter().any(|step| step.id() == Some(name)),
            _ => false,
        }
    }

    fn is_input(&self, name: &str) -> bool {
        self.draft.inputs.iter().any(|spec| spec.name == name)
    }

    /// Returns the path that belongs between the braces: the path itself, or the input with its last name.
    fn intended_path(&self, inner: &str) -> Option<String> {
        let last = inner.rsplit('.').next().unwrap_or(inner);
        if self.is_input(last) {
            Some(format!("inputs.{last}"))
        } else if begins_like_path(inner) {
            Some(shorten(inner))
        } else {
            None
        }
    }
}

/// A part of a text that looks like an expression.
struct LookAlike<'t> {
    written: &'t str,
    /// Text within the braces.
    inner: &'t str,
    /// True if the text can hardly mean anything else. A bare `inputs.txt` may be the name of a file.
    is_certain: bool,
}

fn look_alike(text: &str) -> Option<LookAlike<'_>> {
    let trimmed = text.trim();
    if is_path(trimmed) {
        return Some(LookAlike { written: trimmed, inner: trimmed, is_certain: false });
    }
    BRACES
        .iter()
        .find_map(|(open, close, counts_whole)| enclosed(text, open, close, *counts_whole))
        .or_else(|| with_dollar(text))
}

/// Finds a text in braces that is the whole value, or that is a path of this language.
fn enclosed<'t>(text: &'t str, open: &str, close: &str, counts_whole: bool) -> Option<LookAlike<'t>> {
    let mut from = 0;
    while let Some(start) = text.get(from..)?.find(open).map(|at| from + at) {
        let inner_start = start + open.len();
        let end = inner_start + text.get(inner_start..)?.find(close)?;
        let (written, inner) = (text.get(start..end + close.len())?, text.get(inner_start..end)?.trim());
        // In one of these languages, an expression is `={{ x }}`.
        let is_whole = counts_whole && text.trim().trim_start_matches('=') == written;
        let is_name = inner.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '$' | '.'));
        if (is_whole && is_name) || begins_like_path(inner) {
            return Some(LookAlike { written, inner, is_certain: true });
        }
        from = end + close.len();
    }
    None
}

/// Returns true if the text begins like a path in an expression.
fn begins_like_path(text: &str) -> bool {
    ROOTS.iter().any(|root| text.strip_prefix(root).is_some_and(|rest| rest.starts_with(['.', '['])))
}

/// Finds a path such as `$inputs.x`.
fn with_dollar(text: &str) -> Option<LookAlike<'_>> {
    text.match_indices('$').find_map(|(at, _)| {
        let rest = text.get(at + 1..)?;
        let end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.'))).unwrap_or(rest.len());
        let inner = rest.get(..end)?.trim_end_matches('.');
        let written = text.get(at..at + 1 + inner.len())?;
        is_path(inner).then_some(LookAlike { written, inner, is_certain: true })
    })
}

/// Returns true for a path such as `inputs.a` or `steps.a.output[0].b`.
fn is_path(text: &str) -> bool {
    let mut names = text.split('.');
    let is_name = |name: &str| {
        let name = name.split('[').next().unwrap_or_default();
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let root = names.next().unwrap_or_default();
    let mut rest = names.peekable();
    ROOTS.contains(&root) && rest.peek().is_some() && rest.all(is_name)
}
