//! A JSON value with expressions in its texts.
//!
//! A text that is one expression and nothing else becomes the expression's value, of whatever type; an expression
//! within other text becomes text. What comes out of an expression is never searched for expressions again.

mod places;

use std::collections::BTreeSet;

use longshore_proto::SecretPlace;
use serde_json::{Map, Value};

use crate::expr::{EvalError, Expr, ReadSet, Scope, WorkBudget};
use places::{Places, Segment};

/// The most that a template puts together, as JSON text: what a tool can be expected to take as one argument, and what
/// keeps values that are made of themselves over and over from filling the memory.
const LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// How deep the lists and maps of a rendered value may nest. Readers of JSON commonly stop at 128 levels; this leaves
/// room for what is put around a value on its way.
const LIMIT_LEVELS: usize = 120;

/// A value to be rendered.
#[derive(Debug)]
pub struct Template {
    part: Part,
}

/// One node of a template.
#[derive(Debug)]
pub(crate) enum Part {
    /// Nothing to evaluate below here.
    Constant(Value),
    /// An expression alone.
    Whole(Expr),
    /// Text with expressions in it.
    Text(Vec<TextPart>),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

/// A part of a text.
#[derive(Debug)]
pub(crate) enum TextPart {
    Plain(String),
    Expression(Expr),
}

impl Template {
    pub(crate) const fn new(part: Part) -> Self {
        Self { part }
    }

    /// The entries of a map by their keys, in the order of the file, each with its value unless an expression makes it.
    /// Nothing, if the template is no map.
    pub fn entries(&self) -> Vec<(&str, Option<&Value>)> {
        match &self.part {
            Part::Constant(Value::Object(map)) => {
                map.iter().map(|(key, value)| (key.as_str(), Some(value))).collect()
            }
            Part::Map(entries) => entries.iter().map(|(key, part)| (key.as_str(), part.constant())).collect(),
            _ => Vec::new(),
        }
    }

    /// What its expressions read, all together.
    pub fn reads(&self) -> ReadSet {
        let mut reads = ReadSet::default();
        self.part.collect_reads(&mut reads);
        reads
    }

    /// The inputs that stand by themselves in it, alone or within text: the places where a secret input means its value.
    pub fn standalone_inputs(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        self.part.collect_lone_inputs(&mut names);
        names
    }

    /// The value with every expression evaluated, at the cost of `budget`.
    ///
    /// # Errors
    ///
    /// The first expression, in the order of the file, that has no value.
    pub fn render(&self, scope: &dyn Scope, budget: &WorkBudget) -> Result<Value, EvalError> {
        self.part.render(scope, &mut Rendering::new(&|_| false, budget))
    }

    /// Renders the value as [`Template::render`] does. Returns `None` if it is one expression that gives an optional without a
    /// value.
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

    /// The same for the arguments of a call, and the places in them that secrets belong into: wherever an input of which
    /// `is_secret` holds stands by itself. Its name stands there meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Template::render`], and when such an input does not name a secret, or the places are too many for one call.
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

impl Part {
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
                    if let TextPart::Expression(expr) = part {
                        reads.merge(expr.reads());
                    }
                }
            }
            Self::List(items) => items.iter().for_each(|item| item.collect_reads(reads)),
            Self::Map(entries) => entries.iter().for_each(|(_, item)| item.collect_reads(reads)),
        }
    }

    fn collect_lone_inputs<'t>(&'t self, names: &mut BTreeSet<&'t str>) {
        match self {
            Self::Constant(_) => {}
            Self::Whole(expr) => names.extend(expr.input()),
            Self::Text(parts) => {
                for part in parts {
                    if let TextPart::Expression(expr) = part {
                        names.extend(expr.input());
                    }
                }
            }
            Self::List(items) => items.iter().for_each(|item| item.collect_lone_inputs(names)),
            Self::Map(entries) => entries.iter().for_each(|(_, item)| item.collect_lone_inputs(names)),
        }
    }

    fn render<'t>(&'t self, scope: &dyn Scope, rendering: &mut Rendering<'t>) -> Result<Value, EvalError> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Whole(expr) => rendering.evaluate(expr, scope, 0)?.ok_or_else(|| expr.is_an_optional()),
            Self::Text(parts) => text(parts, scope, rendering),
            Self::List(parts) => {
                let mut items = Vec::with_capacity(parts.len());
                for part in parts {
                    let segment = Segment::Item(items.len());
                    items.extend(rendering.below(segment, |below| part.render_optional(scope, below))?);
                }
                Ok(Value::Array(items))
            }
            Self::Map(parts) => {
                let mut entries = Map::new();
                for (key, part) in parts {
                    let value =
                        rendering.below(Segment::Key(key), |below| part.render_optional(scope, below))?;
                    entries.extend(value.map(|value| (key.clone(), value)));
                }
                Ok(Value::Object(entries))
            }
        }
    }

    /// The value, or `None` if it is one expression that gives an optional without a value: then the part is left out of the
    /// map or list around it.
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

