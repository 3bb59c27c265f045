//! Checks the inputs of a run against their declarations, and fills in defaults.

use std::fmt;

use longshore_proto::SecretName;
use serde_json::{Map, Value};

use crate::json_input::{JsonInputError, parse_json, parse_untyped};
use crate::plan::{InputSpec, InputType, ItemSpec, Plan};
use crate::suggest::{did_you_mean, listed};

/// Number of characters of a refused value that an error shows.
const EXCERPT_CHARS: usize = 60;

/// Number of problems that are described; the others are counted. A request may contain tens of thousands of unknown names,
/// and the description of each compares it with the declared names.
const DESCRIBED_LIMIT: usize = 20;

impl InputType {
    /// All types.
    pub const ALL: [Self; 6] =
        [Self::String, Self::Number, Self::Integer, Self::Boolean, Self::Array, Self::Object];

    /// Returns the name in a workflow.
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

    /// Returns true if a value is of this type. An integer fits into 64 bits and has no decimal point: `2.0` has another type
    /// in expressions.
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

/// A reason why inputs are refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InputProblem {
    /// A required input is missing.
    #[error("input `{name}` is required{}", about.as_ref().map(|about| format!(": {about}")).unwrap_or_default())]
    Missing {
        /// The input.
        name: String,
        /// Description from the declaration.
        about: Option<String>,
    },
    /// The workflow declares no such input.
    #[error("there is no input `{name}`; {help}")]
    Unknown {
        /// Name in the request.
        name: String,
        /// The most similar name, or the list of declared names.
        help: String,
    },
    /// The value has the wrong type.
    #[error("input `{name}` wants {wanted}, and this is `{value}`; {help}")]
    WrongType {
        /// The input or an item of it, such as `regions[3]`.
        name: String,
        /// Declared type.
        wanted: &'static str,
        /// Beginning of the value.
        value: String,
        /// Description of the right form.
        help: String,
    },
    /// A 64-bit number cannot hold a number, so it would change.
    #[error("input `{name}` is given the number {digits}, whose last digits would be lost; {help}")]
    LostDigits {
        /// The input.
        name: String,
        /// The number in the request.
        digits: String,
        /// Description of the right form.
        help: &'static str,
    },
    /// A number is larger than any 64-bit number.
    #[error("input `{name}` is given the number {number}, which is out of range; {help}")]
    OutOfRange {
        /// The input.
        name: String,
        /// The number in the request.
        number: String,
        /// Description of the right form.
        help: &'static str,
    },
    /// A key occurs twice in one map of the value.
    #[error("input `{name}` is given JSON with a problem: {why}; remove one of the two")]
    RepeatedKey {
        /// The input.
        name: String,
        /// The key and its position in the value.
        why: String,
    },
    /// The value of a secret input is not the name of a secret. The error does not repeat it, since it may be the secret.
    #[error(
        "input `{name}` is secret: give the name of a secret of the workers, as in `secret:{}`, never the value itself",
        name.to_ascii_uppercase()
    )]
    NotASecretName {
        /// The input.
        name: String,
    },
}

/// The problems with the inputs of a run; at least one. The first 20 are described, the others counted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct InputProblems {
    described: Vec<InputProblem>,
    more: usize,
}

impl InputProblems {
    /// Returns the described problems in the order of the declaration, unknown inputs last.
    pub fn iter(&self) -> impl Iterator<Item = &InputProblem> {
        self.described.iter()
    }

    /// Returns the number of problems that [`InputProblems::iter`] omits.
    pub const fn omitted(&self) -> usize {
        self.more
    }

    /// Adds a problem. Only the first ones are described, the others counted.
    fn add(&mut self, describe: impl FnOnce() -> InputProblem) {
        if self.described.len() < DESCRIBED_LIMIT {
            self.described.push(describe());
        } else {
            self.more += 1;
        }
    }
}

impl fmt::Display for InputProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.described.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for InputProblems {}

