//! The encoding of messages: one byte of format version, then MessagePack with named fields.
//!
//! Named fields cost some bytes and allow changes of a type: a reader skips unknown fields and uses defaults for missing
//! ones. A change that is incompatible all the same raises [`FORMAT_VERSION`].

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format version of a single message, as this code writes and reads it.
pub const FORMAT_VERSION: u8 = 1;

/// The newest format version that this code reads.
pub const NEWEST_FORMAT: u8 = EVENT_FORMAT;

/// The format version of several messages in one body: each message follows its length. A reader that only knows single
/// messages takes it for a newer format and stops, so it skips nothing.
const BATCH_FORMAT: u8 = 2;

/// The format version of an event of the log; see [`encode_event`](crate::encode_event).
pub(crate) const EVENT_FORMAT: u8 = 3;

/// Size of an encoded length, in bytes.
const LENGTH_BYTES: usize = 4;

/// The highest number that future format versions may use. No version of longshore writes a greater first byte: text
/// begins with the code of a character, the lowest of which is the line feed, 10.
const FORMAT_VERSIONS_END: u8 = 9;

/// The error of bytes that are not a message, and of values that have no encoding.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// There are no bytes.
    #[error("empty message")]
    Empty,
    /// The message was written by a newer version.
    #[error("format version {found}, which this version of longshore cannot read here: upgrade it")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// The bytes were not written by longshore.
    #[error("not a message of longshore: it begins with the byte {found}, which is no format version")]
    Foreign {
        /// The first byte.
        found: u8,
    },
    /// The bytes are not MessagePack, or not a message of this type.
    #[error("malformed message: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// The end of a batch of messages is missing.
    #[error("its end is missing")]
    CutOff,
    /// The value has no form in MessagePack.
    #[error("cannot be encoded: {0}")]
    Unencodable(#[from] rmp_serde::encode::Error),
}

/// Encodes a message.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.push(FORMAT_VERSION);
    rmp_serde::encode::write_named(&mut bytes, message)?;
    Ok(bytes)
}

/// Size of most encoded messages, in bytes: a buffer that need not grow is not copied.
const USUAL_BYTES: usize = 512;

/// Joins encoded messages into one body. A single message is returned unchanged.
pub fn join_messages<B: AsRef<[u8]>>(messages: &[B]) -> Vec<u8> {
    if let [message] = messages {
        return message.as_ref().to_vec();
    }
    let length: usize = messages.iter().map(|message| LENGTH_BYTES + message.as_ref().len()).sum();
    let mut bytes = Vec::with_capacity(1 + length);
    bytes.push(BATCH_FORMAT);
    for message in messages {
        // Log entries and broker messages are bounded far below four gigabytes.
        let length = u32::try_from(message.as_ref().len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(message.as_ref());
    }
    bytes
}

/// Decodes a message, or several that were [joined](join_messages). A message that cannot be decoded is an error at its
/// index, and so is a missing end, with which the messages after it are lost.
pub fn decode_all<T: DeserializeOwned>(bytes: &[u8]) -> Vec<Result<T, WireError>> {
    split_messages(bytes).into_iter().map(|message| decode(message?)).collect()
}

/// Splits messages that were [joined](join_messages). A missing end is an error behind the others.
pub(crate) fn split_messages(bytes: &[u8]) -> Vec<Result<&[u8], WireError>> {
    let Some((&BATCH_FORMAT, mut rest)) = bytes.split_first() else { return vec![Ok(bytes)] };
    let mut messages = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<LENGTH_BYTES>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((message, behind)) = behind.split_at_checked(length) else { break };
        messages.push(Ok(message));
        rest = behind;
    }
    if !rest.is_empty() || messages.is_empty() {
        messages.push(Err(WireError::CutOff));
    }
    messages
}

/// Decodes a single message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let (version, body) = bytes.split_first().ok_or(WireError::Empty)?;
    match *version {
        FORMAT_VERSION => Ok(rmp_serde::from_slice(body)?),
        found => Err(WireError::of_format(found)),
    }
}

