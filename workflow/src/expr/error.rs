//! Errors of evaluation.

use longshore_proto::{truncate, value_type};
use serde_json::Value;

use super::units;

/// Number of characters of a value that an error shows: enough to recognise it.
const EXCERPT_CHARS: usize = 80;

/// Number of characters of an expression that an error shows.
const SOURCE_CHARS: usize = 200;

/// The error of an expression that cannot be evaluated.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{expression}`: {message}")]
pub struct EvalError {
    /// Text of the expression without braces, cut if it is long.
    pub expression: String,
    /// Description of the problem, with the part of the expression and its value, and of the remedy where it is known.
    pub message: String,
    /// Beginning of the value that caused the error.
    pub value: Option<String>,
}

impl EvalError {
    pub(super) fn new(source: &str, message: impl ToString) -> Self {
        Self {
            expression: truncate(source, SOURCE_CHARS).into_owned(),
            message: message.to_string(),
            value: None,
        }
    }

    pub(super) fn too_much(source: &str) -> Self {
        Self::new(source, units::SPENT)
    }

    pub(super) fn not_a_condition(source: &str, value: &Value) -> Self {
        let excerpt = excerpt(value);
        let message = format!(
            "a condition is true or false, and this gives {} ({excerpt}); compare it with something",
            value_type(value)
        );
        Self { value: Some(excerpt), ..Self::new(source, message) }
    }
}

/// Returns the beginning of a value as JSON text.
pub(super) fn excerpt(value: &Value) -> String {
    truncate(&value.to_string(), EXCERPT_CHARS).into_owned()
}
