//! JSON values that are inline in a message, or references to large ones.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Digest;

/// The largest value that is inline in a message, in bytes of JSON text; larger ones are blobs. Keeps records below a
/// broker's payload limit (1 MiB by default), and the state small, which is checkpointed many times a second.
pub const INLINE_LIMIT_BYTES: usize = 64 * 1024;

/// The largest blob, in bytes. A value is copied in memory several times on its way into a call; larger data belongs
/// into a file that a tool reads itself.
pub const BLOB_LIMIT_BYTES: usize = 64 * 1024 * 1024;

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

impl Payload {
    /// The value `null`.
    pub const NULL: Self = Self::Inline(Value::Null);

    /// Returns the digest of the blob. `None` for an inline value.
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
