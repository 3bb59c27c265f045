//! What a run is given: checked against what the workflow declares, with defaults filled in.

use std::fmt;

use serde_json::{Map, Value};

use crate::plan::{InputSpec, InputType, Plan};
use crate::suggest::{did_you_mean, listed};

/// How much of a value that does not fit is shown.
const EXCERPT_CHARS: usize = 60;

impl InputType {
    /// Every type.
    pub const ALL: [Self; 6] =
        [Self::String, Self::Number, Self::Integer, Self::Boolean, Self::Array, Self::Object];

    /// The name in a workflow.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    /// Whether a value is of this type. An integer fits into 64 bits and is written without a point: `2.0` would be
    /// another type in every expression.
    pub fn accepts(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Number => value.is_number(),
            Self::Integer => value.is_i64(),
            Self::Boolean => value.is_boolean(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

/// One reason why inputs are not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InputProblem {
    /// A required input is not there.
    #[error("input `{name}` is required{}", about.as_ref().map(|about| format!(": {about}")).unwrap_or_default())]
    Missing {
        /// The input.
        name: String,
        /// What it is for.
        about: Option<String>,
    },
    /// There is no such input.
    #[error("there is no input `{name}`; {help}")]
    Unknown {
        /// What was given.
        name: String,
        /// The closest one, or the list of them.
        help: String,
    },
    /// The value is of another type.
    #[error("input `{name}` wants {wanted}, and this is `{value}`; {help}")]
    WrongType {
        /// The input.
        name: String,
        /// The type it wants.
        wanted: &'static str,
        /// An excerpt of what was given.
        value: String,
        /// How to write it.
        help: &'static str,
    },
}

/// Everything that is wrong with the inputs of a run; at least one thing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InputProblems(Vec<InputProblem>);

impl InputProblems {
    /// One after the other, in the order of the declaration, unknown ones last.
    pub fn iter(&self) -> impl Iterator<Item = &InputProblem> {
        self.0.iter()
    }
}

impl fmt::Display for InputProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for InputProblems {}

impl Plan {
    /// The inputs of a run as an object, with defaults filled in.
    ///
    /// # Errors
    ///
    /// All problems at once: inputs that are missing, unknown, or of another type.
    pub fn accept_inputs(&self, mut given: Map<String, Value>) -> Result<Value, InputProblems> {
        let mut problems = Vec::new();
        let mut accepted = Map::new();
        for spec in &self.inputs {
            match given.remove(&spec.name) {
                Some(value) => match spec.check(&value) {
                    Ok(()) => drop(accepted.insert(spec.name.clone(), value)),
                    Err(problem) => problems.push(problem),
                },
                None => match &spec.default {
                    Some(default) => drop(accepted.insert(spec.name.clone(), default.clone())),
                    None if spec.required => {
                        let about = spec.description.clone();
                        problems.push(InputProblem::Missing { name: spec.name.clone(), about });
                    }
                    None => {}
                },
            }
        }
        problems.extend(given.into_iter().map(|(name, _)| self.unknown_input(name)));
        if problems.is_empty() { Ok(Value::Object(accepted)) } else { Err(InputProblems(problems)) }
    }

    fn unknown_input(&self, name: String) -> InputProblem {
        let names = || self.inputs.iter().map(|spec| spec.name.as_str());
        let help =
            did_you_mean(&name, names()).unwrap_or_else(|| format!("the workflow takes {}", listed(names())));
        InputProblem::Unknown { name: name.chars().take(EXCERPT_CHARS).collect(), help }
    }
}

impl InputSpec {
    /// Reads a value given as text, as in `-i name=value`: by the declared type, lists and maps as JSON. Without a
    /// type, the text is JSON if it parses, else a text.
    ///
    /// # Errors
    ///
    /// When the text is no value of the declared type.
    pub fn parse_text(&self, text: &str) -> Result<Value, InputProblem> {
        let as_text = || Value::String(text.to_owned());
        if self.kind == Some(InputType::String) {
            return Ok(as_text());
        }
        let value = serde_json::from_str(text.trim()).unwrap_or_else(|_| as_text());
        self.check(&value).map(|()| value)
    }

    fn check(&self, value: &Value) -> Result<(), InputProblem> {
        match self.kind {
            Some(kind) if !kind.accepts(value) => Err(self.wrong_type(kind, value)),
            _ => Ok(()),
        }
    }

    fn wrong_type(&self, kind: InputType, value: &Value) -> InputProblem {
        let (wanted, help) = match kind {
            InputType::String => ("text", "put quotes round it"),
            InputType::Number => ("a number", "as in 2.5"),
            InputType::Integer => ("a whole number of at most 64 bits", "as in 42, without a point"),
            InputType::Boolean => ("true or false", "write `true` or `false`"),
            InputType::Array => ("a list", "as JSON: `[\"a\", \"b\"]`"),
            InputType::Object => ("a map", "as JSON: `{\"key\": \"value\"}`"),
        };
        let value = value.to_string().chars().take(EXCERPT_CHARS).collect();
        InputProblem::WrongType { name: self.name.clone(), wanted, value, help }
    }
}
