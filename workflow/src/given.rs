//! JSON that a person or a client writes: a value is read exactly as it is written, or refused.

use longshore_proto::UniqueKeys;
use serde_json::Value;

use crate::digits::lost_digits;

/// The most digits of a number that an error shows.
const SHOWN_DIGITS: usize = 60;

/// Why a text is not read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadJson {
    /// It is not JSON, with the place of the mistake.
    #[error("is not valid JSON: {0}")]
    Invalid(serde_json::Error),
    /// A key occurs twice in one object, with the place of the second one.
    #[error("has a problem: {0}")]
    RepeatedKey(serde_json::Error),
    /// A whole number does not fit 64 bits: read as a float, it would be another one. The first such number.
    #[error("has the number {0}, whose last digits would be lost")]
    LostDigits(String),
}

/// Reads a JSON text.
///
/// # Errors
/// Besides what is no JSON: a key that occurs twice in one object, and a whole number of more than 64 bits.
pub fn read_json(text: &str) -> Result<Value, UnreadJson> {
    let UniqueKeys(value) = serde_json::from_str(text).map_err(|error| {
        if error.is_data() { UnreadJson::RepeatedKey(error) } else { UnreadJson::Invalid(error) }
    })?;
    match lost_digits(text) {
        Some(digits) => Err(UnreadJson::LostDigits(digits.chars().take(SHOWN_DIGITS).collect())),
        None => Ok(value),
    }
}

/// Reads a value whose type is not declared: JSON if the text parses, else the text. A number that is not written as the text
/// is, such as `1.10` or `296e115`, is a text as well.
///
/// # Errors
/// A key that occurs twice in one object, and a whole number of more than 64 bits.
pub fn read_untyped(text: &str) -> Result<Value, UnreadJson> {
    let written = text.trim();
    match read_json(written) {
        Ok(Value::Number(number)) if number.to_string() != written => Ok(Value::from(text)),
        Err(UnreadJson::Invalid(_)) => Ok(Value::from(text)),
        read => read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_exactly_or_refused() {
        assert_eq!(read_json("[1, {\"a\": 2.50}]").expect("valid"), serde_json::json!([1, {"a": 2.5}]));
        for (text, wanted) in [
            ("{", "is not valid JSON: EOF while parsing an object at line 1 column 1"),
            ("{\"a\": 1, \"a\": 2}", "has a problem: the key `a` is written twice at line 1 column 12"),
            (
                "[18446744073709551616]",
                "has the number 18446744073709551616, whose last digits would be lost",
            ),
        ] {
            assert_eq!(read_json(text).expect_err(text).to_string(), wanted, "{text}");
        }
    }
}
