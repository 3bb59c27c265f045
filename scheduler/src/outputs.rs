//! Large outputs of runs, which are stored as blobs.

use longshore_ports::{Blobs, Error, on_blocking_thread};
use longshore_proto::RunView;

/// Replaces the address of stored outputs by their value, unless they have more than `limit` bytes or are gone.
///
/// # Errors
///
/// The store does not answer.
pub async fn fill_outputs(view: &mut RunView, blobs: &dyn Blobs, limit: u64) -> Result<(), Error> {
    let Some((digest, bytes)) = view.stored_outputs else { return Ok(()) };
    if bytes > limit {
        return Ok(());
    }
    let Some(text) = blobs.get(digest).await? else { return Ok(()) };
    let value = on_blocking_thread(move || serde_json::from_slice(&text).ok()).await;
    if let Some(value) = value {
        (view.outputs, view.stored_outputs) = (Some(value), None);
    }
    Ok(())
}
