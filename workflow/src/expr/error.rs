//! An expression that has no value.

use serde_json::Value;

use super::units;

/// How much of a value is shown: enough to recognise it.
const EXCERPT_CHARS: usize = 80;

/// How much of an expression is shown.
const SOURCE_CHARS: usize = 200;

/// Why an expression has no value, in words that name the part and the value that broke it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{expression}`: {message}")]
pub struct EvalError {
    /// The expression, without braces; cut if it is long.
    pub expression: String,
    /// What is wrong and, where that is known, how to mend it.
    pub message: String,
    /// An excerpt of the value that broke it.
    pub value: Option<String>,
}

impl EvalError {
    pub(super) fn new(source: &str, message: impl ToString) -> Self {
        Self { expression: cut(source, SOURCE_CHARS), message: message.to_string(), value: None }
    }

    pub(super) fn too_much(source: &str) -> Self {
        Self::new(source, units::SPENT)
    }

    pub(super) fn not_a_condition(source: &str, value: &Value) -> Self {
        let excerpt = excerpt(value);
        let message = format!(
            "a condition is true or false, and this gives {} ({excerpt}); compare it with something",
            kind(value)
        );
        Self { value: Some(excerpt), ..Self::new(source, message) }
    }
}

/// What a value is, in the words of JSON.
pub(super) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// The beginning of a value.
pub(super) fn excerpt(value: &Value) -> String {
    cut(&value.to_string(), EXCERPT_CHARS)
}

/// A text cut to so many characters.
pub(super) fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
