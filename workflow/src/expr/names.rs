//! The functions and types that expressions can name.

use std::ops::Range;

use super::foreign;
use super::refused::Refused;
use crate::codes::Code;
use crate::suggest::{did_you_mean, listed};

/// How a function is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Style {
    /// `size(x)`
    Function,
    /// `x.size()`
    Method,
}

/// Functions by name, with the fewest and most arguments.
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

/// Methods by name, with the fewest and most arguments. Those with a variable are loops, and come here only when the
/// parser did not take them for one.
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

/// What `optional.` has.
pub(super) const OPTIONAL: [&str; 3] = ["none", "of", "ofNonZeroValue"];

/// What can be called in both styles.
pub(super) const IS_BOTH: [&str; 6] = ["contains", "startsWith", "endsWith", "matches", "join", "size"];

/// What this crate implements.
pub(super) const IS_OURS: [&str; 6] = ["contains", "matches", "join", "format", "toJSON", "fromJSON"];

/// Standard CEL that needs a calendar.
const NOT_BUILT: [&str; 2] = ["timestamp", "duration"];

/// Functions of the extension libraries of CEL, which people know and this version does not have.
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

/// Whether a name is that of a type, as in `type(x) == int`.
pub(super) fn is_type(name: &str) -> bool {
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"].contains(&name)
}

/// Whether there is such a function that takes so many arguments. `paren` is where its bracket opens.
pub(super) fn check(
    style: Style,
    name: &str,
    given: usize,
    paren: Range<usize>,
    text: &str,
) -> Result<(), Refused> {
    let known = if style == Style::Function { FUNCTIONS } else { METHODS };
    let before = text.get(..paren.start).and_then(|before| before.rfind(name));
    let at = before.map_or(paren, |start| start..start + name.len());
    if NOT_BUILT.contains(&name) {
        let message = format!("`{name}()` is part of the language and not built yet");
        return Err(Refused::new(Code::FunctionNotBuilt, at, message)
            .help("compare times as texts in ISO 8601, or let a tool do it"));
    }
    let Some((_, fewest, most)) = known.iter().find(|(known, ..)| *known == name) else {
        return Err(unknown(style, name, at));
    };
    if (*fewest..=*most).contains(&given) {
        return Ok(());
    }
    let wanted = match (fewest, most) {
        (2, 2..=3) if style == Style::Method => {
            "a variable and an expression: `list.map(x, x.name)`".to_owned()
        }
        (fewest, most) if fewest == most => {
            format!("{fewest} argument{}", if *fewest == 1 { "" } else { "s" })
        }
        (fewest, most) => format!("{fewest} to {most} arguments"),
    };
    Err(Refused::new(Code::UnknownFunction, at, format!("`{name}()` takes {wanted}")))
}

fn unknown(style: Style, name: &str, at: Range<usize>) -> Refused {
    let (own, other) = if style == Style::Function { (FUNCTIONS, METHODS) } else { (METHODS, FUNCTIONS) };
    let refused = Refused::new(Code::UnknownFunction, at, format!("there is no function `{name}()`"));
    if other.iter().any(|(known, ..)| *known == name) {
        let call = if style == Style::Function { format!("x.{name}(...)") } else { format!("{name}(x)") };
        return refused.help(format!("it is called as `{call}`"));
    }
    if let Some(help) = foreign::function(name) {
        return refused.help(help);
    }
    let names = || own.iter().map(|(known, ..)| *known);
    if EXTENSIONS.contains(&name) {
        return refused.help(format!("there are {}; a tool can do what they cannot", listed(names())));
    }
    refused.help(did_you_mean(name, names()).unwrap_or_else(|| format!("there are {}", listed(names()))))
}
