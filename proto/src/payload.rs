//! JSON values in messages: small ones inline, large ones as references to blobs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;

/// The largest value that is inline in a message, in bytes of JSON text; larger ones are blobs. The limit keeps records
/// below a broker's payload limit (1 MiB by default). It also keeps the checkpoints small, which are written many times a
/// second.
pub const INLINE_LIMIT_BYTES: usize = 64 * 1024;

/// The largest blob, in bytes. A value is copied in memory several times on its way into a call; larger data belongs
/// in a file that a tool reads itself.
pub const BLOB_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// The largest number of values in a blob of JSON: elements, and names and values of objects. A run that reads it takes about
/// 130 MiB of memory in the worst case.
pub const BLOB_VALUE_LIMIT: usize = 1_000_000;

/// A JSON value, or a reference to a large one.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// The value itself.
    Inline(Value),
    /// A value that is stored as a blob of JSON text.
    Blob {
        /// Digest of the JSON text.
        digest: Digest,
        /// Size of the JSON text, in bytes.
        bytes: u64,
    },
}

/// A value as a payload, with the blob that has to be stored before the payload is used.
#[derive(Clone, Debug, PartialEq)]
pub struct SpilledPayload {
    /// The value, or a reference to `blob`.
    pub payload: Payload,
    /// JSON text of a value of more than [`INLINE_LIMIT_BYTES`].
    pub blob: Option<Vec<u8>>,
}

impl Payload {
    /// The value `null`.
    pub const NULL: Self = Self::Inline(Value::Null);

    /// Converts a value into a payload. A large value becomes a blob and a reference to it.
    pub fn spill(value: Value) -> SpilledPayload {
        let text = value.to_string();
        if text.len() <= INLINE_LIMIT_BYTES {
            return SpilledPayload { payload: Self::Inline(value), blob: None };
        }
        let blob = text.into_bytes();
        let payload = Self::Blob { digest: Digest::of(&blob), bytes: blob.len() as u64 };
        SpilledPayload { payload, blob: Some(blob) }
    }

    /// Returns the digest of the blob. `None` for an inline value.
    pub const fn blob(&self) -> Option<Digest> {
        match self {
            Self::Inline(_) => None,
            Self::Blob { digest, .. } => Some(*digest),
        }
    }
}

/// Returns true if a value holds more than [`BLOB_VALUE_LIMIT`] values, itself among them.
pub fn has_too_many_values(value: &Value) -> bool {
    let (mut count, mut rest) = (0_usize, vec![value]);
    while let Some(value) = rest.pop() {
        count += 1;
        match value {
            Value::Array(items) => rest.extend(items),
            Value::Object(fields) => {
                count += fields.len();
                rest.extend(fields.values());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        if count + rest.len() > BLOB_VALUE_LIMIT {
            return true;
        }
    }
    false
}

impl From<Value> for Payload {
    fn from(value: Value) -> Self {
        Self::Inline(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_names_and_values_count() {
        let list = |count| Value::Array(vec![Value::Null; count]);
        assert!(!has_too_many_values(&list(BLOB_VALUE_LIMIT - 1)), "with the list itself");
        assert!(has_too_many_values(&list(BLOB_VALUE_LIMIT)));
        let nested = |count| serde_json::json!({ "a": list(count), "b": [{}] });
        // The object, its two names, the two lists, the object in one.
        assert!(!has_too_many_values(&nested(BLOB_VALUE_LIMIT - 6)));
        assert!(has_too_many_values(&nested(BLOB_VALUE_LIMIT - 5)));
    }

    #[test]
    fn value_above_the_limit_becomes_a_blob_and_a_reference() {
        // The text has two quotation marks.
        let value = |bytes| Value::String("x".repeat(bytes - 2));
        let inline = Payload::spill(value(INLINE_LIMIT_BYTES));
        assert_eq!(inline, SpilledPayload { payload: value(INLINE_LIMIT_BYTES).into(), blob: None });
        let large = value(INLINE_LIMIT_BYTES + 1);
        let text = large.to_string().into_bytes();
        let spilled = Payload::spill(large);
        assert_eq!(spilled.payload, Payload::Blob { digest: Digest::of(&text), bytes: text.len() as u64 });
        assert_eq!(spilled.blob, Some(text));
    }
}
