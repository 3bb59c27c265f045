//! The text as a tree of nodes and keys with their spans.
//!
//! YAML and JSON both become this tree, and later passes do not distinguish them. The tree is bounded: it has at most
//! [`DEPTH_LIMIT`] levels, no aliases and no tags, and its keys are text and unique. `schema` interprets the keys.

mod blanked;
mod json;
mod mistakes;
mod read;
mod scalar;

use longshore_proto::loses_digits;
use serde_json::{Map, Number, Value};

pub(crate) use read::read;

use crate::codes::Code;
use crate::diagnostics::{Diagnostic, Report};

use crate::source::{SourceText, Span, shorten};

/// Help for a text that is not a workflow.
pub(crate) const FIRST_LINE: &str = "begin with `longshore: v1`";

/// The largest nesting depth of lists and maps: more than a readable workflow needs, and safe for recursion over the tree.
pub(crate) const DEPTH_LIMIT: usize = 64;

/// Refuses numbers in a node that 64-bit numbers cannot hold, since their last digits would change.
pub(crate) fn refuse_lost_digits(node: &DocumentNode, source: &SourceText<'_>, report: &mut Report) {
    match &node.kind {
        NodeKind::Number(_) if loses_digits(source.slice(node.span)) => {
            let digits = shorten(source.slice(node.span));
            let message = format!("the last digits of the number {digits} would be lost");
            let problem = Diagnostic::new(Code::NoJsonNumber, node.span, message);
            report.add(problem.help("put it into quotes to pass it on exactly"));
        }
        NodeKind::List(items) => items.iter().for_each(|item| refuse_lost_digits(item, source, report)),
        NodeKind::Map(entries) => {
            entries.iter().for_each(|entry| refuse_lost_digits(&entry.value, source, report));
        }
        _ => {}
    }
}

/// A value with its span.
#[derive(Clone, Debug)]
pub(crate) struct DocumentNode {
    pub(crate) span: Span,
    pub(crate) kind: NodeKind,
}

/// The value of a node.
#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<DocumentNode>),
    Map(Vec<MapEntry>),
    /// A value that was refused. The report has the reason, and later passes add no further problem.
    Refused,
}

/// An entry of a map: a key and its value.
#[derive(Clone, Debug)]
pub(crate) struct MapEntry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: DocumentNode,
}

impl DocumentNode {
    /// Returns the type of the value, for messages.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self.kind {
            NodeKind::Null => "nothing",
            NodeKind::Bool(_) => "a boolean",
            NodeKind::Number(_) => "a number",
            NodeKind::Text(_) => "text",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a map",
            NodeKind::Refused => "refused",
        }
    }

    /// Returns true if the value was refused.
    pub(crate) const fn is_refused(&self) -> bool {
        matches!(self.kind, NodeKind::Refused)
    }

    /// Converts the node to JSON.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            NodeKind::Null | NodeKind::Refused => Value::Null,
            NodeKind::Bool(value) => Value::Bool(*value),
            NodeKind::Number(value) => Value::Number(value.clone()),
            NodeKind::Text(value) => Value::String(value.clone()),
            NodeKind::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            NodeKind::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }
}
