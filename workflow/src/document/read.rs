//! Events of the YAML parser to a tree.
//!
//! The parser pulls events and never recurses; the tree is built on a stack of its own, so no text can overflow the
//! thread's. A text that is not well-formed gives one problem and no tree, because what follows the mistake cannot be
//! trusted.

use std::collections::BTreeSet;

use saphyr_parser::{Event, Parser, ScalarStyle, Span as YamlSpan};

use super::json::Prepared;
use super::mistakes::{self, short};
use super::{DEPTH_LIMIT, Entry, Kind, Node, scalar};
use crate::codes::Code;
use crate::diagnostics::{Diagnostic, Report};
use crate::source::{Source, Span};

/// The tree of a text; nothing if it is not well-formed, in which case the report says why.
pub(crate) fn read(source: &Source<'_>, report: &mut Report) -> Option<Node> {
    let prepared = Prepared::new(source.text());
    let mut parser = Parser::new_from_str(&prepared.text);
    let mut builder =
        Builder { prepared: &prepared, source, report, open: Vec::new(), root: None, documents: 0 };
    while let Some(event) = parser.next_event() {
        let result = match event {
            Ok((Event::StreamEnd, _)) => break,
            Ok((event, span)) => builder.take(event, span),
            Err(error) => Err(mistakes::syntax(source, prepared.byte(error.marker().index()), error.info())),
        };
        if let Err(fatal) = result {
            builder.report.add(fatal);
            return None;
        }
    }
    if builder.root.is_none() {
        builder.report.add(
            Diagnostic::new(Code::NotAMap, Span::new(0, 0), "the text is empty")
                .help("begin with `longshore: v1`"),
        );
    }
    builder.root
}

/// A list or map whose end has not come yet.
struct Open {
    node: Node,
    /// In a map: the key whose value comes next.
    key: Option<(String, Span)>,
}

struct Builder<'b, 't> {
    prepared: &'b Prepared<'t>,
    source: &'b Source<'t>,
    report: &'b mut Report,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

impl Builder<'_, '_> {
    /// Takes one event; an error ends the reading.
    fn take(&mut self, event: Event<'_>, span: YamlSpan) -> Result<(), Diagnostic> {
        let span = self.span(span);
        match event {
            Event::DocumentStart(_) => self.begin_document(span)?,
            Event::Alias(_) => return Err(mistakes::alias(span)),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                return Err(mistakes::alias(self.source.first_line(span)));
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => return Err(mistakes::tag(self.source, span)),
            Event::Scalar(text, style, ..) => self.scalar(&text, style, span)?,
            Event::SequenceStart(..) => self.begin(Kind::List(Vec::new()), span)?,
            Event::MappingStart(..) => self.begin(Kind::Map(Vec::new()), span)?,
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn span(&self, span: YamlSpan) -> Span {
        let start = self.prepared.byte(span.start.index());
        Span::new(start, self.prepared.byte(span.end.index()).max(start))
    }

    fn begin_document(&mut self, span: Span) -> Result<(), Diagnostic> {
        self.documents += 1;
        if self.documents > 1 {
            return Err(Diagnostic::new(Code::SeveralDocuments, span, "a second document begins here")
                .help("put it into a file of its own, or remove the line `---`"));
        }
        Ok(())
    }

    fn begin(&mut self, kind: Kind, span: Span) -> Result<(), Diagnostic> {
        if self.expects_key() {
            return Err(Diagnostic::new(
                Code::KeyNotText,
                self.source.first_line(span),
                "this key is not text",
            )
            .help("keys are plain words; put quotes round a key that begins with `{`, `[` or `?`"));
        }
        if self.open.len() >= DEPTH_LIMIT {
            return Err(mistakes::too_deep(span));
        }
        self.open.push(Open { node: Node { span, kind }, key: None });
        Ok(())
    }

    fn end(&mut self, span: Span) {
        if let Some(mut open) = self.open.pop() {
            open.node.span.end = span.end.max(open.node.span.start);
            if let Kind::Map(entries) = &mut open.node.kind {
                self.refuse_duplicates(entries);
            }
            self.place(open.node);
        }
    }

    /// Of the entries with one key, the first stays.
    fn refuse_duplicates(&mut self, entries: &mut Vec<Entry>) {
        let mut seen = BTreeSet::new();
        let (unique, again): (Vec<_>, Vec<_>) =
            std::mem::take(entries).into_iter().partition(|entry| seen.insert(entry.key.clone()));
        *entries = unique;
        for Entry { key, key_span, .. } in again {
            let message = format!("the key `{}` stands twice in this map", short(&key));
            self.report
                .add(Diagnostic::new(Code::DuplicateKey, key_span, message).help("remove one of the two"));
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) -> Result<(), Diagnostic> {
        if self.expects_key() {
            self.key(text, span);
            return Ok(());
        }
        let kind = if style == ScalarStyle::Plain {
            scalar::resolve(text)
        } else {
            Some(Kind::Text(text.to_owned()))
        };
        let kind = kind.ok_or_else(|| {
            Diagnostic::new(
                Code::NoJsonNumber,
                span,
                format!("`{}` is a number that JSON cannot hold", short(text)),
            )
            .help("put quotes round it if it is meant as text")
        })?;
        self.place(Node { span, kind });
        Ok(())
    }

    /// Whether the next node is the key of a map.
    fn expects_key(&self) -> bool {
        self.open.last().is_some_and(|open| matches!(open.node.kind, Kind::Map(_)) && open.key.is_none())
    }

    fn key(&mut self, text: &str, span: Span) {
        if let Some(open) = self.open.last_mut() {
            open.key = Some((text.to_owned(), span));
        }
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match (&mut open.node.kind, open.key.take()) {
            (Kind::List(items), _) => items.push(node),
            (Kind::Map(entries), Some((key, key_span))) => entries.push(Entry { key, key_span, value: node }),
            _ => {}
        }
    }
}
