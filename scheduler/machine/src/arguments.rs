//! Arguments of a call in the record of its step.
//!
//! Small arguments are kept whole, of larger ones the beginning of their JSON text. Secrets are names in them, never values.
//! While a call is outstanding, its state has all arguments, because every attempt sends the same.

use longshore_proto::{Digest, Payload};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Arguments of a call without an outcome.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Arguments {
    /// JSON text: an object.
    Text(Box<str>),
    /// A stored value. Few calls have one, so it takes no room in the others.
    Stored(Box<StoredArguments>),
}

/// Arguments in the blob store.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct StoredArguments {
    digest: Digest,
    bytes: u64,
    /// The part that is shown, as JSON text.
    shown: Box<str>,
}

impl Arguments {
    /// Returns the arguments that a leader evaluated.
    pub(super) fn of(payload: &Payload, shown: &str) -> Self {
        match payload {
            Payload::Inline(value) => Self::Text(value.to_string().into()),
            Payload::Blob { digest, bytes } => Self::Stored(Box::new(StoredArguments {
                digest: *digest,
                bytes: *bytes,
                shown: shown.into(),
            })),
        }
    }

    /// Returns the bytes that the arguments take in the state.
    pub(super) fn bytes_in_state(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Stored(stored) => stored.shown.len(),
        }
    }

    /// Returns the arguments as they are sent. `None` if the text is no JSON, which a rendered value never is.
    pub(super) fn payload(&self) -> Option<Payload> {
        match self {
            Self::Text(text) => serde_json::from_str(text).ok().map(Payload::Inline),
            Self::Stored(stored) => Some(Payload::Blob { digest: stored.digest, bytes: stored.bytes }),
        }
    }

    /// Returns the part of the arguments that is shown, as JSON text.
    pub(super) fn shown(self, limit: u16) -> Box<str> {
        match self {
            Self::Text(text) => kept(text, limit),
            Self::Stored(stored) => stored.shown,
        }
    }
}

/// Maximum number of bytes of JSON text that are kept of one call: a file name, a query, a short message.
const CALL_LIMIT_BYTES: u16 = 2 * 1024;

/// Maximum number of bytes that are kept of all calls of a run. Every checkpoint of a changed run writes them again.
const RUN_LIMIT_BYTES: usize = 256 * 1024;

/// Bytes that are kept of each call at least, however many calls a run has.
const LEAST_BYTES: u16 = 64;

/// Returns the number of bytes that are kept of the arguments of each call in a run of some steps.
pub(super) fn kept_bytes(steps: usize) -> u16 {
    let share = RUN_LIMIT_BYTES / steps.max(1);
    u16::try_from(share).unwrap_or(CALL_LIMIT_BYTES).clamp(LEAST_BYTES, CALL_LIMIT_BYTES)
}

/// Returns the part of arguments that is kept, as JSON text.
pub(super) fn kept(arguments: Box<str>, limit: u16) -> Box<str> {
    let limit = usize::from(limit);
    if arguments.len() <= limit {
        return arguments;
    }
    let beginning = arguments.get(..arguments.floor_char_boundary(limit)).unwrap_or_default();
    json!({ "beginning": { "text": beginning, "bytes": arguments.len() } }).to_string().into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn kept_of(text: &str, steps: usize) -> Value {
        let kept = kept(json!({ "text": text }).to_string().into(), kept_bytes(steps));
        serde_json::from_str(&kept).expect("JSON")
    }

    #[test]
    fn small_arguments_are_kept_as_they_were_sent() {
        assert_eq!(kept_of("a", 1), json!({ "text": "a" }));
        assert_eq!(kept_of("a", 1_000_000), json!({ "text": "a" }));
    }

    #[test]
    fn of_large_arguments_the_beginning_is_kept_up_to_a_character() {
        let whole = "ü".repeat(2_000);
        let cut = kept_of(&whole, 1);
        let text = cut["beginning"]["text"].as_str().expect("a text");
        assert_eq!(cut["beginning"]["bytes"], 4_011);
        assert!(
            text.starts_with("{\"text\":\"üü") && text.len() > 2_040 && text.len() <= 2_048,
            "{}",
            text.len()
        );
        let of_many = kept_of(&whole, 2_560);
        assert_eq!(
            of_many["beginning"]["text"].as_str().map(str::len),
            Some(101),
            "a share of the run's bytes"
        );
    }
}
