//! Texts for messages: truncation, and the names of JSON types.

use std::borrow::Cow;

use serde_json::Value;

/// Truncates a text to `limit` characters, and marks the cut with an ellipsis.
pub fn truncate(text: &str, limit: usize) -> Cow<'_, str> {
    match first_chars(text, limit) {
        Some(beginning) => Cow::Owned(format!("{beginning}…")),
        None => Cow::Borrowed(text),
    }
}

/// Truncates a text as [`truncate`] does, and adds the size of the whole text.
pub fn truncate_with_size(text: &str, limit: usize) -> Cow<'_, str> {
    match first_chars(text, limit) {
        Some(beginning) => Cow::Owned(format!("{beginning}… ({} bytes in all)", text.len())),
        None => Cow::Borrowed(text),
    }
}

/// Returns the first `limit` characters of a text. `None` if the text has no more than these.
fn first_chars(text: &str, limit: usize) -> Option<&str> {
    text.char_indices().nth(limit).and_then(|(end, _)| text.get(..end))
}

/// Returns the type of a value for a message, such as "a number".
pub const fn value_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_longer_texts_are_truncated() {
        assert_eq!(truncate("äöü", 3), "äöü");
        assert_eq!(truncate("äöü", 2), "äö…");
        assert_eq!(truncate_with_size("äöü", 3), "äöü");
        assert_eq!(truncate_with_size("äöü", 0), "… (6 bytes in all)");
    }
}
