//! Builds the tree from the events of the YAML parser.
//!
//! The parser does not recurse, and the tree is built on a stack in the heap, so no text can overflow the stack of the thread.
//! Parsing ends at a mistake, since the rest of the text would be misread. An exception are mistakes within one value, such
//! as an expression that YAML misreads: that value is blanked ([`BlankedText`]).

use std::collections::BTreeSet;

use longshore_proto::is_canonical;
use saphyr_parser::{Event, Parser, ScalarStyle, Span as YamlSpan};
use serde_json::Number;

use super::blanked::BlankedText;
use super::json::ParserInput;
use super::mistakes::{self, FatalMistake};
use super::{DEPTH_LIMIT, DocumentNode, MapEntry, NodeKind, scalar};
use crate::codes::Code;
use crate::diagnostics::{Diagnostic, Report};

use crate::source::{SourceText, Span, shorten};

/// Parses a text. Returns `None` if it is not well-formed, which the report explains. `first_line` is the help for an empty
/// text.
pub(crate) fn read(
    source: &SourceText<'_>,
    first_line: &'static str,
    report: &mut Report,
) -> Option<DocumentNode> {
    let mut blanked = BlankedText::new(source.text());
    loop {
        let mut pass = Report::default();
        let fatal = match read_once(source, first_line, &blanked, &mut pass) {
            Ok(root) => {
                report.append(pass);
                return root;
            }
            Err(fatal) => fatal,
        };
        match fatal.value {
            Some(span) if blanked.blank_out(span) => report.add(fatal.problem),
            _ => {
                report.append(pass);
                report.add(fatal.problem);
                return None;
            }
        }
    }
}

/// Parses a text once. Fails at a mistake that stops the parser.
fn read_once(
    source: &SourceText<'_>,
    first_line: &'static str,
    blanked: &BlankedText<'_>,
    report: &mut Report,
) -> Result<Option<DocumentNode>, FatalMistake> {
    let prepared = ParserInput::new(&blanked.text);
    let mut parser = Parser::new_from_str(&prepared.text);
    let open = Vec::new();
    let mut builder =
        TreeBuilder { prepared: &prepared, blanked, source, report, open, root: None, tags: Vec::new() };
    while let Some(event) = parser.next_event() {
        match event {
            Ok((Event::StreamEnd, _)) => break,
            Ok((Event::DocumentStart(_), span)) if builder.root.is_some() => {
                builder.second_document(span);
                break;
            }
            Ok((event, span)) => builder.take(event, span)?,
            Err(error) => {
                let at = prepared.byte(error.marker().index());
                return Err(builder
                    .tag_before(at)
                    .unwrap_or_else(|| mistakes::syntax(source, at, error.info())));
            }
        }
    }
    if builder.root.is_none() {
        builder
            .report
            .add(Diagnostic::new(Code::NotAMap, Span::new(0, 0), "the text is empty").help(first_line));
    }
    Ok(builder.root)
}

/// A list or map that is not complete.
struct OpenNode {
    node: DocumentNode,
    /// In a map, the key of the next value.
    key: Option<(String, Span)>,
}

struct TreeBuilder<'b, 't> {
    prepared: &'b ParserInput<'t>,
    blanked: &'b BlankedText<'t>,
    source: &'b SourceText<'t>,
    report: &'b mut Report,
    open: Vec<OpenNode>,
    root: Option<DocumentNode>,
    /// Spans of values with a tag.
    tags: Vec<Span>,
}

