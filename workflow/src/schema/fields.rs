//! Readers for values of one type: text, booleans, durations, lists, maps, identifiers.

use std::time::Duration;

use super::DraftBuilder;
use crate::codes::Code;
use crate::diagnostics::Diagnostic;
use crate::document::{DocumentNode, MapEntry, NodeKind};
use crate::duration;
use crate::expr::find::OPEN;
use crate::source::{Span, Spanned, shorten};
use crate::suggest::{did_you_mean, listed};

/// The longest identifier. Several of them have to fit into a NATS subject.
const IDENTIFIER_LIMIT: usize = 63;

/// Words that cannot follow a dot in an expression.
const UNWRITABLE: [&str; 4] = ["in", "true", "false", "null"];

/// Other reserved words of expressions. They can follow a dot, as in `inputs.namespace`.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

/// The shortest timeout.
pub(super) const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// Returns the entry with a key.
pub(super) fn get<'e>(entries: &'e [MapEntry], key: &str) -> Option<&'e MapEntry> {
    entries.iter().find(|entry| entry.key == key)
}

impl DraftBuilder<'_, '_> {
    pub(super) fn refuse(&mut self, diagnostic: Diagnostic) {
        self.report.add(diagnostic);
    }

    /// Returns a suggestion for an unknown word, unless many problems were found already.
    fn did_you_mean(&self, word: &str, known: &[&str]) -> Option<String> {
        if self.report.is_crowded() { None } else { did_you_mean(word, known.iter().copied()) }
    }

    /// Returns the span of the value of a key, or of the key itself if the value is empty.
    pub(super) fn value_span(&self, entry: &MapEntry) -> Span {
        let span = self.node_span(&entry.value);
        if span.start == span.end { entry.key_span } else { span }
    }

    pub(super) fn node_span(&self, node: &DocumentNode) -> Span {
        self.source.first_line(node.span)
    }

    /// Reports a value of the wrong type.
    pub(super) fn wrong_type(&mut self, entry: &MapEntry, wanted: &str, help: &str) {
        if entry.value.is_refused() {
            return;
        }
        let message = format!("`{}` must be {wanted}, and this is {}", entry.key, entry.value.type_name());
        let span = self.value_span(entry);
        self.refuse(Diagnostic::new(Code::WrongType, span, message).help(help));
    }