impl Plan {
    /// Checks the inputs of a run and returns them as an object, with defaults filled in.
    ///
    /// # Errors
    ///
    /// The inputs that are missing, unknown, or of the wrong type. Of a list, only the first item of the wrong type is
    /// reported. The cost is linear in the size of the inputs, independent of the number of problems.
    pub fn accept_inputs(&self, mut given: Map<String, Value>) -> Result<Value, InputProblems> {
        let mut problems = InputProblems::default();
        let mut accepted = Map::new();
        for spec in &self.inputs {
            match given.remove(&spec.name) {
                Some(value) => match spec.mismatch(&value) {
                    None => drop(accepted.insert(spec.name.clone(), value)),
                    Some(mismatch) => problems.add(|| spec.describe(&mismatch)),
                },
                None => match &spec.default {
                    Some(default) => drop(accepted.insert(spec.name.clone(), default.clone())),
                    None if spec.required => problems.add(|| InputProblem::Missing {
                        name: spec.name.clone(),
                        about: spec.description.clone(),
                    }),
                    None => {}
                },
            }
        }
        given.keys().for_each(|name| problems.add(|| self.unknown_input(name)));
        if problems.described.is_empty() { Ok(Value::Object(accepted)) } else { Err(problems) }
    }

    /// Returns the secret inputs of a run with the names of their secrets. Defaults apply to inputs that are not given.
    pub fn named_secrets<'a>(
        &'a self,
        given: &'a Map<String, Value>,
    ) -> impl Iterator<Item = (&'a str, SecretName)> {
        self.inputs.iter().filter(|spec| spec.secret).filter_map(|spec| {
            let value = given.get(&spec.name).or(spec.default.as_ref())?;
            Some((spec.name.as_str(), secret_name(value)?))
        })
    }

    fn unknown_input(&self, name: &str) -> InputProblem {
        let names = || self.inputs.iter().map(|spec| spec.name.as_str());
        let help =
            did_you_mean(name, names()).unwrap_or_else(|| format!("the workflow takes {}", listed(names())));
        InputProblem::Unknown { name: name.chars().take(EXCERPT_CHARS).collect(), help }
    }
}

impl InputSpec {
    /// Parses a value from the command line, as in `-i name=value`, by the declared type: lists and maps as JSON, and without
    /// a type as [`parse_untyped`] does. Does not check the type, which [`Plan::accept_inputs`] does.
    ///
    /// # Errors
    ///
    /// If a 64-bit number cannot hold a number, and if a key occurs twice in one map. A number of the wrong type that is
    /// printed in another form than given is reported here, as it was given.
    pub fn parse_text(&self, text: &str) -> Result<Value, InputProblem> {
        let read = match self.kind {
            Some(InputType::String) => return Ok(Value::from(text)),
            None => parse_untyped(text),
            Some(_) => parse_json(text.trim()),
        };
        match read {
            Ok(value) => match (&value, self.type_mismatch(&value)) {
                // `1e3` is shown as it was given, and not as `1000.0`.
                (Value::Number(number), Some(mismatch)) if number.to_string() != text.trim() => {
                    Err(self.wrong_type(&mismatch, text))
                }
                _ => Ok(value),
            },
            Err(JsonInputError::LostDigits(digits)) => {
                Err(InputProblem::LostDigits { name: self.name.clone(), digits, help: self.as_text() })
            }
            Err(JsonInputError::OutOfRange(number)) => {
                Err(InputProblem::OutOfRange { name: self.name.clone(), number, help: self.as_text() })
            }
            Err(JsonInputError::RepeatedKey(error)) => {
                Err(InputProblem::RepeatedKey { name: self.name.clone(), why: error.to_string() })
            }
            Err(JsonInputError::Invalid(_)) => Ok(Value::from(text)),
        }
    }

