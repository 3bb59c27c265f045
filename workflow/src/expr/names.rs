//! The names of functions and types in expressions.

use std::ops::Range;

use super::foreign;
use super::problem::ExprProblem;
use crate::codes::Code;
use crate::suggest::{did_you_mean, listed};

/// The syntax of a function call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CallStyle {
    /// A function: `size(x)`.
    Function,
    /// A method: `x.size()`.
    Method,
}

/// Functions by name, with the smallest and the largest number of arguments.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("always", 0, 0),
    ("bool", 1, 1),
    ("bytes", 1, 1),
    ("cancelled", 0, 0),
    ("contains", 2, 2),
    ("default", 2, 2),
    ("double", 1, 1),
    ("dyn", 1, 1),
    ("endsWith", 2, 2),
    ("failure", 0, 0),
    ("format", 1, 32),
    ("fromJSON", 1, 1),
    ("has", 1, 1),
    ("int", 1, 1),
    ("join", 1, 2),
    ("matches", 2, 2),
    ("size", 1, 1),
    ("startsWith", 2, 2),
    ("string", 1, 1),
    ("success", 0, 0),
    ("toJSON", 1, 1),
    ("type", 1, 1),
    ("uint", 1, 1),
];

/// Methods by name, with the smallest and the largest number of arguments. Methods with a variable are loops, and are looked
/// up here only if the parser did not recognise them as loops.
const METHODS: &[(&str, usize, usize)] = &[
    ("all", 2, 2),
    ("contains", 1, 1),
    ("endsWith", 1, 1),
    ("exists", 2, 2),
    ("exists_one", 2, 2),
    ("filter", 2, 2),
    ("hasValue", 0, 0),
    ("join", 0, 1),
    ("map", 2, 3),
    ("matches", 1, 1),
    ("or", 1, 1),
    ("orValue", 1, 1),
    ("size", 0, 0),
    ("startsWith", 1, 1),
    ("value", 0, 0),
];

/// The functions of the namespace `optional`.
pub(super) const OPTIONAL_FUNCTIONS: [&str; 3] = ["none", "of", "ofNonZeroValue"];

/// Names that are functions and methods.
pub(super) const FUNCTIONS_AND_METHODS: [&str; 6] =
    ["contains", "startsWith", "endsWith", "matches", "join", "size"];

/// Functions that this crate implements.
pub(super) const OWN_FUNCTIONS: [&str; 6] = ["contains", "matches", "join", "format", "toJSON", "fromJSON"];

/// Functions of standard CEL that need a calendar, and are not built yet.
const NOT_BUILT: [&str; 2] = ["timestamp", "duration"];

/// Functions of the extension libraries of CEL, which this version does not support.
const EXTENSIONS: [&str; 24] = [
    "split",
    "replace",
    "trim",
    "lowerAscii",
    "upperAscii",
    "substring",
    "indexOf",
    "lastIndexOf",
    "charAt",
    "reverse",
    "quote",
    "sort",
    "sortBy",
    "slice",
    "flatten",
    "distinct",
    "range",
    "lists",
    "math",
    "base64",
    "now",
    "sum",
    "first",
    "last",
];

/// Returns true for the name of a type, as in `type(x) == int`.
pub(super) fn is_type(name: &str) -> bool {
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"].contains(&name)
}

/// Checks that a function exists and accepts the number of arguments. `paren` is the range of the opening parenthesis.
pub(super) fn check(
    style: CallStyle,
    name: &str,
    given: usize,
    paren: Range<usize>,
    text: &str,
) -> Result<(), ExprProblem> {
    let known = if style == CallStyle::Function { FUNCTIONS } else { METHODS };
    let before = text.get(..paren.start).and_then(|before| before.rfind(name));
    let at = before.map_or(paren, |start| start..start + name.len());
    if NOT_BUILT.contains(&name) {
        let message = format!("`{name}()` is part of the language and not built yet");
        return Err(ExprProblem::new(Code::FunctionNotBuilt, at, message)
            .help("compare times as texts in ISO 8601, or let a tool do it"));
    }
    let Some((_, fewest, most)) = known.iter().find(|(known, ..)| *known == name) else {
        return Err(unknown(style, name, at));
    };
    if (*fewest..=*most).contains(&given) {
        return Ok(());
    }
    let wanted = match (fewest, most) {
        (2, 2..=3) if style == CallStyle::Method => "a variable and an expression".to_owned(),
        (fewest, most) if fewest == most => {
            format!("{fewest} argument{}", if *fewest == 1 { "" } else { "s" })
        }
        (fewest, most) => format!("{fewest} to {most} arguments"),
    };
    let problem = ExprProblem::new(Code::UnknownFunction, at, format!("`{name}()` takes {wanted}"));
    Err(problem.help(format!("as in `{}`", example(style, name, *fewest))))
}

/// Returns a call of a function or method, for help texts. `fewest` is the smallest number of its arguments.
fn example(style: CallStyle, name: &str, fewest: usize) -> String {
    let target = if style == CallStyle::Method { "x." } else { "" };
    let arguments = match (style, name) {
        (_, "default") => "inputs.x, 0",
        (_, "format") => "'{0} of {1}', 1, 2",
        (_, "has") => "inputs.x",
        (CallStyle::Function, "join") => "list, ', '",
        (CallStyle::Function, "matches") => "text, '[0-9]+'",
        (CallStyle::Method, "join") => "', '",
        (CallStyle::Method, "matches") => "'[0-9]+'",
        (CallStyle::Method, "map") => "item, item.name",
        (CallStyle::Method, "filter" | "all" | "exists" | "exists_one") => "item, item > 0",
        _ => match (style, fewest) {
            (_, 0) => "",
            (CallStyle::Function, 1) => "x",
            (CallStyle::Method, 1) => "'a'",
            _ => "x, 'a'",
        },
    };
    format!("{target}{name}({arguments})")
}

fn unknown(style: CallStyle, name: &str, at: Range<usize>) -> ExprProblem {
    let (own, other) = if style == CallStyle::Function { (FUNCTIONS, METHODS) } else { (METHODS, FUNCTIONS) };
    let problem = ExprProblem::new(Code::UnknownFunction, at, format!("there is no function `{name}()`"));
    if other.iter().any(|(known, ..)| *known == name) {
        let call = if style == CallStyle::Function { format!("x.{name}(...)") } else { format!("{name}(x)") };
        return problem.help(format!("it is called as `{call}`"));
    }
    if let Some(help) = foreign::function(name) {
        return problem.help(help);
    }
    let names = || own.iter().map(|(known, ..)| *known);
    if EXTENSIONS.contains(&name) {
        return problem.help(format!("there are {}; a tool can do what they cannot", listed(names())));
    }
    problem.help(did_you_mean(name, names()).unwrap_or_else(|| format!("there are {}", listed(names()))))
}
