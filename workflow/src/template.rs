//! A JSON value with expressions in its texts.
//!
//! A text that is one expression and nothing else becomes the expression's value, of whatever type; an expression
//! within other text becomes text. What comes out of an expression is never searched for expressions again.

use serde_json::{Map, Value};

use crate::expr::{EvalError, Expr, Reads, Scope};

/// The largest text that a template puts together: what a tool can be expected to take as one argument.
const TEXT_LIMIT_BYTES: usize = 16 * 1024 * 1024;

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
        self.part.render(scope)
    }
}

impl Part {
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

    fn render(&self, scope: &dyn Scope) -> Result<Value, EvalError> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Whole(expr) => expr.evaluate(scope),
            Self::Text(parts) => text(parts, scope),
            Self::List(items) => items.iter().map(|item| item.render(scope)).collect(),
            Self::Map(entries) => {
                let entries = entries.iter().map(|(key, item)| Ok((key.clone(), item.render(scope)?)));
                entries.collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
        }
    }
}

fn text(parts: &[TextPart], scope: &dyn Scope) -> Result<Value, EvalError> {
    let mut text = String::new();
    for part in parts {
        match part {
            TextPart::Plain(plain) => text.push_str(plain),
            TextPart::Expression(expr) => match expr.evaluate(scope)? {
                Value::String(value) => text.push_str(&value),
                other => text.push_str(&other.to_string()),
            },
        }
        if let (TextPart::Expression(expr), true) = (part, text.len() > TEXT_LIMIT_BYTES) {
            return Err(EvalError {
                expression: expr.source().to_owned(),
                message: "the text it stands in grows beyond 16 MiB".to_owned(),
                value: None,
            });
        }
    }
    Ok(Value::String(text))
}
