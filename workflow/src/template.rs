//! A JSON value with expressions in its texts.
//!
//! A text that is one expression and nothing else becomes the expression's value, of whatever type; an expression
//! within other text becomes text. What comes out of an expression is never searched for expressions again.

use serde_json::{Map, Value};

use crate::expr::{EvalError, Expr, Reads, Scope};

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
    pub fn reads(&self) -> Reads {
        let mut reads = Reads::default();
        self.part.collect_reads(&mut reads);
        reads
    }

    /// The value with every expression evaluated.
    ///
    /// # Errors
    ///
    /// The first expression, in the order of the file, that has no value.
    pub fn render(&self, scope: &dyn Scope) -> Result<Value, EvalError> {
        self.part.render(scope, &mut Room { bytes: LIMIT_BYTES, level: 0 })
    }
}

impl Part {
    const fn constant(&self) -> Option<&Value> {
        match self {
            Self::Constant(value) => Some(value),
            Self::Whole(_) | Self::Text(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    fn collect_reads(&self, reads: &mut Reads) {
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

    fn render(&self, scope: &dyn Scope, room: &mut Room) -> Result<Value, EvalError> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Whole(expr) => {
                let value = expr.evaluate(scope)?;
                room.take(&value, expr)?;
                Ok(value)
            }
            Self::Text(parts) => text(parts, scope, room),
            Self::List(items) => {
                room.below(|room| items.iter().map(|item| item.render(scope, room)).collect())
            }
            Self::Map(entries) => room.below(|room| {
                let entries = entries.iter().map(|(key, item)| Ok((key.clone(), item.render(scope, room)?)));
                entries.collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }),
        }
    }
}

/// What may still be added to a value that is being rendered.
struct Room {
    bytes: usize,
    level: usize,
}

impl Room {
    /// Goes one level down for a while.
    fn below<T>(&mut self, render: impl FnOnce(&mut Self) -> T) -> T {
        self.level += 1;
        let rendered = render(self);
        self.level -= 1;
        rendered
    }

    /// Takes the room that the value of an expression needs.
    fn take(&mut self, value: &Value, expr: &Expr) -> Result<(), EvalError> {
        let problem = match weight(value, LIMIT_LEVELS.saturating_sub(self.level)) {
            None => format!("the value it stands in nests deeper than {LIMIT_LEVELS} levels"),
            Some(bytes) => match self.bytes.checked_sub(bytes) {
                Some(left) => {
                    self.bytes = left;
                    return Ok(());
                }
                None => "the value it stands in grows beyond 16 MiB".to_owned(),
            },
        };
        Err(EvalError { expression: expr.source().to_owned(), message: problem, value: None })
    }
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

fn text(parts: &[TextPart], scope: &dyn Scope, room: &mut Room) -> Result<Value, EvalError> {
    let mut text = String::new();
    for part in parts {
        match part {
            TextPart::Plain(plain) => text.push_str(plain),
            TextPart::Expression(expr) => {
                let value = expr.evaluate(scope)?;
                room.take(&value, expr)?;
                match value {
                    Value::String(value) => text.push_str(&value),
                    other => text.push_str(&other.to_string()),
                }
            }
        }
    }
    Ok(Value::String(text))
}
