//! Events of the YAML parser to a tree.
//!
//! The parser pulls events and never recurses; the tree is built on a stack of its own, so no text can overflow the
//! thread's. What follows a mistake in the text cannot be trusted, unless the mistake is a value that can be covered
//! ([`CoveredText`]): an expression that YAML reads in its own way.

use std::collections::BTreeSet;

use saphyr_parser::{Event, Parser, ScalarStyle, Span as YamlSpan};
use serde_json::Number;

use super::covered::CoveredText;
use super::json::Prepared;
use super::mistakes::{self, Fatal, short};
use super::{DEPTH_LIMIT, Entry, Kind, Node, scalar};
use crate::codes::Code;
use crate::diagnostics::{Diagnostic, Report};
use crate::source::{Source, Span};

/// The tree of a text; nothing if it is not well-formed, in which case the report says why. `first_line` is the help for an empty
/// text.
pub(crate) fn read(source: &Source<'_>, first_line: &'static str, report: &mut Report) -> Option<Node> {
    let mut covered = CoveredText::new(source.text());
    loop {
        let mut pass = Report::default();
        let fatal = match read_once(source, first_line, &covered, &mut pass) {
            Ok(root) => {
                report.append(pass);
                return root;
            }
            Err(fatal) => fatal,
        };
        match fatal.cover {
            Some(span) if covered.cover(span) => report.add(fatal.problem),
            _ => {
                report.append(pass);
                report.add(fatal.problem);
                return None;
            }
        }
    }
}

/// The tree, or the mistake that the reading ends at.
fn read_once(
    source: &Source<'_>,
    first_line: &'static str,
    covered: &CoveredText<'_>,
    report: &mut Report,
) -> Result<Option<Node>, Fatal> {
    let prepared = Prepared::new(&covered.text);
    let mut parser = Parser::new_from_str(&prepared.text);
    let open = Vec::new();
    let mut builder =
        Builder { prepared: &prepared, covered, source, report, open, root: None, tags: Vec::new() };
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

/// A list or map whose end has not come yet.
struct Open {
    node: Node,
    /// In a map: the key whose value comes next.
    key: Option<(String, Span)>,
}

struct Builder<'b, 't> {
    prepared: &'b Prepared<'t>,
    covered: &'b CoveredText<'t>,
    source: &'b Source<'t>,
    report: &'b mut Report,
    open: Vec<Open>,
    root: Option<Node>,
    /// Places of the values that carry a tag.
    tags: Vec<Span>,
}

impl Builder<'_, '_> {
    /// Takes one event; an error ends the reading.
    fn take(&mut self, event: Event<'_>, span: YamlSpan) -> Result<(), Fatal> {
        let span = self.span(span);
        match event {
            Event::Alias(_) => {
                self.report.add(mistakes::alias(span));
                self.refused(span);
            }
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    // An anchor behind it is `&&` within the same expression.
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
                self.begin(Kind::List(Vec::new()), span)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.anchor(anchor, span);
                if tag.is_some() {
                    self.tag_of_group(span);
                }
                self.begin(Kind::Map(Vec::new()), span)?;
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

    /// The mistake at `at`, if it only follows from a tag on the same line: `!a && b` is a tag, and no value after it.
    fn tag_before(&self, at: usize) -> Option<Fatal> {
        let (line_start, line) = self.source.line_at(at);
        let tag = self.tags.iter().find(|tag| (line_start..at).contains(&tag.start))?;
        let cover = Span::new(tag.start, line_start + line.trim_end().len());
        Some(Fatal { problem: mistakes::tag(self.source, *tag), cover: Some(cover) })
    }

    /// Puts a value that cannot be read where a value or a key is expected.
    fn refused(&mut self, span: Span) {
        if self.expects_key() {
            let key = self.source.slice(self.source.first_line(span)).to_owned();
            return self.key(&key, span);
        }
        // What a merge key merges is no value of the map.
        if let Some(open) = self.open.last_mut()
            && open.key.as_ref().is_some_and(|(key, _)| key == "<<")
        {
            open.key = None;
            return;
        }
        self.place(Node { span, kind: Kind::Refused });
    }

    fn span(&self, span: YamlSpan) -> Span {
        let start = self.prepared.byte(span.start.index());
        Span::new(start, self.prepared.byte(span.end.index()).max(start))
    }

    fn begin(&mut self, kind: Kind, span: Span) -> Result<(), Fatal> {
        if self.expects_key() {
            return Err(mistakes::key_not_text(self.source, span));
        }
        if self.open.len() >= DEPTH_LIMIT {
            return Err(mistakes::too_deep(span).into());
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

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) {
        if self.expects_key() {
            return self.key(text, span);
        }
        if self.covered.covers(span) {
            return self.refused(span);
        }
        if style != ScalarStyle::Plain {
            return self.place(Node { span, kind: Kind::Text(text.to_owned()) });
        }
        match scalar::resolve(text) {
            Some(kind) => {
                if let Kind::Number(number) = &kind
                    && !self.is_of_another_tool()
                    && !self.prepared.is_written_as(number, text)
                {
                    self.report.add(changed_number(span, text, number));
                }
                self.place(Node { span, kind });
            }
            None => {
                let message = format!("`{}` is a number that JSON cannot hold", short(text));
                let help = "put quotes round it if it is meant as text";
                self.report.add(Diagnostic::new(Code::NoJsonNumber, span, message).help(help));
                self.refused(span);
            }
        }
    }

    /// Returns true within a key at the top level that begins with `x-`.
    fn is_of_another_tool(&self) -> bool {
        let key = self.open.first().and_then(|open| open.key.as_ref());
        key.is_some_and(|(key, _)| key.starts_with("x-"))
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

/// A value without quotes that is read as a number, and that the number is not written as.
fn changed_number(span: Span, text: &str, number: &Number) -> Diagnostic {
    let message = format!("YAML reads `{}` as the number {number}", short(text));
    let help = format!("write `\"{}\"`, with the quotes, if it is meant as it is written", short(text));
    Diagnostic::new(Code::ChangedNumber, span, message).help(help)
}