    /// Returns the help for a number that only a text can hold.
    const fn as_text(&self) -> &'static str {
        match self.kind {
            Some(InputType::Number | InputType::Integer) => {
                "declare the input with `type: string` to pass it on exactly"
            }
            _ => "put it into double quotes to pass it on exactly",
        }
    }

    /// Returns the first part of a value that has the wrong type.
    pub(crate) fn type_mismatch<'v>(&self, value: &'v Value) -> Option<TypeMismatch<'v>> {
        type_mismatch(self.kind, self.items.as_ref(), value)
    }

    fn mismatch<'v>(&self, value: &'v Value) -> Option<InputMismatch<'v>> {
        if self.secret && secret_name(value).is_none() {
            return Some(InputMismatch::Secret);
        }
        self.type_mismatch(value).map(InputMismatch::Type)
    }

    /// Returns the problem of a value that does not fit the input.
    fn describe(&self, mismatch: &InputMismatch<'_>) -> InputProblem {
        match mismatch {
            InputMismatch::Secret => InputProblem::NotASecretName { name: self.name.clone() },
            InputMismatch::Type(mismatch) => self.wrong_type(mismatch, &mismatch.found.to_string()),
        }
    }

    fn wrong_type(&self, mismatch: &TypeMismatch<'_>, found: &str) -> InputProblem {
        let (wanted, help) = match mismatch.wanted {
            InputType::String => ("text", "put quotes round it"),
            InputType::Number => ("a number", "as in 2.5"),
            InputType::Integer => ("a whole number of at most 64 bits", "as in 42, without a point"),
            InputType::Boolean => ("true or false", "write `true` or `false`"),
            InputType::Array => ("a list", "as JSON: `[\"a\", \"b\"]`"),
            InputType::Object => ("a map", "as JSON: `{\"key\": \"value\"}`"),
        };
        let is_absent = mismatch.found.is_null() && !(self.required && mismatch.inwards.is_empty());
        let help = match number_with_leading_zeros(mismatch) {
            _ if is_absent => "leave it out".to_owned(),
            Some(number) => format!("write `{number}`: a number begins with no zero"),
            None => help.to_owned(),
        };
        let value = found.chars().take(EXCERPT_CHARS).collect();
        InputProblem::WrongType { name: format!("{}{}", self.name, mismatch.place()), wanted, value, help }
    }
}

/// Returns the number that is meant by a text such as `007` where a number is required.
fn number_with_leading_zeros(mismatch: &TypeMismatch<'_>) -> Option<String> {
    let text = mismatch.found.as_str().filter(|text| text.len() <= EXCERPT_CHARS)?.trim();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let significant = digits.trim_start_matches('0');
    let has_digit = significant.starts_with(|c: char| c.is_ascii_digit());
    let number = if has_digit { format!("{sign}{significant}") } else { format!("{sign}0{significant}") };
    let value = Value::Number(number.parse().ok()?);
    let is_number = matches!(mismatch.wanted, InputType::Integer | InputType::Number);
    (is_number && digits.starts_with('0') && mismatch.wanted.accepts(&value)).then_some(number)
}

/// Returns the name of the secret in the value of a secret input.
pub(crate) fn secret_name(value: &Value) -> Option<SecretName> {
    value.as_str().and_then(SecretName::from_reference)
}

/// The reason why a value is refused.
enum InputMismatch<'v> {
    /// The input is secret, and the value does not name a secret.
    Secret,
    /// The value, or an item of it, has the wrong type.
    Type(TypeMismatch<'v>),
}

/// A value, or an item of it, with the wrong type.
#[derive(Debug)]
pub(crate) struct TypeMismatch<'v> {
    /// Indices of the items that lead from the input to the value, the innermost first.
    inwards: Vec<usize>,
    /// Declared type.
    pub(crate) wanted: InputType,
    /// The value.
    found: &'v Value,
}

impl TypeMismatch<'_> {
    /// Returns the indices of the items that lead from the input to the value, the outermost first.
    pub(crate) fn path(&self) -> impl Iterator<Item = usize> {
        self.inwards.iter().rev().copied()
    }

    /// Returns the path as part of an expression, such as `[3][0]`.
    pub(crate) fn place(&self) -> String {
        self.path().map(|number| format!("[{number}]")).collect()
    }
}

fn type_mismatch<'v>(
    kind: Option<InputType>,
    items: Option<&ItemSpec>,
    value: &'v Value,
) -> Option<TypeMismatch<'v>> {
    if let Some(wanted) = kind.filter(|kind| !kind.accepts(value)) {
        return Some(TypeMismatch { inwards: Vec::new(), wanted, found: value });
    }
    let item = items?;
    value.as_array()?.iter().enumerate().find_map(|(number, value)| {
        let mut mismatch = type_mismatch(item.kind, item.items.as_deref(), value)?;
        mismatch.inwards.push(number);
        Some(mismatch)
    })
}
