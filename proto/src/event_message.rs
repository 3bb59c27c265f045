//! The encoding of events in the log: a fixed prefix, then MessagePack with named fields.
//!
//! ```text
//! format (1 byte) | kind (1 byte) | run id (2 bytes partition, 16 bytes ULID; zeros if the event concerns no run) | body
//! ```
//!
//! So a reader that cannot decode the body still knows which run it concerns.

use rmp_serde::encode::write_named;

use crate::wire::{EVENT_FORMAT, split_messages};
use crate::{Event, RunId, WireError};

/// Size of the run id, in bytes.
const RUN_BYTES: usize = 18;

/// Size of most encoded events, in bytes: a buffer that need not grow is not copied.
const USUAL_BYTES: usize = 512;

/// An event of the log that cannot be decoded.
#[derive(Debug, thiserror::Error)]
#[error("an event {}: {source}", concerned(.run))]
pub struct UnreadableEvent {
    /// The run that it concerns. `None` if that is not known, or if it concerns none.
    pub run: Option<RunId>,
    /// Reason.
    pub source: WireError,
}

fn concerned(run: &Option<RunId>) -> String {
    run.map_or_else(|| "of no known run".to_owned(), |run| format!("of {run}"))
}

/// Encodes an event.
///
/// # Errors
///
/// The event has no form in MessagePack.
pub fn encode_event(event: &Event) -> Result<Vec<u8>, WireError> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.extend([EVENT_FORMAT, event.kind()]);
    bytes.extend(event.run().map_or([0; RUN_BYTES], RunId::to_bytes));
    write_named(&mut bytes, event)?;
    Ok(bytes)
}

/// Decodes an event, or several that were [joined](crate::join_messages). An event that cannot be decoded is an error at its
/// index, and so is a missing end.
pub fn decode_events(bytes: &[u8]) -> Vec<Result<Event, UnreadableEvent>> {
    split_messages(bytes).into_iter().map(|message| decode_event(message)).collect()
}

fn decode_event(message: Result<&[u8], WireError>) -> Result<Event, UnreadableEvent> {
    let unknown = |source| UnreadableEvent { run: None, source };
    let message = message.map_err(unknown)?;
    let (format, rest) = message.split_first().ok_or_else(|| unknown(WireError::Empty))?;
    if *format != EVENT_FORMAT {
        return Err(unknown(WireError::of_format(*format)));
    }
    let prefix = rest.split_first().and_then(|(_, rest)| rest.split_first_chunk::<RUN_BYTES>());
    let (run, body) = prefix.ok_or_else(|| unknown(WireError::CutOff))?;
    let run = RunId::from_bytes(*run);
    rmp_serde::from_slice(body).map_err(|error| UnreadableEvent { run, source: error.into() })
}

impl Event {
    /// Returns the number of the kind of event. A number is never used again for another kind.
    const fn kind(&self) -> u8 {
        match self {
            Self::LeaderAnnounced { .. } => 1,
            Self::Configured { .. } => 2,
            Self::Quarantined { .. } => 3,
            Self::Submitted { .. } => 4,
            Self::Starting { .. } => 5,
            Self::Returned { .. } => 6,
            Self::Settled { .. } => 7,
            Self::Resumed { .. } => 8,
            Self::NotCalled { .. } => 9,
            Self::Evaluated { .. } => 10,
            Self::Continued { .. } => 11,
            Self::Signalled { .. } => 12,
            Self::Fired { .. } => 13,
        }
    }

    /// Returns the run that the event concerns. `None` for an event of the partition.
    pub const fn run(&self) -> Option<RunId> {
        match self {
            Self::LeaderAnnounced { .. } | Self::Configured { .. } => None,
            Self::Quarantined { run, .. }
            | Self::Submitted { run, .. }
            | Self::Resumed { run }
            | Self::Evaluated { run, .. }
            | Self::Continued { run }
            | Self::Signalled { run, .. } => Some(*run),
            Self::Starting { job, .. }
            | Self::Returned { job, .. }
            | Self::Settled { job, .. }
            | Self::NotCalled { job } => Some(job.run),
            Self::Fired { timer, .. } => Some(timer.run),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Partition, Timestamp, join_messages};

    fn resumed() -> (RunId, Vec<u8>) {
        let run = RunId::new(Partition(7), Timestamp::from_millis(9), 77);
        (run, encode_event(&Event::Resumed { run }).expect("encodes"))
    }

    #[test]
    fn event_with_an_unreadable_body_names_its_run() {
        let (run, mut bytes) = resumed();
        bytes.truncate(1 + 1 + RUN_BYTES + 2);
        let decoded = decode_events(&bytes);
        assert!(
            matches!(decoded.as_slice(), [Err(UnreadableEvent { run: Some(found), .. })] if *found == run)
        );
    }

    #[test]
    fn newer_formats_foreign_bytes_and_cut_prefixes_are_refused_with_a_reason() {
        let refusal = |bytes: &[u8]| match decode_events(bytes).pop() {
            Some(Err(error)) => error,
            other => panic!("refused: {other:?}"),
        };
        assert!(matches!(refusal(b"").source, WireError::Empty));
        assert!(matches!(refusal(b"\x09abc").source, WireError::Version { found: 9 }));
        assert!(matches!(refusal(b"{}").source, WireError::Foreign { .. }));
        assert!(matches!(refusal(&[EVENT_FORMAT, 1, 0, 0]).source, WireError::CutOff));
    }

    #[test]
    fn joined_events_are_decoded_in_order() {
        let (run, bytes) = resumed();
        let joined = join_messages(&[bytes.clone(), b"nonsense".to_vec(), bytes]);
        let events = decode_events(&joined);
        let resumed = Event::Resumed { run };
        assert!(
            matches!(events.as_slice(), [Ok(first), Err(_), Ok(last)] if *first == resumed && *last == resumed),
            "{events:?}"
        );
    }
}
