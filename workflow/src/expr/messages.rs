//! Messages for the errors of the evaluator.
//!
//! They are derived from the error alone, without the tree: the position of an error within a loop is unknown.

use cel::ExecutionError;
use cel::common::value::Val;
use longshore_proto::{truncate, value_type};
use serde_json::Value;

use super::convert::to_json;
use super::error::excerpt;
use super::foreign;
use crate::suggest::{did_you_mean, listed_up_to};

/// Number of characters of the evaluator's own messages that are shown, since they may contain foreign text.
const WORDS_CHARS: usize = 200;

/// Number of keys of a map that are shown.
const SHOWN_KEYS: usize = 10;

/// The message of a failed evaluation.
pub(super) struct ErrorText {
    pub(super) message: String,
    /// Beginning of the value that caused the failure.
    pub(super) value: Option<String>,
}

impl ErrorText {
    pub(super) fn plain(message: impl Into<String>) -> Self {
        Self { message: message.into(), value: None }
    }
}

/// An operand of an operator that failed.
pub(super) struct FailedOperand {
    pub(super) type_name: String,
    /// Text of the operand, if it is a path.
    pub(super) name: Option<String>,
    pub(super) is_literal: bool,
    pub(super) excerpt: String,
}

/// Explains an operator that does not accept its operands.
pub(super) fn no_overload(symbol: &str, left: &FailedOperand, right: &FailedOperand) -> ErrorText {
    let mut message = format!("no such overload: {} {symbol} {}", left.type_name, right.type_name);
    let named: Vec<_> = [left, right]
        .into_iter()
        .filter_map(|operand| Some(format!("{} is {}", operand.name.as_ref()?, operand.excerpt)))
        .collect();
    if named.is_empty() {
        message.push_str(&format!(" ({} {symbol} {})", left.excerpt, right.excerpt));
    } else {
        message.push_str(&format!(" ({})", named.join(", ")));
    }
    if let Some(help) = type_help(symbol, left, right) {
        message.push_str(&format!("; {help}"));
    }
    let shown = if left.name.is_some() { left } else { right };
    ErrorText { message, value: Some(shown.excerpt.clone()) }
}

/// Returns the help for two types that an operator does not combine.
fn type_help(symbol: &str, left: &FailedOperand, right: &FailedOperand) -> Option<String> {
    let name = |operand: &FailedOperand| operand.name.clone().unwrap_or_else(|| "n".to_owned());
    let (one, other) = (name(left), name(right));
    let as_double = |operand: &FailedOperand| match &operand.name {
        Some(name) => format!("write `double({name})`"),
        None if operand.is_literal => format!("write `{}.0`", operand.excerpt),
        None => format!("write `double(...)` around what gives {}", operand.excerpt),
    };
    Some(match (left.type_name.as_str(), symbol, right.type_name.as_str()) {
        ("int" | "uint" | "double", "%", "int" | "uint" | "double") => {
            "`%` takes whole numbers: write `int(x)`".to_owned()
        }
        (_, "&&" | "||", _) => {
            "both sides are true or false; `condition ? a : b` chooses between two values".to_owned()
        }
        ("int" | "uint", _, "double") => as_double(left),
        ("double", _, "int" | "uint") => as_double(right),
        ("uint", _, "int") => format!("write `int({one})`, or a literal such as `1u`"),
        ("int", _, "uint") => format!("write `int({other})`"),
        ("null_type", ..) | (.., "null_type") => {
            "check for `null` before, as in `x == null ? 0 : x`".to_owned()
        }
        ("string", "+", "int" | "uint" | "double" | "bool") => format!("write `string({other})`"),
        ("int" | "uint" | "double" | "bool", "+", "string") => format!("write `string({one})`"),
        ("string", "+", "list" | "map") => format!("write `toJSON({other})`"),
        ("string", _, "int" | "uint" | "double") => format!("write `double({one})` if the text is a number"),
        ("int" | "uint" | "double", _, "string") => {
            format!("write `double({other})` if the text is a number")
        }
        _ => return None,
    })
}

/// Explains a missing field of a value.
pub(super) fn no_field(name: &str, value: &Value, field: &str, instead: &str) -> ErrorText {
    let excerpt = excerpt(value);
    let message = match value {
        Value::Object(entries) => {
            let keys = entries.keys().map(String::as_str);
            let is_dashed = |key: &&str| key.contains('-') && key.starts_with(field);
            let hint = keys.clone().find(is_dashed).map(|key| format!("write `{name}['{key}']`"));
            let hint = hint
                .or_else(|| did_you_mean(field, keys.clone()))
                .unwrap_or_else(|| format!("it has {}; {instead}", listed_up_to(SHOWN_KEYS, keys)));
            format!("`{name}` has no `{field}`; {hint}")
        }
        Value::Array(_) | Value::String(_) if foreign::field(field, name).is_some() => {
            format!("`{name}` has no `{field}`; {}", foreign::field(field, name).unwrap_or_default())
        }
        Value::Array(_) => {
            format!("`{name}` is a list and has no `{field}`; take one item: `{name}[0].{field}`")
        }
        other => format!("`{name}` is {} ({excerpt}) and has no `{field}`; {instead}", value_type(other)),
    };
    ErrorText { message, value: Some(excerpt) }
}

/// Returns the symbol of an operator from the name of its function.
pub(super) fn symbol(function: &str) -> Option<&str> {
    let inner = function.strip_prefix('_')?.strip_suffix('_')?;
    (!inner.is_empty() && inner.len() <= 2).then_some(inner)
}

