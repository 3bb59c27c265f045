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

impl Payload {
    /// Nothing.
    pub const NULL: Self = Self::Inline(Value::Null);

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