impl WireError {
    /// Returns the error of a first byte that is not the expected format version.
    pub(crate) const fn of_format(found: u8) -> Self {
        if found > FORMAT_VERSION && found <= FORMAT_VERSIONS_END {
            Self::Version { found }
        } else {
            Self::Foreign { found }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::*;
    use serde_json::json;

    #[test]
    fn events_round_trip() {
        let run = RunId::new(Partition(3), Timestamp::from_millis(9), 77);
        let step: StepPath = "fetch".parse().expect("a path");
        let fault = Fault::new(FaultClass::RateLimited, "slower")
            .with_retry_after(Some(std::time::Duration::from_secs(5)));
        let events = [
            Event::Submitted {
                run,
                namespace: "default".parse().expect("a namespace"),
                workflow: WorkflowRef { name: "demo".parse().expect("a name"), digest: Digest::of(b"text") },
                semantics: Semantics::NEWEST,
                inputs: Payload::Inline(
                    json!({"n": 1, "big": u64::MAX, "f": 1.5, "s": "ü", "l": [null, true]}),
                ),
                trace: None,
            },
            Event::Settled {
                job: JobId { run, step: step.clone(), attempt: Attempt(2) },
                settlement: Settlement::Again { at: Timestamp::from_millis(11), fault: fault.clone() },
                attempts: vec![AttemptRecord {
                    number: Attempt(2),
                    started_at: Timestamp::from_millis(10),
                    took: std::time::Duration::from_millis(15),
                    fault: Some(fault),
                    sent: Sent::Maybe,
                    worker: None,
                    process: None,
                    masked: Vec::new(),
                    rounded: None,
                }],
                worker: "host-1-abc".parse().expect("a node"),
                unreported: false,
                unreported_worker: None,
            },
            Event::Fired { epoch: Epoch(Seq(4)), timer: Timer { run, kind: TimerKind::Step { step } } },
        ];
        for event in events {
            let bytes = encode(&event).expect("encodes");
            assert_eq!(decode::<Event>(&bytes).expect("decodes"), event);
        }
    }

    #[test]
    fn settled_event_without_the_unreported_fields_is_compatible_both_ways() {
        /// The event in versions without the fields `unreported` and `unreported_worker`.
        #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(rename_all = "snake_case")]
        enum Older {
            Settled { job: JobId, settlement: Settlement, attempts: Vec<AttemptRecord>, worker: NodeId },
        }
        let run = RunId::new(Partition(3), Timestamp::from_millis(9), 77);
        let job = JobId { run, step: "fetch".parse().expect("a path"), attempt: Attempt(2) };
        let settlement =
            Settlement::Done(Outcome::Output(Output { value: Payload::Inline(json!(1)), content: None }));
        let worker: NodeId = "host-1-abc".parse().expect("a node");
        let ours = |unreported| Event::Settled {
            job: job.clone(),
            settlement: settlement.clone(),
            attempts: Vec::new(),
            worker: worker.clone(),
            unreported,
            unreported_worker: unreported.then(|| worker.clone()),
        };
        let theirs = Older::Settled {
            job: job.clone(),
            settlement: settlement.clone(),
            attempts: Vec::new(),
            worker: worker.clone(),
        };
        let bytes = encode(&theirs).expect("encodes");
        assert_eq!(decode::<Event>(&bytes).expect("decodes"), ours(false));
        assert_eq!(encode(&ours(false)).expect("encodes"), bytes);
        assert_eq!(decode::<Older>(&encode(&ours(true)).expect("encodes")).expect("decodes"), theirs);
    }

    #[test]
    fn foreign_bytes_are_refused_with_a_reason() {
        assert!(matches!(decode::<Event>(b""), Err(WireError::Empty)));
        assert!(matches!(decode::<Event>(b"\x09abc"), Err(WireError::Version { found: 9 })));
        for foreign in ["\0", "\n{}", "{}", "garbage", "\u{ff}"] {
            assert!(
                matches!(decode::<Event>(foreign.as_bytes()), Err(WireError::Foreign { .. })),
                "{foreign:?}"
            );
        }
        assert!(matches!(decode::<Event>(b"\x01garbage"), Err(WireError::Malformed(_))));
    }

    #[test]
    fn joined_messages_are_decoded_in_order_and_a_malformed_one_keeps_its_index() {
        let message = |n: u8| encode(&n).expect("encodes");
        assert_eq!(join_messages(&[message(1)]), message(1));
        let bytes = join_messages(&[message(1), b"nonsense".to_vec(), message(3)]);
        assert!(matches!(decode::<u8>(&bytes), Err(WireError::Version { found: BATCH_FORMAT })));
        let messages = decode_all::<u8>(&bytes);
        assert!(
            matches!(messages.as_slice(), [Ok(1), Err(WireError::Foreign { .. }), Ok(3)]),
            "{messages:?}"
        );
        for end in 1..bytes.len() {
            let messages = decode_all::<u8>(&bytes[..end]);
            assert!(
                matches!(messages.last(), Some(Err(_)) | Some(Ok(1))) && !messages.is_empty(),
                "{end}: {messages:?}"
            );
        }
        assert!(matches!(decode_all::<u8>(&bytes[..5 + message(1).len()]).as_slice(), [Ok(1)]));
        assert!(matches!(decode_all::<u8>(b"").as_slice(), [Err(WireError::Empty)]));
        assert!(matches!(decode_all::<u8>(&[BATCH_FORMAT]).as_slice(), [Err(WireError::CutOff)]));
    }
}