/// Formats a value of the evaluator for a message.
pub(super) fn excerpt_of(value: &dyn Val) -> String {
    to_json(value).map_or_else(|_| format!("a {}", value.get_type().name()), |json| excerpt(&json))
}

pub(super) fn operand(value: &cel::Value) -> Option<FailedOperand> {
    let value: Box<dyn Val> = value.clone().try_into().ok()?;
    let type_name = value.get_type().name().to_owned();
    Some(FailedOperand { type_name, name: None, is_literal: false, excerpt: excerpt_of(value.as_ref()) })
}

/// Converts an error of the evaluator to a message.
///
/// Texts of the evaluator that contain a value are not shown: it prints maps in random order and without a limit of size.
pub(super) fn describe(cause: &ExecutionError) -> ErrorText {
    let of =
        |value: &cel::Value| operand(value).map_or_else(|| "a value".to_owned(), |operand| operand.excerpt);
    let message = match cause {
        ExecutionError::UnsupportedBinaryOperator(name, left, right) => return arithmetic(name, left, right),
        ExecutionError::NoSuchKey(key)
            if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            let key = truncate(key, WORDS_CHARS);
            format!("there is no `{key}`; keys of maps are text: `['{key}']`")
        }
        ExecutionError::NoSuchKey(key) => {
            format!(
                "there is no `{}`; write `default(path, value)` if it may be missing",
                truncate(key, WORDS_CHARS)
            )
        }
        ExecutionError::IndexOutOfBounds(index) => {
            let index = of(index);
            let help = if index.starts_with('-') {
                "items are counted from 0, and the last one is `list[size(list) - 1]`".to_owned()
            } else {
                format!("write `default(list[{index}], value)` if it may be missing")
            };
            format!("the list has no item {index}; {help}")
        }
        ExecutionError::UnsupportedIndex(index, whole) => {
            format!("{} cannot be indexed with {}", of(whole), of(index))
        }
        ExecutionError::DivisionByZero(value) => format!("{} is divided by zero", of(value)),
        ExecutionError::RemainderByZero(value) => format!("the remainder of {} by zero", of(value)),
        ExecutionError::Overflow(_, left, right) => {
            format!("the result with {} and {} does not fit 64 bits", of(left), of(right))
        }
        ExecutionError::ValuesNotComparable(left, right) => {
            format!("{} and {} cannot be compared", of(left), of(right))
        }
        ExecutionError::FunctionError { function, message } => describe_function(function, message),
        ExecutionError::UnexpectedType { got, want } => wanted(want, got),
        ExecutionError::NoSuchOverload(overload) => {
            describe_overload(overload.function(), overload.argument_types())
        }
        ExecutionError::DuplicateKey(key) => format!("the key {} occurs twice in a map", of(key)),
        ExecutionError::UnsupportedKeyType(key) => format!("{} cannot be the key of a map", of(key)),
        _ => "the values here do not go together".to_owned(),
    };
    ErrorText::plain(message)
}

fn wanted(want: &str, got: &str) -> String {
    let want = if want == "iterable" { "a list or a map" } else { want };
    // `got` is the name of a type, or in some errors a whole value.
    if is_word(got) {
        format!("{want} is wanted here, and this is {got}")
    } else {
        format!("{want} is wanted here")
    }
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Returns the symbol of an operator from its name in an error of the evaluator.
pub(super) fn arithmetic_symbol(name: &str) -> &'static str {
    match name {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "div" => "/",
        _ => "%",
    }
}

fn arithmetic(name: &str, left: &cel::Value, right: &cel::Value) -> ErrorText {
    let symbol = arithmetic_symbol(name);
    match (operand(left), operand(right)) {
        (Some(left), Some(right)) => no_overload(symbol, &left, &right),
        _ => ErrorText::plain(format!("these values have no `{symbol}`")),
    }
}

/// Converts the error of a function. Only the last line is used, since the lines before it are terminal graphics.
fn describe_function(function: &str, message: &str) -> String {
    let message = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
    let message = truncate(message, WORDS_CHARS).into_owned();
    let is_of_text = message.starts_with("string parse error") || message.contains("from 'string'");
    match function.trim_start_matches('@') {
        "bool" if is_of_text => "`bool()`: the text is neither `true` nor `false`".to_owned(),
        name @ ("int" | "uint") if is_of_text => format!("`{name}()`: the text is no whole number"),
        "double" if is_of_text => "`double()`: the text is no number".to_owned(),
        name if is_word(name) => format!("`{name}()`: {message}"),
        _ => message,
    }
}

fn describe_overload(function: &str, types: &[String]) -> String {
    match (function, types) {
        ("!_", [given]) => {
            format!(
                "`!` wants true or false, and this is {given}; compare it, as in `size(x) == 0` or `x == null`"
            )
        }
        ("_[_]" | "_[?_]", [whole, index]) => format!("{whole} cannot be indexed with {index}"),
        ("_._", [whole, _]) => format!("{whole} has no fields"),
        ("@in", [_, whole]) => format!("`in` wants a list or a map on its right, and this is {whole}"),
        _ => match (symbol(function), types) {
            (Some(symbol), [left, right]) => format!("no such overload: {left} {symbol} {right}"),
            _ => format!("`{}()` does not take ({})", function.trim_start_matches('@'), types.join(", ")),
        },
    }
}
