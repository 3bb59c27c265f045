//! A value, or the address of one that is too large to carry along.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;

/// Values larger than this, as JSON text, travel as blobs: records stay small enough for a broker's payload limit
/// (1 MiB by default) and for a state that is checkpointed many times a second.
pub const INLINE_LIMIT_BYTES: usize = 64 * 1024;

/// The largest blob, in bytes. A value passes through memory several times on its way into a call; what is
/// larger than this belongs into a file that a tool reads itself.
pub const BLOB_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// A JSON value that is carried along, or the content address of one that is not.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// The value itself.
    Inline(Value),
    /// A value kept as a blob: JSON text under its digest.
    Blob {
        /// The content address.
        digest: Digest,
        /// The size of the JSON text, in bytes.
        bytes: u64,
    },
}

/// A value as a payload, with the blob that has to be stored before the payload is used.
#[derive(Clone, Debug, PartialEq)]
pub struct SpilledPayload {
    /// The value, or the address of `blob`.
    pub payload: Payload,
    /// JSON text of a value of more than [`INLINE_LIMIT_BYTES`].
    pub blob: Option<Vec<u8>>,
}

impl Payload {
    /// Nothing.
    pub const NULL: Self = Self::Inline(Value::Null);

    /// Turns a value into a payload, and a large one into a blob and its address.
    pub fn spill(value: Value) -> SpilledPayload {
        let text = value.to_string();
        if text.len() <= INLINE_LIMIT_BYTES {
            return SpilledPayload { payload: Self::Inline(value), blob: None };
        }
        let blob = text.into_bytes();
        let payload = Self::Blob { digest: Digest::of(&blob), bytes: blob.len() as u64 };
        SpilledPayload { payload, blob: Some(blob) }
    }

    /// The address, if the value is kept as a blob.
    pub const fn blob(&self) -> Option<Digest> {
        match self {
            Self::Inline(_) => None,
            Self::Blob { digest, .. } => Some(*digest),
        }
    }
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
    fn value_above_the_limit_becomes_a_blob_and_its_address() {
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
