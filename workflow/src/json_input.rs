//! Strict parsing of JSON that users write: ambiguous keys and numbers that would change are refused.

use std::collections::BTreeSet;
use std::fmt;

use longshore_proto::{StrictValue, find_infinite_number, find_lossy_number, is_canonical, json_numbers};
use serde_json::{Number, Value};

/// Number of digits of a number that an error shows.
const SHOWN_DIGITS: usize = 60;

/// The error of a text that is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum JsonInputError {
    /// The text is not JSON. The error contains the position.
    #[error("is not valid JSON: {0}")]
    Invalid(serde_json::Error),
    /// A key occurs twice in one object. The error contains the position of the second one.
    #[error("has a problem: {0}")]
    RepeatedKey(serde_json::Error),
    /// A 64-bit number cannot hold a number of the text. Holds the first such number.
    #[error("has the number {0}, whose last digits would be lost")]
    LostDigits(String),
    /// A number is larger than any 64-bit number. Holds the first such number.
    #[error("has the number {0}, which is out of the range of 64-bit numbers")]
    OutOfRange(String),
}

impl JsonInputError {
    /// Returns true if the text has a number in a form that JSON does not allow, such as `007`.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Invalid(error) if error.to_string().starts_with("invalid number"))
    }
}

/// Parses a JSON text.
///
/// # Errors
/// If the text is not JSON, has a key twice in one object, or has a number that 64 bits cannot hold.
pub fn parse_json(text: &str) -> Result<Value, JsonInputError> {
    let shown = |number: &str| number.chars().take(SHOWN_DIGITS).collect();
    let StrictValue(value) =
        serde_json::from_str(text).map_err(|error| match find_infinite_number(text) {
            _ if error.is_data() => JsonInputError::RepeatedKey(error),
            Some(number) if is_out_of_range(&error) => JsonInputError::OutOfRange(shown(number)),
            _ => JsonInputError::Invalid(error),
        })?;
    match find_lossy_number(text) {
        Some(digits) => Err(JsonInputError::LostDigits(shown(digits))),
        None => Ok(value),
    }
}

fn is_out_of_range(error: &serde_json::Error) -> bool {
    error.to_string().starts_with("number out of range")
}

/// Parses a value without a declared type: JSON if the text is JSON, else the text itself. A number whose JSON form differs
/// from the text, such as `1.10` or `296e115`, is a text as well, and so is one that is out of range.
///
/// # Errors
/// If the text is JSON and has a key twice in one object, or a number that 64 bits cannot hold.
pub fn parse_untyped(text: &str) -> Result<Value, JsonInputError> {
    let written = text.trim();
    match parse_json(written) {
        Ok(Value::Number(number)) if !is_canonical(written, &number) => Ok(Value::from(text)),
        Err(JsonInputError::Invalid(_)) => Ok(Value::from(text)),
        Err(JsonInputError::OutOfRange(number)) if number == written => Ok(Value::from(text)),
        read => read,
    }
}

/// A number in a value without a declared type whose canonical form differs from the text, so that a text may be meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RewrittenNumber {
    written: String,
    number: Number,
    is_text: bool,
}

impl fmt::Display for RewrittenNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, number, .. } = self;
        if self.is_text {
            write!(f, "`{written}` is passed on as text; as a number it would be {number}")
        } else {
            write!(f, "the number {written} is passed on as {number}")
        }
    }
}

impl RewrittenNumber {
    /// Finds such a number in `text`, from which `value` was parsed: the text itself if [`parse_untyped`] left it a text, or else
    /// the first number within the value.
    pub fn find(text: &str, value: &Value) -> Option<Self> {
        let short = |written: &str| written.chars().take(SHOWN_DIGITS).collect();
        if let Value::String(_) = value {
            let Ok(Value::Number(number)) = parse_json(text.trim()) else { return None };
            return Some(Self { written: short(text.trim()), number, is_text: true });
        }
        let mut floats = BTreeSet::new();
        collect_floats(value, &mut floats);
        json_numbers(text).find_map(|written| {
            let number: Number = written.parse().ok()?;
            let is_rewritten = !is_canonical(written, &number) && floats.contains(&number.to_string());
            is_rewritten.then(|| Self { written: short(written), number, is_text: false })
        })
    }
}

fn collect_floats(value: &Value, floats: &mut BTreeSet<String>) {
    match value {
        Value::Number(number) if number.is_f64() => drop(floats.insert(number.to_string())),
        Value::Array(items) => items.iter().for_each(|item| collect_floats(item, floats)),
        Value::Object(entries) => entries.values().for_each(|item| collect_floats(item, floats)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_whose_canonical_form_differs_is_found() {
        let found = |text: &str| {
            let value = parse_untyped(text).expect(text);
            RewrittenNumber::find(text, &value).map(|number| number.to_string())
        };
        let cases = [
            ("1.10", Some("`1.10` is passed on as text; as a number it would be 1.1")),
            (" 1E3", Some("`1E3` is passed on as text; as a number it would be 1000.0")),
            ("[1.5, {\"v\": 1.10}]", Some("the number 1.10 is passed on as 1.1")),
            ("[0.10000000000000001]", Some("the number 0.10000000000000001 is passed on as 0.1")),
            ("{\"a\":1.1,\"b\":296e115}", Some("the number 296e115 is passed on as 2.96e+117")),
            ("296e115", Some("`296e115` is passed on as text; as a number it would be 2.96e+117")),
            ("1e-07", None),
            ("1.1", None),
            ("[1, 1.0, 1e-07, \"1.10\"]", None),
            ("v1.10", None),
            ("007", None),
        ];
        for (text, expected) in cases {
            assert_eq!(found(text).as_deref(), expected, "{text}");
        }
        let whole = serde_json::json!({ "a": 2.5 });
        assert_eq!(RewrittenNumber::find("{\"a\": 2.5, \"b\": 1.10}", &whole), None, "not within the value");
    }

    #[test]
    fn duplicate_keys_and_too_long_numbers_are_refused() {
        assert_eq!(parse_json("[1, {\"a\": 2.50}]").expect("valid"), serde_json::json!([1, {"a": 2.5}]));
        for (text, wanted) in [
            ("{", "is not valid JSON: EOF while parsing an object at line 1 column 1"),
            ("{\"a\": 1, \"a\": 2}", "has a problem: the key `a` is written twice at line 1 column 12"),
            (
                "[18446744073709551616]",
                "has the number 18446744073709551616, whose last digits would be lost",
            ),
            ("9007199254740993.0", "has the number 9007199254740993.0, whose last digits would be lost"),
            ("[1e400]", "has the number 1e400, which is out of the range of 64-bit numbers"),
        ] {
            assert_eq!(parse_json(text).expect_err(text).to_string(), wanted, "{text}");
        }
        for (text, is_number) in [("007", true), ("{\"a\": -01}", true), ("{", false), ("x", false)] {
            assert_eq!(parse_json(text).expect_err(text).is_number(), is_number, "{text}");
        }
    }
}
