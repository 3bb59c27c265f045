//! Values too large to carry along, and the texts of workflows.

use async_trait::async_trait;
use longshore_proto::Digest;

use crate::Error;

/// Immutable bytes under the hash of their content.
///
/// Contract: once `put` has returned, the bytes are durable. Putting the same bytes twice is putting them once.
/// More than [`BLOB_LIMIT_BYTES`](longshore_proto::BLOB_LIMIT_BYTES) are refused for good.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Keeps bytes and returns their address.
    async fn put(&self, bytes: Vec<u8>) -> Result<Digest, Error>;

    /// The bytes under an address, checked against it.
    async fn get(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error>;
}
