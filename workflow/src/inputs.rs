//! What a run is given: checked against what the workflow declares, with defaults filled in.

use std::fmt;

use longshore_proto::SecretName;
use serde_json::{Map, Value};

use crate::given::{JsonInputError, parse_json, parse_untyped};
use crate::plan::{InputSpec, InputType, ItemSpec, Plan};
use crate::suggest::{did_you_mean, listed};

/// How much of a value that does not fit is shown.
const EXCERPT_CHARS: usize = 60;

/// Problems that are described; the others are counted. A request may give tens of thousands of unknown names, and describing
/// one compares it with the declared names.
const MOST_PROBLEMS: usize = 20;

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
        /// The input, or an item of it: `regions[3]`.
        name: String,
        /// The type it wants.
        wanted: &'static str,
        /// An excerpt of what was given.
        value: String,
        /// How to write it.
        help: String,
    },
    /// A number has more digits than a number holds, so that another one would be passed on.
    #[error("input `{name}` is given the number {digits}, whose last digits would be lost; {help}")]
    LostDigits {
        /// The input.
        name: String,
        /// The number as it was given.
        digits: String,
        /// How to write it.
        help: &'static str,
    },
    /// A key occurs twice in one map of the value.
    #[error("input `{name}` is given JSON with a problem: {why}; remove one of the two")]
    RepeatedKey {
        /// The input.
        name: String,
        /// The key, and its place in the value.
        why: String,
    },
    /// A secret input was given something else than the name of a secret. What it was is not repeated: most likely it
    /// is the secret itself.
    #[error(
        "input `{name}` is secret: give the name of a secret of the workers, as in `secret:{}`, never the value itself",
        name.to_ascii_uppercase()
    )]
    NotASecretName {
        /// The input.
        name: String,
    },
}