    /// Refuses all keys that are not in `known`.
    pub(super) fn refuse_unknown_keys(&mut self, entries: &[MapEntry], known: &[&str], place: &str) {
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            self.unknown_key(entry, known, place);
        }
    }

    pub(super) fn unknown_key(&mut self, entry: &MapEntry, known: &[&str], place: &str) {
        let key: String = shorten(&entry.key);
        let help = self
            .did_you_mean(&key, known)
            .unwrap_or_else(|| format!("{place} has {}", listed(known.iter().copied())));
        let message = format!("{place} has no key `{key}`");
        self.refuse(Diagnostic::new(Code::UnknownKey, entry.key_span, message).help(help));
    }

    pub(super) fn map<'e>(&mut self, entry: &'e MapEntry, help: &str) -> Option<&'e [MapEntry]> {
        if let NodeKind::Map(entries) = &entry.value.kind {
            return Some(entries);
        }
        self.wrong_type(entry, "a map", help);
        None
    }

    pub(super) fn list<'e>(&mut self, entry: &'e MapEntry, help: &str) -> Option<&'e [DocumentNode]> {
        if let NodeKind::List(items) = &entry.value.kind {
            return Some(items);
        }
        self.wrong_type(entry, "a list", help);
        None
    }

    pub(super) fn boolean(&mut self, entry: &MapEntry) -> Option<bool> {
        if let NodeKind::Bool(value) = entry.value.kind {
            return Some(value);
        }
        self.wrong_type(entry, "true or false", "write `true` or `false`, without quotes");
        None
    }

    /// Reads a text that may not contain expressions.
    pub(super) fn text<'e>(&mut self, entry: &'e MapEntry) -> Option<&'e str> {
        let NodeKind::Text(text) = &entry.value.kind else {
            let help = self.quoted(&entry.value).map_or_else(
                || "put quotes round the value if it is meant as text".to_owned(),
                |quoted| format!("write `{quoted}`, with the quotes"),
            );
            self.wrong_type(entry, "text", &help);
            return None;
        };
        if text.contains(OPEN) {
            let span = self.value_span(entry);
            self.no_expression(span, &format!("`{}`", entry.key));
            return None;
        }
        Some(text)
    }

    /// Returns a number or boolean in its original form with quotes, for help texts.
    pub(super) fn quoted(&self, node: &DocumentNode) -> Option<String> {
        let is_scalar = matches!(node.kind, NodeKind::Number(_) | NodeKind::Bool(_));
        let written: String = shorten(self.source.slice(node.span));
        is_scalar.then(|| format!("\"{written}\""))
    }

    pub(super) fn no_expression(&mut self, span: Span, place: &str) {
        let message = format!("expressions do not work in {place}");
        let help =
            "they work in `if`, in the values of `with`, `set` and `outputs`, and in `idempotency-key`";
        self.refuse(Diagnostic::new(Code::NoExpressionHere, span, message).help(help));
    }

    /// Reads one of a few words.
    pub(super) fn word<T: Copy>(&mut self, entry: &MapEntry, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(entry)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let span = self.value_span(entry);
            self.not_allowed(
                span,
                &entry.key,
                text,
                &words.iter().map(|(word, _)| *word).collect::<Vec<_>>(),
            );
        }
        found
    }

    pub(super) fn not_allowed(&mut self, span: Span, key: &str, given: &str, allowed: &[&str]) {
        let given: String = shorten(given);
        let message = format!("`{key}` cannot be `{given}`");
        let help = self
            .did_you_mean(&given, allowed)
            .unwrap_or_else(|| format!("it is one of {}", listed(allowed.iter().copied())));
        self.refuse(Diagnostic::new(Code::NotAllowed, span, message).help(help));
    }

    /// Reads a duration of at least `shortest`.
    pub(super) fn duration(&mut self, entry: &MapEntry, shortest: Duration) -> Option<Duration> {
        let (written, message) = match &entry.value.kind {
            NodeKind::Number(number) => (number.to_string(), format!("`{}` needs a unit", entry.key)),
            _ => {
                let text = self.text(entry)?;
                match duration::parse(text) {
                    Ok(duration) if duration >= shortest => return Some(duration),
                    Ok(_) => (String::new(), format!("`{}` must be longer than zero", entry.key)),
                    Err(error) => (text.to_owned(), error.to_string()),
                }
            }
        };
        let meant = duration::meant(&written);
        let is_long_enough =
            |meant: &String| duration::parse(meant).is_ok_and(|duration| duration >= shortest);
        let help = match meant.filter(is_long_enough) {
            Some(meant) => format!("write `{meant}`; the units are `ms`, `s`, `m`, `h` and `d`"),
            None => "write a duration from `1ms` to `365d`, as in `30s` or `1h30m`; the units are `ms`, `s`, `m`, `h` and `d`".to_owned(),
        };
        let span = self.value_span(entry);
        self.refuse(Diagnostic::new(Code::BadDuration, span, message).help(help));
        None
    }

    /// Checks the name of an input or an output, which follows a dot in expressions.
    pub(super) fn field_name(&mut self, text: &str, span: Span, what: &str) -> Option<Spanned<String>> {
        self.checked_name(text, span, what, &[])
    }

    /// Checks the id of a step.
    pub(super) fn identifier(&mut self, text: &str, span: Span, what: &str) -> Option<Spanned<String>> {
        self.checked_name(text, span, what, &RESERVED)
    }

    fn checked_name(
        &mut self,
        text: &str,
        span: Span,
        what: &str,
        reserved: &[&str],
    ) -> Option<Spanned<String>> {
        let mut characters = text.chars();
        let begins = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
        let shown: String = shorten(text);
        let problem = if text.len() > IDENTIFIER_LIMIT {
            format!("the {what} is longer than {IDENTIFIER_LIMIT} characters")
        } else if !begins || !characters.all(|other| other.is_ascii_alphanumeric() || other == '_') {
            format!("`{shown}` is not an identifier")
        } else if UNWRITABLE.contains(&text) || reserved.contains(&text) {
            format!("`{shown}` is a word that expressions reserve")
        } else {
            return Some(Spanned { value: text.to_owned(), span });
        };
        let help = match text.replace(['-', ' ', '.'], "_") {
            other if other != text && text.len() <= IDENTIFIER_LIMIT => {
                format!("write `{}`", shorten(&other))
            }
            _ if UNWRITABLE.contains(&text) || reserved.contains(&text) => format!("write `{text}_`"),
            _ => "letters, digits and `_`, not beginning with a digit".to_owned(),
        };
        self.refuse(Diagnostic::new(Code::BadName, span, problem).help(help));
        None
    }
}