/// A value that is being rendered.
struct Rendering<'t> {
    budget: &'t WorkBudget,
    /// How many bytes may still be added to it.
    bytes: usize,
    /// The way to the part that is being rendered.
    way: Vec<Segment<'t>>,
    secrets: Places<'t>,
}

impl<'t> Rendering<'t> {
    fn new(is_secret: &'t dyn Fn(&str) -> bool, budget: &'t WorkBudget) -> Self {
        Self { budget, bytes: LIMIT_BYTES, way: Vec::new(), secrets: Places::new(is_secret) }
    }

    /// Goes one level down for a while.
    fn below<T>(&mut self, segment: Segment<'t>, render: impl FnOnce(&mut Self) -> T) -> T {
        self.way.push(segment);
        let rendered = render(self);
        self.way.pop();
        rendered
    }

    /// The value of an expression whose text begins at this byte. `None` for an optional without a value.
    fn evaluate(&mut self, expr: &Expr, scope: &dyn Scope, at: usize) -> Result<Option<Value>, EvalError> {
        let Some(value) = expr.evaluate_optional(scope, self.budget)? else { return Ok(None) };
        self.take_room(&value, expr)?;
        self.secrets.note(expr, &value, &self.way, at)?;
        Ok(Some(value))
    }

    fn take_room(&mut self, value: &Value, expr: &Expr) -> Result<(), EvalError> {
        let problem = match weight(value, LIMIT_LEVELS.saturating_sub(self.way.len())) {
            None => format!("the value it stands in nests deeper than {LIMIT_LEVELS} levels"),
            Some(bytes) => match self.bytes.checked_sub(bytes) {
                Some(left) => {
                    self.bytes = left;
                    return Ok(());
                }
                None => "the value it stands in grows beyond 16 MiB".to_owned(),
            },
        };
        Err(error(expr, problem))
    }
}

fn error(expr: &Expr, problem: impl Into<String>) -> EvalError {
    EvalError { expression: expr.source().to_owned(), message: problem.into(), value: None }
}

/// About how many bytes a value has as JSON text; nothing if it nests deeper than `levels`.
fn weight(value: &Value, levels: usize) -> Option<usize> {
    /// Quotes, commas and brackets, roughly.
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

fn text(parts: &[TextPart], scope: &dyn Scope, rendering: &mut Rendering<'_>) -> Result<Value, EvalError> {
    let mut text = String::new();
    for part in parts {
        match part {
            TextPart::Plain(plain) => text.push_str(plain),
            TextPart::Expression(expr) => match rendering.evaluate(expr, scope, text.len())? {
                Some(Value::String(value)) => text.push_str(&value),
                Some(other) => text.push_str(&other.to_string()),
                None => return Err(expr.is_an_optional()),
            },
        }
    }
    Ok(Value::String(text))
}
