//! The encoding of events in the log: a fixed prefix, then MessagePack with named fields.
//!
//! ```text
//! format (1 byte) | kind (1 byte) | run id (2 bytes partition, 16 bytes ULID; zeros if the event concerns no run) | body
//! ```
//!
//! So a reader that cannot decode the body still knows which run it concerns.

use rmp_serde::encode::write_named;

use crate::wire::{EVENT_FORMAT, split_messages};
use crate::{Event, EventKind, RunId, WireError, WriterRole};

/// Size of the run id, in bytes.
const RUN_BYTES: usize = 18;

/// Size of most encoded events, in bytes: a buffer that need not grow is not copied.
const USUAL_BYTES: usize = 512;

/// An event of the log that is not applied.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The event cannot be decoded.
    #[error("an event {}: {source}", concerned(.run))]
    Unreadable {
        /// Kind of the event. `None` if that is not known.
        kind: Option<EventKind>,
        /// The run that it concerns. `None` if that is not known, or if it concerns none.
        run: Option<RunId>,
        /// Reason.
        source: WireError,
    },
    /// The writer of the event may not write it.
    #[error("{} was written by {}", described(.kind), writer_name(.writer))]
    Forbidden {
        /// Kind of the event. `None` if that is not known.
        kind: Option<EventKind>,
        /// Role of the writer. `None` if it is not a process of Longshore.
        writer: Option<WriterRole>,
    },
}

fn concerned(run: &Option<RunId>) -> String {
    run.map_or_else(|| "of no known run".to_owned(), |run| format!("of {run}"))
}

fn described(kind: &Option<EventKind>) -> String {
    kind.map_or_else(|| "an event".to_owned(), |kind| format!("an event {kind:?}"))
}

fn writer_name(writer: &Option<WriterRole>) -> String {
    let foreign = || "a program that is no process of longshore".to_owned();
    writer.map_or_else(foreign, |role| format!("a process in the role {role}"))
}

/// Encodes an event.
///
/// # Errors
///
/// The event has no form in MessagePack.
pub fn encode_event(event: &Event) -> Result<Vec<u8>, WireError> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.extend([EVENT_FORMAT, event.kind().number()]);
    bytes.extend(event.run().map_or([0; RUN_BYTES], RunId::to_bytes));
    write_named(&mut bytes, event)?;
    Ok(bytes)
}

/// Decodes an event, or several that were [joined](crate::join_messages). An event that cannot be decoded is an error at its
/// index, and so is a missing end.
pub fn decode_events(bytes: &[u8]) -> Vec<Result<Event, EventError>> {
    split_messages(bytes).into_iter().map(decode_event).collect()
}

/// Decodes events of a writer, as [`decode_events`] does. An event that the writer may not write is an error at its index. Without
/// a writer, all events are such errors.
pub fn decode_events_of(writer: Option<WriterRole>, bytes: &[u8]) -> Vec<Result<Event, EventError>> {
    decode_events(bytes).into_iter().map(|event| check_writer(writer, event)).collect()
}

fn check_writer(writer: Option<WriterRole>, event: Result<Event, EventError>) -> Result<Event, EventError> {
    let kind = match &event {
        Ok(event) => Some(event.kind()),
        Err(EventError::Unreadable { kind, .. } | EventError::Forbidden { kind, .. }) => *kind,
    };
    match (writer, kind) {
        (Some(role), Some(kind)) if role.may_write(kind) => event,
        // It may be of a newer version, which readers must not skip.
        (Some(_), None) => event,
        _ => Err(EventError::Forbidden { kind, writer }),
    }
}

fn decode_event(message: Result<&[u8], WireError>) -> Result<Event, EventError> {
    let unknown = |source| EventError::Unreadable { kind: None, run: None, source };
    let message = message.map_err(unknown)?;
    let (format, rest) = message.split_first().ok_or_else(|| unknown(WireError::Empty))?;
    if *format != EVENT_FORMAT {
        return Err(unknown(WireError::of_format(*format)));
    }
    let prefix =
        rest.split_first().and_then(|(kind, rest)| Some((*kind, rest.split_first_chunk::<RUN_BYTES>()?)));
    let (kind, (run, body)) = prefix.ok_or_else(|| unknown(WireError::CutOff))?;
    let (kind, run) = (EventKind::from_number(kind), RunId::from_bytes(*run));
    rmp_serde::from_slice(body).map_err(|error| EventError::Unreadable { kind, run, source: error.into() })
}

impl Event {
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
    use crate::{Attempt, DeliveryId, JobId, Partition, Timestamp, join_messages};

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
            matches!(decoded.as_slice(), [Err(EventError::Unreadable { run: Some(found), .. })] if *found == run)
        );
    }

    #[test]
    fn newer_formats_foreign_bytes_and_cut_prefixes_are_refused_with_a_reason() {
        let refusal = |bytes: &[u8]| match decode_events(bytes).pop() {
            Some(Err(EventError::Unreadable { source, .. })) => source,
            other => panic!("refused: {other:?}"),
        };
        assert!(matches!(refusal(b""), WireError::Empty));
        assert!(matches!(refusal(b"\x09abc"), WireError::Version { found: 9 }));
        assert!(matches!(refusal(b"{}"), WireError::Foreign { .. }));
        assert!(matches!(refusal(&[EVENT_FORMAT, 1, 0, 0]), WireError::CutOff));
    }

    #[test]
    fn event_that_its_writer_may_not_write_is_an_error_at_its_index() {
        let (run, decision) = resumed();
        let job = JobId { run, step: "s0".parse().expect("a path"), attempt: Attempt::FIRST };
        let delivery = DeliveryId { worker: "w-1".parse().expect("a node"), number: 1 };
        let report = Event::Returned { job, delivery };
        let joined = join_messages(&[decision, encode_event(&report).expect("encodes")]);
        let is_allowed =
            |writer| decode_events_of(writer, &joined).iter().map(Result::is_ok).collect::<Vec<_>>();
        assert_eq!(is_allowed(Some(WriterRole::Leader)), [true, false]);
        assert_eq!(is_allowed(Some(WriterRole::Worker)), [false, true]);
        assert_eq!(is_allowed(Some(WriterRole::Submit)), [false, false]);
        assert_eq!(is_allowed(None), [false, false]);
    }

    #[test]
    fn undecodable_event_is_forbidden_by_the_kind_in_its_prefix() {
        let (_, mut bytes) = resumed();
        bytes.truncate(1 + 1 + RUN_BYTES + 2);
        let is_forbidden = |writer, bytes: &[u8]| {
            matches!(decode_events_of(writer, bytes).as_slice(), [Err(EventError::Forbidden { .. })])
        };
        assert!(is_forbidden(Some(WriterRole::Worker), &bytes), "it does not quarantine its run");
        assert!(!is_forbidden(Some(WriterRole::Leader), &bytes));
        assert!(is_forbidden(None, b"\x09abc"), "it does not stop the partition");
        assert!(
            !is_forbidden(Some(WriterRole::Worker), b"\x09abc"),
            "a newer version of longshore may have written it"
        );
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
