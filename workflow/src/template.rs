//! Templates: JSON values with expressions in their texts.
//!
//! A text that consists of one expression becomes the value of the expression, of any type. An expression within other text
//! becomes text. The value of an expression is not searched for further expressions.

mod places;

use std::collections::BTreeSet;

use longshore_proto::SecretPlace;
use serde_json::{Map, Value};

use crate::expr::{EvalError, Expr, ReadSet, Scope, WorkBudget};
use places::{PointerSegment, SecretPlaces};

/// The largest sum of the values of expressions in a template, in bytes of JSON text: as much as a tool can be expected to
/// accept as arguments. It bounds the memory for values that workflows build from their own values repeatedly.
const LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// Message of a template whose values are larger.
const TOO_LARGE: &str = "the value around it grows beyond 16 MiB, the limit of `with` and `set`; pass a large value by a file \
                         or an address that both tools can read";

/// The largest nesting depth of a rendered value. JSON parsers commonly accept 128 levels; the difference is for the messages
/// that contain the value.
const LIMIT_LEVELS: usize = 120;

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    part: TemplateNode,
}

/// A node of a template.
#[derive(Debug)]
pub(crate) enum TemplateNode {
    /// A value without expressions.
    Constant(Value),
    /// A text that consists of one expression.
    Whole(Expr),
    /// A text that contains expressions.
    Text(Vec<TextFragment>),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

/// A part of a text with expressions.
#[derive(Debug)]
pub(crate) enum TextFragment {
    Plain(String),
    Expression(Expr),
}

impl Template {
    pub(crate) const fn new(part: TemplateNode) -> Self {
        Self { part }
    }

    /// Creates a template without expressions.
    pub const fn constant(value: Value) -> Self {
        Self::new(TemplateNode::Constant(value))
    }

    /// Returns the keys of a map in the order of the file, each with its value unless it contains expressions. Empty if the
    /// template is not a map.
    pub fn entries(&self) -> Vec<(&str, Option<&Value>)> {
        match &self.part {
            TemplateNode::Constant(Value::Object(map)) => {
                map.iter().map(|(key, value)| (key.as_str(), Some(value))).collect()
            }
            TemplateNode::Map(entries) => {
                entries.iter().map(|(key, part)| (key.as_str(), part.constant())).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns the values that all expressions of the template read.
    pub fn reads(&self) -> ReadSet {
        let mut reads = ReadSet::default();
        self.part.collect_reads(&mut reads);
        reads
    }

    /// Returns the inputs that are expressions by themselves, as a whole value or within text. In these places a secret input
    /// means the value of the secret.
    pub fn standalone_inputs(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        self.part.collect_standalone_inputs(&mut names);
        names
    }

    /// Renders the template. The work is charged to `budget`.
    ///
    /// # Errors
    ///
    /// The first expression, in the order of the file, that cannot be evaluated.
    pub fn render(&self, scope: &dyn Scope, budget: &WorkBudget) -> Result<Value, EvalError> {
        self.part.render(scope, &mut Rendering::new(&|_| false, budget))
    }

    /// Renders the template. Returns `None` if it is one expression whose value is an empty optional.
    ///
    /// # Errors
    ///
    /// As [`Template::render`].
    pub fn render_optional(
        &self,
        scope: &dyn Scope,
        budget: &WorkBudget,
    ) -> Result<Option<Value>, EvalError> {
        self.part.render_optional(scope, &mut Rendering::new(&|_| false, budget))
    }

    /// Renders the arguments of a call. Returns them with the places of secrets: the inputs for which `is_secret` is true and
    /// that are expressions by themselves. The arguments contain the references to the secrets.
    ///
    /// # Errors
    ///
    /// As [`Template::render`]; if the value of such an input does not name a secret; and if the places exceed their limit.
    pub fn render_arguments(
        &self,
        scope: &dyn Scope,
        budget: &WorkBudget,
        is_secret: &dyn Fn(&str) -> bool,
    ) -> Result<(Value, Vec<SecretPlace>), EvalError> {
        let mut rendering = Rendering::new(is_secret, budget);
        let value = self.part.render(scope, &mut rendering)?;
        Ok((value, rendering.secrets.found()))
    }
}

impl TemplateNode {
    const fn constant(&self) -> Option<&Value> {
        match self {
            Self::Constant(value) => Some(value),
            Self::Whole(_) | Self::Text(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    fn collect_reads(&self, reads: &mut ReadSet) {
        match self {
            Self::Constant(_) => {}
            Self::Whole(expr) => reads.merge(expr.reads()),
            Self::Text(parts) => {
                for part in parts {
                    if let TextFragment::Expression(expr) = part {
                        reads.merge(expr.reads());
                    }
                }
            }
            Self::List(items) => items.iter().for_each(|item| item.collect_reads(reads)),
            Self::Map(entries) => entries.iter().for_each(|(_, item)| item.collect_reads(reads)),
        }
    }

    fn collect_standalone_inputs<'t>(&'t self, names: &mut BTreeSet<&'t str>) {
        match self {
            Self::Constant(_) => {}
            Self::Whole(expr) => names.extend(expr.input()),
            Self::Text(parts) => {
                for part in parts {
                    if let TextFragment::Expression(expr) = part {
                        names.extend(expr.input());
                    }
                }
            }
            Self::List(items) => items.iter().for_each(|item| item.collect_standalone_inputs(names)),
            Self::Map(entries) => entries.iter().for_each(|(_, item)| item.collect_standalone_inputs(names)),
        }
    }

    fn render<'t>(&'t self, scope: &dyn Scope, rendering: &mut Rendering<'t>) -> Result<Value, EvalError> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Whole(expr) => rendering.evaluate(expr, scope, 0)?.ok_or_else(|| expr.optional_error()),
            Self::Text(parts) => text(parts, scope, rendering),
            Self::List(parts) => {
                let mut items = Vec::with_capacity(parts.len());
                for part in parts {
                    let segment = PointerSegment::Item(items.len());
                    items.extend(rendering.in_child(segment, |child| part.render_optional(scope, child))?);
                }
                Ok(Value::Array(items))
            }
            Self::Map(parts) => {
                let mut entries = Map::new();
                for (key, part) in parts {
                    let value = rendering
                        .in_child(PointerSegment::Key(key), |child| part.render_optional(scope, child))?;
                    entries.extend(value.map(|value| (key.clone(), value)));
                }
                Ok(Value::Object(entries))
            }
        }
    }

    /// Renders the node. Returns `None` if it is one expression whose value is an empty optional; the map or list around it then
    /// omits the node.
    fn render_optional<'t>(
        &'t self,
        scope: &dyn Scope,
        rendering: &mut Rendering<'t>,
    ) -> Result<Option<Value>, EvalError> {
        match self {
            Self::Whole(expr) => rendering.evaluate(expr, scope, 0),
            _ => self.render(scope, rendering).map(Some),
        }
    }
}

/// The state of rendering a template.
struct Rendering<'t> {
    budget: &'t WorkBudget,
    /// Number of bytes that may still be added.
    bytes_left: usize,
    /// Path to the node that is being rendered.
    path: Vec<PointerSegment<'t>>,
    secrets: SecretPlaces<'t>,
}

impl<'t> Rendering<'t> {
    fn new(is_secret: &'t dyn Fn(&str) -> bool, budget: &'t WorkBudget) -> Self {
        Self { budget, bytes_left: LIMIT_BYTES, path: Vec::new(), secrets: SecretPlaces::new(is_secret) }
    }