/// Problems with the inputs of a run; at least one. The first 20 are described, the others counted.
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

    /// Number of problems beyond those that [`InputProblems::iter`] gives.
    pub const fn omitted(&self) -> usize {
        self.more
    }

    /// Describes a problem, or counts it where enough are described.
    fn add(&mut self, describe: impl FnOnce() -> InputProblem) {
        if self.described.len() < MOST_PROBLEMS {
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
    /// The inputs of a run as an object, with defaults filled in.
    ///
    /// # Errors
    ///
    /// The problems: inputs that are missing, unknown, or of another type. Of a list, the first item that does not fit
    /// speaks for the rest. The work grows with the inputs alone, not with the number of problems.
    pub fn accept_inputs(&self, mut given: Map<String, Value>) -> Result<Value, InputProblems> {
        let mut problems = InputProblems::default();
        let mut accepted = Map::new();
        for spec in &self.inputs {
            match given.remove(&spec.name) {
                Some(value) => match spec.unfit(&value) {
                    None => drop(accepted.insert(spec.name.clone(), value)),
                    Some(unfit) => problems.add(|| spec.describe(&unfit)),
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

    /// The secrets that the inputs of a run name, each with its input. Defaults count where nothing is given.
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
    /// A value given as text, as in `-i name=value`, read by the declared type: lists and maps as JSON, and without
    /// a type as [`parse_untyped`] does. Whether it fits is for [`Plan::accept_inputs`] to say.
    ///
    /// # Errors
    ///
    /// When a whole number has more digits than 64 bits hold, and when a key occurs twice in one map.
    pub fn parse_text(&self, text: &str) -> Result<Value, InputProblem> {
        let read = match self.kind {
            Some(InputType::String) => return Ok(Value::from(text)),
            None => parse_untyped(text),
            Some(_) => parse_json(text.trim()),
        };
        match read {
            Ok(value) => Ok(value),
            Err(JsonInputError::LostDigits(digits)) => Err(self.lost_digits(digits)),
            Err(JsonInputError::RepeatedKey(error)) => {
                Err(InputProblem::RepeatedKey { name: self.name.clone(), why: error.to_string() })
            }
            Err(JsonInputError::Invalid(_)) => Ok(Value::from(text)),
        }
    }

    fn lost_digits(&self, digits: String) -> InputProblem {
        let help = match self.kind {
            Some(InputType::Number | InputType::Integer) => {
                "declare the input with `type: string` to pass it on exactly"
            }
            _ => "put it into double quotes to pass it on exactly",
        };
        InputProblem::LostDigits { name: self.name.clone(), digits, help }
    }

    /// The first part of a value that does not fit.
    pub(crate) fn misfit<'v>(&self, value: &'v Value) -> Option<Misfit<'v>> {
        misfit(self.kind, self.items.as_ref(), value)
    }

    fn unfit<'v>(&self, value: &'v Value) -> Option<Unfit<'v>> {
        if self.secret && secret_name(value).is_none() {
            return Some(Unfit::Secret);
        }
        self.misfit(value).map(Unfit::Type)
    }

    fn describe(&self, unfit: &Unfit<'_>) -> InputProblem {
        match unfit {
            Unfit::Secret => InputProblem::NotASecretName { name: self.name.clone() },
            Unfit::Type(misfit) => self.wrong_type(misfit),
        }
    }

    fn wrong_type(&self, misfit: &Misfit<'_>) -> InputProblem {
        let (wanted, help) = match misfit.wanted {
            InputType::String => ("text", "put quotes round it"),
            InputType::Number => ("a number", "as in 2.5"),
            InputType::Integer => ("a whole number of at most 64 bits", "as in 42, without a point"),
            InputType::Boolean => ("true or false", "write `true` or `false`"),
            InputType::Array => ("a list", "as JSON: `[\"a\", \"b\"]`"),
            InputType::Object => ("a map", "as JSON: `{\"key\": \"value\"}`"),
        };
        let is_absent = misfit.found.is_null() && !(self.required && misfit.inwards.is_empty());
        let help = match number_behind_zeros(misfit) {
            _ if is_absent => "leave it out".to_owned(),
            Some(number) => format!("write `{number}`: a number begins with no zero"),
            None => help.to_owned(),
        };
        let value = misfit.found.to_string().chars().take(EXCERPT_CHARS).collect();
        InputProblem::WrongType { name: format!("{}{}", self.name, misfit.place()), wanted, value, help }
    }
}

/// The number that a text such as `007` means where a number is wanted.
fn number_behind_zeros(misfit: &Misfit<'_>) -> Option<String> {
    let text = misfit.found.as_str().filter(|text| text.len() <= EXCERPT_CHARS)?.trim();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let behind = digits.trim_start_matches('0');
    let begins = behind.starts_with(|c: char| c.is_ascii_digit());
    let number = if begins { format!("{sign}{behind}") } else { format!("{sign}0{behind}") };
    let value = Value::Number(number.parse().ok()?);
    let is_number = matches!(misfit.wanted, InputType::Integer | InputType::Number);
    (is_number && digits.starts_with('0') && misfit.wanted.accepts(&value)).then_some(number)
}

/// The secret that the value of a secret input names.
pub(crate) fn secret_name(value: &Value) -> Option<SecretName> {
    value.as_str().and_then(SecretName::from_reference)
}

/// Why a value is not accepted.
enum Unfit<'v> {
    /// It is no name of a secret, and the input is secret.
    Secret,
    /// It is of another type.
    Type(Misfit<'v>),
}

/// A value that is not of the type it should have.
#[derive(Debug)]
pub(crate) struct Misfit<'v> {
    /// The way to it from the input: the numbers of the items, counted from 0, the innermost first.
    inwards: Vec<usize>,
    /// The type it should have.
    pub(crate) wanted: InputType,
    /// What it is.
    found: &'v Value,
}

impl Misfit<'_> {
    /// The numbers of the items on the way to it, the outermost first; none for the input itself.
    pub(crate) fn path(&self) -> impl Iterator<Item = usize> {
        self.inwards.iter().rev().copied()
    }

    /// The same as an expression would say it: `[3][0]`.
    pub(crate) fn place(&self) -> String {
        self.path().map(|number| format!("[{number}]")).collect()
    }
}

fn misfit<'v>(kind: Option<InputType>, items: Option<&ItemSpec>, value: &'v Value) -> Option<Misfit<'v>> {
    if let Some(wanted) = kind.filter(|kind| !kind.accepts(value)) {
        return Some(Misfit { inwards: Vec::new(), wanted, found: value });
    }
    let item = items?;
    value.as_array()?.iter().enumerate().find_map(|(number, value)| {
        let mut misfit = misfit(item.kind, item.items.as_deref(), value)?;
        misfit.inwards.push(number);
        Some(misfit)
    })
}
