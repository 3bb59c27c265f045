//! The sizes of JSON values, by which work on them is done on a blocking thread.
//!
//! The heartbeat of a job is awaited together with its call, so it would stop while an answer of many megabytes is read,
//! searched for secrets, encoded and hashed.

use longshore_ports::LONG_WORK_BYTES;
use serde_json::Value;

/// Bytes of a value in JSON beside its texts: a separator and a digit or bracket.
const VALUE_BYTES: usize = 2;

/// Returns the approximate size of values as JSON text. Stops counting at [`LONG_WORK_BYTES`].
pub(crate) fn approximate_bytes<'a>(values: impl IntoIterator<Item = &'a Value>) -> usize {
    let mut bytes = 0;
    values.into_iter().for_each(|value| count(value, &mut bytes));
    bytes
}

fn count(value: &Value, bytes: &mut usize) {
    if *bytes >= LONG_WORK_BYTES {
        return;
    }
    *bytes += VALUE_BYTES;
    match value {
        Value::String(text) => *bytes += text.len(),
        Value::Array(items) => items.iter().for_each(|item| count(item, bytes)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            *bytes += name.len();
            count(value, bytes);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn large_texts_and_many_small_values_are_large() {
        let bytes = |value: Value| approximate_bytes([&value]);
        assert!(bytes(json!({ "rows": [1, 2, 3] })) < 100);
        assert!(bytes(json!({ "a": ["x".repeat(LONG_WORK_BYTES)] })) >= LONG_WORK_BYTES);
        assert!(bytes(Value::Array(vec![Value::Null; LONG_WORK_BYTES])) >= LONG_WORK_BYTES);
        let half = json!("x".repeat(LONG_WORK_BYTES / 2));
        assert!(approximate_bytes([&half, &half]) >= LONG_WORK_BYTES);
    }
}