impl TreeBuilder<'_, '_> {
    /// Processes an event. An error ends the parsing.
    fn take(&mut self, event: Event<'_>, span: YamlSpan) -> Result<(), FatalMistake> {
        let span = self.span(span);
        match event {
            Event::Alias(_) => {
                self.report.add(mistakes::alias(span));
                self.refused(span);
            }
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    // An anchor after the tag is `&&` within the same expression.
                    self.tag(span);
                } else {
                    self.anchor(anchor, span);
                    self.scalar(&text, style, span);
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.anchor(anchor, span);
                if tag.is_some() {
                    self.tag_of_group(span);
                }
                self.begin(NodeKind::List(Vec::new()), span)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.anchor(anchor, span);
                if tag.is_some() {
                    self.tag_of_group(span);
                }
                self.begin(NodeKind::Map(Vec::new()), span)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn second_document(&mut self, span: YamlSpan) {
        let span = self.span(span);
        self.report.add(
            Diagnostic::new(Code::SeveralDocuments, span, "a second document begins here")
                .help("put it into a file of its own, or remove the line `---`"),
        );
    }

    fn anchor(&mut self, anchor: usize, span: Span) {
        if anchor != 0 {
            self.report.add(mistakes::alias(self.source.first_line(span)));
        }
    }

    /// Refuses a value with a tag.
    fn tag(&mut self, span: Span) {
        self.tag_of_group(span);
        self.refused(span);
    }

    fn tag_of_group(&mut self, span: Span) {
        self.report.add(mistakes::tag(self.source, span));
        self.tags.push(span);
    }

    /// Returns a mistake at `at` that is caused by a tag on the same line: in `!a && b`, the text after the tag is misread.
    fn tag_before(&self, at: usize) -> Option<FatalMistake> {
        let (line_start, line) = self.source.line_at(at);
        let tag = self.tags.iter().find(|tag| (line_start..at).contains(&tag.start))?;
        let cover = Span::new(tag.start, line_start + line.trim_end().len());
        Some(FatalMistake { problem: mistakes::tag(self.source, *tag), value: Some(cover) })
    }

    /// Adds a refused value or key.
    fn refused(&mut self, span: Span) {
        if self.expects_key() {
            let key = self.source.slice(self.source.first_line(span)).to_owned();
            return self.key(&key, span);
        }
        // A merge key `<<` has no entry in the map.
        if let Some(open) = self.open.last_mut()
            && open.key.as_ref().is_some_and(|(key, _)| key == "<<")
        {
            open.key = None;
            return;
        }
        self.place(DocumentNode { span, kind: NodeKind::Refused });
    }

    fn span(&self, span: YamlSpan) -> Span {
        let start = self.prepared.byte(span.start.index());
        Span::new(start, self.prepared.byte(span.end.index()).max(start))
    }

    fn begin(&mut self, kind: NodeKind, span: Span) -> Result<(), FatalMistake> {
        if self.expects_key() {
            return Err(mistakes::key_not_text(self.source, span));
        }
        if self.open.len() >= DEPTH_LIMIT {
            return Err(mistakes::too_deep(span).into());
        }
        self.open.push(OpenNode { node: DocumentNode { span, kind }, key: None });
        Ok(())
    }

    fn end(&mut self, span: Span) {
        if let Some(mut open) = self.open.pop() {
            open.node.span.end = span.end.max(open.node.span.start);
            if let NodeKind::Map(entries) = &mut open.node.kind {
                self.refuse_duplicates(entries);
            }
            self.place(open.node);
        }
    }

    /// Refuses duplicate keys. The first entry of a key remains.
    fn refuse_duplicates(&mut self, entries: &mut Vec<MapEntry>) {
        let mut seen = BTreeSet::new();
        let (unique, again): (Vec<_>, Vec<_>) =
            std::mem::take(entries).into_iter().partition(|entry| seen.insert(entry.key.clone()));
        *entries = unique;
        for MapEntry { key, key_span, .. } in again {
            let message = format!("the key `{}` occurs twice in this map", shorten(&key));
            self.report
                .add(Diagnostic::new(Code::DuplicateKey, key_span, message).help("remove one of the two"));
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) {
        if self.expects_key() {
            return self.key(text, span);
        }
        if self.blanked.is_blanked(span) {
            return self.refused(span);
        }
        if style != ScalarStyle::Plain {
            return self.place(DocumentNode { span, kind: NodeKind::Text(text.to_owned()) });
        }
        match scalar::resolve(text) {
            Some(kind) => {
                if let NodeKind::Number(number) = &kind
                    && !self.is_of_another_tool()
                    && !is_canonical(text, number)
                {
                    self.report.add(changed_number(span, text, number));
                }
                self.place(DocumentNode { span, kind });
            }
            None => {
                let message = format!("`{}` is a number that JSON cannot hold", shorten(text));
                let help = "put quotes round it if it is meant as text";
                self.report.add(Diagnostic::new(Code::NoJsonNumber, span, message).help(help));
                self.refused(span);
            }
        }
    }

    /// Returns true within the value of a top-level key that begins with `x-`, which belongs to another tool.
    fn is_of_another_tool(&self) -> bool {
        let key = self.open.first().and_then(|open| open.key.as_ref());
        key.is_some_and(|(key, _)| key.starts_with("x-"))
    }

    /// Returns true if the next node is the key of a map.
    fn expects_key(&self) -> bool {
        self.open.last().is_some_and(|open| matches!(open.node.kind, NodeKind::Map(_)) && open.key.is_none())
    }

    fn key(&mut self, text: &str, span: Span) {
        if let Some(open) = self.open.last_mut() {
            open.key = Some((text.to_owned(), span));
        }
    }

    /// Adds a complete node to its list or map.
    fn place(&mut self, node: DocumentNode) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match (&mut open.node.kind, open.key.take()) {
            (NodeKind::List(items), _) => items.push(node),
            (NodeKind::Map(entries), Some((key, key_span))) => {
                entries.push(MapEntry { key, key_span, value: node })
            }
            _ => {}
        }
    }
}

/// Warns of a value without quotes that is read as a number whose canonical form differs.
fn changed_number(span: Span, text: &str, number: &Number) -> Diagnostic {
    let message = format!("`{}` is read as the number {number}", shorten(text));
    let help = format!(
        "if it is text, such as a version or a code, write `\"{}\"`, with the quotes; if it is a number, write `{number}`",
        shorten(text)
    );
    Diagnostic::new(Code::ChangedNumber, span, message).help(help)
}
