//! Storage of large values as blobs.

use longshore_ports::{Blobs, Error};
use longshore_proto::Payload;

/// Stores the JSON text of a value as a blob, and returns its address.
pub(crate) async fn put_value(blobs: &dyn Blobs, text: String) -> Result<Payload, Error> {
    let bytes = text.len() as u64;
    let digest = blobs.put(text.into_bytes()).await?;
    Ok(Payload::Blob { digest, bytes })
}
