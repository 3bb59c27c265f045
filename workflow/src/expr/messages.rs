//! What the evaluator says, made plainer.
//!
//! Without a look at the tree: what can be said from the evaluator's error alone, which is all there is when it comes
//! from inside a loop.

use cel::ExecutionError;
use cel::common::value::Val;
use serde_json::Value;

use super::convert::to_json;
use super::error::{cut, excerpt, kind};
use super::foreign;
use crate::suggest::{did_you_mean, listed};

/// How much of the evaluator's own words is passed on: they may repeat a text that came from anywhere.
const WORDS_CHARS: usize = 200;

/// What is said about a failure.
pub(super) struct Said {
    pub(super) message: String,
    /// An excerpt of the value it is about.
    pub(super) value: Option<String>,
}

impl Said {
    pub(super) fn plain(message: impl Into<String>) -> Self {
        Self { message: message.into(), value: None }
    }
}

/// An operand of an operator.
pub(super) struct Operand {
    pub(super) type_name: String,
    /// How it was written, if it is a path.
    pub(super) name: Option<String>,
    pub(super) excerpt: String,
}

/// Two values that an operator does not take.
pub(super) fn no_overload(symbol: &str, left: &Operand, right: &Operand) -> Said {
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
    if let Some(help) = mend(symbol, left, right) {
        message.push_str(&format!("; {help}"));
    }
    let shown = if left.name.is_some() { left } else { right };
    Said { message, value: Some(shown.excerpt.clone()) }
}

/// What can be done about two types that do not go together.
fn mend(symbol: &str, left: &Operand, right: &Operand) -> Option<String> {
    let name = |operand: &Operand| operand.name.clone().unwrap_or_else(|| "n".to_owned());
    let (one, other) = (name(left), name(right));
    // Without a name it is a literal, or was computed.
    let as_double = |operand: &Operand| match &operand.name {
        Some(name) => format!("write `double({name})`"),
        None => format!(
            "write `{0}.0` for the literal `{0}`, or `double(...)` around what gives it",
            operand.excerpt
        ),
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

/// A value without such a field.
pub(super) fn no_field(name: &str, value: &Value, field: &str, instead: &str) -> Said {
    let excerpt = excerpt(value);
    let message = match value {
        Value::Object(entries) => {
            let keys = entries.keys().map(String::as_str);
            let is_dashed = |key: &&str| key.contains('-') && key.starts_with(field);
            let hint = keys.clone().find(is_dashed).map(|key| format!("write `{name}['{key}']`"));
            let hint = hint
                .or_else(|| did_you_mean(field, keys.clone()))
                .unwrap_or_else(|| format!("it has {}; {instead}", listed(keys.take(10))));
            format!("`{name}` has no `{field}`; {hint}")
        }
        Value::Array(_) | Value::String(_) if foreign::field(field, name).is_some() => {
            format!("`{name}` has no `{field}`; {}", foreign::field(field, name).unwrap_or_default())
        }
        Value::Array(_) => {
            format!("`{name}` is a list and has no `{field}`; take one item: `{name}[0].{field}`")
        }
        other => format!("`{name}` is {} ({excerpt}) and has no `{field}`; {instead}", kind(other)),
    };
    Said { message, value: Some(excerpt) }
}

/// The operator as it is written.
pub(super) fn symbol(function: &str) -> Option<&str> {
    let inner = function.strip_prefix('_')?.strip_suffix('_')?;
    (!inner.is_empty() && inner.len() <= 2).then_some(inner)
}

/// A value of the evaluator as people can read it.
pub(super) fn excerpt_of(value: &dyn Val) -> String {
    to_json(value).map_or_else(|_| format!("a {}", value.get_type().name()), |json| excerpt(&json))
}

fn operand(value: &cel::Value) -> Option<Operand> {
    let value: Box<dyn Val> = value.clone().try_into().ok()?;
    let type_name = value.get_type().name().to_owned();
    Some(Operand { type_name, name: None, excerpt: excerpt_of(value.as_ref()) })
}

/// The evaluator's own words, made plainer.
///
/// Its texts are never passed on where they hold a value: it prints maps in an order that changes from run to run, and
/// however large they are.
pub(super) fn in_words(cause: &ExecutionError) -> Said {
    let of =
        |value: &cel::Value| operand(value).map_or_else(|| "a value".to_owned(), |operand| operand.excerpt);
    let message = match cause {
        ExecutionError::UnsupportedBinaryOperator(name, left, right) => return arithmetic(name, left, right),
        ExecutionError::NoSuchKey(key)
            if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            let key = cut(key, WORDS_CHARS);
            format!("there is no `{key}`; keys of maps are text: `['{key}']`")
        }
        ExecutionError::NoSuchKey(key) => {
            format!(
                "there is no `{}`; write `default(path, value)` if it may be missing",
                cut(key, WORDS_CHARS)
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
        ExecutionError::FunctionError { function, message } => function_in_words(function, message),
        ExecutionError::UnexpectedType { got, want } => wanted(want, got),
        ExecutionError::NoSuchOverload(overload) => {
            overload_in_words(overload.function(), overload.argument_types())
        }
        ExecutionError::DuplicateKey(key) => format!("the key {} stands twice in a map", of(key)),
        ExecutionError::UnsupportedKeyType(key) => format!("{} cannot be the key of a map", of(key)),
        _ => "the values here do not go together".to_owned(),
    };
    Said::plain(message)
}

fn wanted(want: &str, got: &str) -> String {
    let want = if want == "iterable" { "a list or a map" } else { want };
    // Mostly the name of a type, and sometimes a whole value.
    if is_word(got) {
        format!("{want} is wanted here, and this is {got}")
    } else {
        format!("{want} is wanted here")
    }
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn arithmetic(name: &str, left: &cel::Value, right: &cel::Value) -> Said {
    let symbol = match name {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "div" => "/",
        _ => "%",
    };
    match (operand(left), operand(right)) {
        (Some(left), Some(right)) => no_overload(symbol, &left, &right),
        _ => Said::plain(format!("these values have no `{symbol}`")),
    }
}

/// The last line of what a function says: before it stand drawings for a terminal.
fn function_in_words(function: &str, message: &str) -> String {
    let message = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
    let message = cut(message, WORDS_CHARS);
    let is_of_text = message.starts_with("string parse error") || message.contains("from 'string'");
    match function.trim_start_matches('@') {
        "bool" if is_of_text => "`bool()`: the text is neither `true` nor `false`".to_owned(),
        name @ ("int" | "uint") if is_of_text => format!("`{name}()`: the text is no whole number"),
        "double" if is_of_text => "`double()`: the text is no number".to_owned(),
        name if is_word(name) => format!("`{name}()`: {message}"),
        _ => message,
    }
}

fn overload_in_words(function: &str, types: &[String]) -> String {
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
