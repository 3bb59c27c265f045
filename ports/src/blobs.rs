//! The store of large values and of the texts of workflows.

use async_trait::async_trait;
use longshore_proto::Digest;

use crate::Error;

/// A content-addressed store of immutable bytes.
///
/// Contract: bytes are durable when `put` returns. Putting the same bytes again has no effect. More than
/// [`BLOB_LIMIT_BYTES`](longshore_proto::BLOB_LIMIT_BYTES) are a permanent error.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Stores bytes and returns their digest.
    async fn put(&self, bytes: Vec<u8>) -> Result<Digest, Error>;

    /// Returns the bytes with this digest, after checking them against it.
    async fn get(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error>;
}