    /// Renders a child node.
    fn in_child<T>(&mut self, segment: PointerSegment<'t>, render: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(segment);
        let rendered = render(self);
        self.path.pop();
        rendered
    }

    /// Evaluates an expression whose value begins at byte `at` of its text. Returns `None` for an empty optional.
    fn evaluate(&mut self, expr: &Expr, scope: &dyn Scope, at: usize) -> Result<Option<Value>, EvalError> {
        let Some(value) = expr.evaluate_optional(scope, self.budget)? else { return Ok(None) };
        self.charge_bytes(&value, expr)?;
        self.secrets.record(expr, &value, &self.path, at)?;
        Ok(Some(value))
    }

    /// Charges the size of a value, and checks its depth.
    fn charge_bytes(&mut self, value: &Value, expr: &Expr) -> Result<(), EvalError> {
        let problem = match weight(value, LIMIT_LEVELS.saturating_sub(self.path.len())) {
            None => format!("the value around it is nested more than {LIMIT_LEVELS} levels deep"),
            Some(bytes) => match self.bytes_left.checked_sub(bytes) {
                Some(left) => {
                    self.bytes_left = left;
                    return Ok(());
                }
                None => TOO_LARGE.to_owned(),
            },
        };
        Err(error(expr, problem))
    }
}

fn error(expr: &Expr, problem: impl Into<String>) -> EvalError {
    EvalError { expression: expr.source().to_owned(), message: problem.into(), value: None }
}

/// Estimates the size of a value in bytes of JSON text. Returns `None` if it is nested more than `levels` deep.
fn weight(value: &Value, levels: usize) -> Option<usize> {
    /// Bytes of quotes, commas and brackets.
    const MARKS: usize = 4;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(2 * MARKS),
        Value::String(text) => Some(text.len() + MARKS),
        Value::Array(items) => {
            let below = levels.checked_sub(1)?;
            items.iter().try_fold(MARKS, |sum, item| Some(sum + weight(item, below)?))
        }
        Value::Object(entries) => {
            let below = levels.checked_sub(1)?;
            entries
                .iter()
                .try_fold(MARKS, |sum, (key, item)| Some(sum + key.len() + MARKS + weight(item, below)?))
        }
    }
}

fn text(
    parts: &[TextFragment],
    scope: &dyn Scope,
    rendering: &mut Rendering<'_>,
) -> Result<Value, EvalError> {
    let mut text = String::new();
    for part in parts {
        match part {
            TextFragment::Plain(plain) => text.push_str(plain),
            TextFragment::Expression(expr) => match rendering.evaluate(expr, scope, text.len())? {
                Some(Value::String(value)) => text.push_str(&value),
                Some(other) => text.push_str(&other.to_string()),
                None => return Err(expr.optional_error()),
            },
        }
    }
    Ok(Value::String(text))
}
