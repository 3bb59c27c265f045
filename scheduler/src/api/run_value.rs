//! Values of runs, in parts that fit into a message.

use std::sync::{Arc, Mutex, PoisonError};

use longshore_machine::{Run, RunValue};
use longshore_ports::{Blobs, RunRow};
use longshore_proto::{Digest, Payload, RunId};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::refusal::Refusal;

/// Size of a part, in bytes. A part is a string within a JSON text, so a quote takes two bytes: twice this size fits into a
/// message of 1 MiB.
const PART_BYTES: usize = 384 * 1024;

/// Maximum number of large values that are read concurrently, each of up to 64 MiB.
const CONCURRENT_READS: usize = 2;

/// Largest value that is cached. A larger one is read again for each of its parts.
const CACHED_BYTES: usize = 8 * 1024 * 1024;

/// A part of a value.
#[derive(Debug, Serialize)]
pub(super) struct ValuePart {
    /// Size of the whole JSON text.
    bytes: usize,
    /// Offset of the part in the JSON text, in bytes.
    offset: usize,
    /// Text of the part.
    text: String,
}

/// Reader of values: bounds concurrent reads of large ones, and caches the last one for the next request.
pub(super) struct ValueReader {
    blobs: Arc<dyn Blobs>,
    permits: Semaphore,
    cached: Mutex<Option<(Digest, Arc<Vec<u8>>)>>,
}

impl ValueReader {
    pub(super) fn new(blobs: Arc<dyn Blobs>) -> Self {
        Self { blobs, permits: Semaphore::new(CONCURRENT_READS), cached: Mutex::default() }
    }

    /// Returns the part of a run's value that begins at an offset.
    pub(super) async fn part(
        &self,
        row: &RunRow,
        wanted: &RunValue,
        offset: usize,
    ) -> Result<ValuePart, Refusal> {
        let run = row.summary.run;
        let state = Run::decode(&row.state).map_err(|error| Refusal::Unreadable { run, error })?;
        match state.value(wanted)? {
            Payload::Inline(value) => part(value.to_string().as_bytes(), offset),
            Payload::Blob { digest, .. } => {
                // The semaphore is never closed.
                let _permit = self.permits.acquire().await;
                part(&self.large_value(run, digest).await?, offset)
            }
        }
    }

    async fn large_value(&self, run: RunId, digest: Digest) -> Result<Arc<Vec<u8>>, Refusal> {
        let cached = || self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = cached().as_ref().filter(|(cached, _)| *cached == digest) {
            return Ok(Arc::clone(bytes));
        }
        let bytes = self.blobs.get(digest).await?.ok_or(Refusal::ValueGone { run, digest })?;
        let bytes = Arc::new(bytes);
        if bytes.len() <= CACHED_BYTES {
            *cached() = Some((digest, Arc::clone(&bytes)));
        }
        Ok(bytes)
    }
}

/// Returns the part that begins at an offset. It ends at the end of a character.
fn part(bytes: &[u8], offset: usize) -> Result<ValuePart, Refusal> {
    let invalid =
        || Refusal::Malformed(format!("the request is refused: no part of the value begins at {offset}"));
    let whole = std::str::from_utf8(bytes).map_err(|_| invalid())?;
    let rest = whole.get(offset..).ok_or_else(invalid)?;
    let text = rest.get(..rest.floor_char_boundary(PART_BYTES)).unwrap_or_default().to_owned();
    Ok(ValuePart { bytes: bytes.len(), offset, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_whole_value() {
        let whole = "ü".repeat(PART_BYTES);
        let (mut text, mut parts) = (String::new(), 0);
        while text.len() < whole.len() {
            let part = part(whole.as_bytes(), text.len()).expect("a part");
            assert_eq!((part.bytes, part.offset), (whole.len(), text.len()));
            text.push_str(&part.text);
            parts += 1;
        }
        assert!(text == whole && parts == 2, "{parts}");
        assert!(part(whole.as_bytes(), 1).is_err(), "an offset within a character");
        assert!(part(whole.as_bytes(), whole.len() + 1).is_err());
    }
}
