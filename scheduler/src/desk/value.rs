//! Values of runs, in parts that fit into a message.

use std::sync::{Arc, Mutex, PoisonError};

use longshore_machine::{Run, RunValue};
use longshore_proto::{Digest, Namespace, Payload, RunId, StepPath};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::{Desk, Refusal};

/// Size of a part, in bytes. It is a text within a JSON text, so a quote takes two bytes: twice this fits into a
/// message of 1 MiB.
const PART_BYTES: usize = 384 * 1024;

/// Large values that are read at once, each of up to 64 MiB.
const READS_AT_ONCE: usize = 2;

/// A larger value than this is read again for every part of it, and not held in between.
const HELD_BYTES: usize = 8 * 1024 * 1024;

/// A part of a value.
#[derive(Debug, Serialize)]
pub(super) struct ValuePart {
    /// The size of the whole JSON text.
    bytes: usize,
    /// Offset of this part in the JSON text, in bytes.
    offset: usize,
    /// The part.
    text: String,
}

/// Reads large values, a few at once, and holds the last one for the next request.
pub(super) struct ValueReader {
    turns: Semaphore,
    last: Mutex<Option<(Digest, Arc<Vec<u8>>)>>,
}

impl Default for ValueReader {
    fn default() -> Self {
        Self { turns: Semaphore::new(READS_AT_ONCE), last: Mutex::default() }
    }
}

impl Desk {
    /// A part of a value of a run, from an offset on.
    pub(super) async fn value(
        &self,
        namespace: &Namespace,
        run: RunId,
        step: Option<StepPath>,
        is_content: bool,
        offset: usize,
    ) -> Result<ValuePart, Refusal> {
        let row = self.find(namespace, run).await?;
        let state = Run::read(&row.state).map_err(|error| Refusal::Unreadable { run, error })?;
        match state.value(&RunValue::of(step, is_content))? {
            Payload::Inline(value) => part(value.to_string().as_bytes(), offset),
            Payload::Blob { digest, .. } => {
                // It is never closed.
                let _turn = self.values.turns.acquire().await;
                part(&self.large(run, digest).await?, offset)
            }
        }
    }

    async fn large(&self, run: RunId, digest: Digest) -> Result<Arc<Vec<u8>>, Refusal> {
        let last = || self.values.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = last().as_ref().filter(|(held, _)| *held == digest) {
            return Ok(Arc::clone(bytes));
        }
        let bytes = self.backend.blobs.get(digest).await?.ok_or(Refusal::ValueGone { run, digest })?;
        let bytes = Arc::new(bytes);
        if bytes.len() <= HELD_BYTES {
            *last() = Some((digest, Arc::clone(&bytes)));
        }
        Ok(bytes)
    }
}

/// Returns the part that begins at an offset and ends at the end of a character.
fn part(bytes: &[u8], offset: usize) -> Result<ValuePart, Refusal> {
    let unfit =
        || Refusal::Malformed(format!("the request is refused: no part of the value begins at {offset}"));
    let whole = std::str::from_utf8(bytes).map_err(|_| unfit())?;
    let rest = whole.get(offset..).ok_or_else(unfit)?;
    let text = rest.get(..rest.floor_char_boundary(PART_BYTES)).unwrap_or_default().to_owned();
    Ok(ValuePart { bytes: bytes.len(), offset, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_up_to_the_end() {
        let whole = "ü".repeat(PART_BYTES);
        let (mut text, mut parts) = (String::new(), 0);
        while text.len() < whole.len() {
            let part = part(whole.as_bytes(), text.len()).expect("a part");
            assert_eq!((part.bytes, part.offset), (whole.len(), text.len()));
            text.push_str(&part.text);
            parts += 1;
        }
        assert!(text == whole && parts == 2, "{parts}");
        assert!(part(whole.as_bytes(), 1).is_err(), "within a character");
        assert!(part(whole.as_bytes(), whole.len() + 1).is_err());
    }
}
