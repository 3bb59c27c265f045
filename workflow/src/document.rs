//! The text as a tree in which every node and key knows its place.
//!
//! YAML and JSON both become this tree, and everything after it no longer cares which of the two it was. The tree is
//! bounded: [`DEPTH_LIMIT`] levels, no aliases, no tags, keys that are text and unique. What its keys mean is the
//! business of `shape`.

mod covered;
mod json;
mod mistakes;
mod read;
mod scalar;

use serde_json::{Map, Number, Value};

pub(crate) use read::read;

use crate::codes::Code;
use crate::diagnostics::{Diagnostic, Report};
use crate::source::{Source, Span};

/// Help for a text that is no workflow at all.
pub(crate) const FIRST_LINE: &str = "begin with `longshore: v1`";

/// How deep lists and maps may stand in each other: deeper than any workflow people can still read, and shallow
/// enough for every recursive walk over the tree.
pub(crate) const DEPTH_LIMIT: usize = 64;

/// Refuses the whole numbers below a node that do not fit 64 bits: as floats, their last digits would be others.
pub(crate) fn refuse_lost_digits(node: &Node, source: &Source<'_>, report: &mut Report) {
    match &node.kind {
        Kind::Number(_) if scalar::loses_digits(source.slice(node.span)) => {
            let digits = mistakes::short(source.slice(node.span));
            let message = format!("the last digits of the number {digits} would be lost");
            let problem = Diagnostic::new(Code::NoJsonNumber, node.span, message);
            report.add(problem.help("put it into quotes to pass it on exactly"));
        }
        Kind::List(items) => items.iter().for_each(|item| refuse_lost_digits(item, source, report)),
        Kind::Map(entries) => {
            entries.iter().for_each(|entry| refuse_lost_digits(&entry.value, source, report));
        }
        _ => {}
    }
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// A value that cannot be read. The report says why, and nothing else is said about it.
    Refused,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

impl Node {
    /// What it is, in the words of JSON.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
            Kind::Refused => "refused",
        }
    }

    /// Returns true if the value could not be read, which the report says already.
    pub(crate) const fn is_refused(&self) -> bool {
        matches!(self.kind, Kind::Refused)
    }

    /// The value without places.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null | Kind::Refused => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(value) => Value::Number(value.clone()),
            Kind::Text(value) => Value::String(value.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }
}
