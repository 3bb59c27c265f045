//! How words are written down: one byte of format version, then MessagePack with named fields.
//!
//! Named fields cost some bytes and buy evolution: a reader skips fields it does not know and fills in the ones
//! that are missing. A change that this cannot carry raises [`FORMAT_VERSION`].

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format of a word, as this code writes and reads it.
pub const FORMAT_VERSION: u8 = 1;

/// The newest format this code reads.
pub const NEWEST_FORMAT: u8 = SEVERAL;

/// The format of what was written together: words, each after its length. What knows only single words takes it for a
/// newer format, and passes nothing over.
const SEVERAL: u8 = 2;

/// How long a length is, written.
const LENGTH_BYTES: usize = 4;

/// The newest format that there may be some day. What begins with a greater byte was not written by any version of
/// longshore: text begins with the code of a character, from the line feed, which is 10, upwards.
const FORMAT_VERSIONS_END: u8 = 9;

/// Why bytes are not a word.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Nothing there.
    #[error("empty message")]
    Empty,
    /// Written by newer code.
    #[error("format version {found}, which this version of longshore cannot read here: upgrade it")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// Written by something else.
    #[error("not a message of longshore: it begins with the byte {found}, which is no format version")]
    Foreign {
        /// The first byte.
        found: u8,
    },
    /// Not MessagePack, or not this word.
    #[error("malformed message: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// Words that were written together, and some of their bytes are missing.
    #[error("its end is missing")]
    CutOff,
    /// A value that MessagePack cannot hold.
    #[error("cannot be encoded: {0}")]
    Unencodable(#[from] rmp_serde::encode::Error),
}

/// Writes a word.
pub fn encode<T: Serialize>(word: &T) -> Result<Vec<u8>, WireError> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.push(FORMAT_VERSION);
    rmp_serde::encode::write_named(&mut bytes, word)?;
    Ok(bytes)
}

/// What most words take, written: a buffer that need not grow saves copying it several times.
const USUAL_BYTES: usize = 512;

/// Puts words that were written one by one together; a single one stays as it is.
pub fn join_messages<B: AsRef<[u8]>>(words: &[B]) -> Vec<u8> {
    if let [word] = words {
        return word.as_ref().to_vec();
    }
    let length: usize = words.iter().map(|word| LENGTH_BYTES + word.as_ref().len()).sum();
    let mut bytes = Vec::with_capacity(1 + length);
    bytes.push(SEVERAL);
    for word in words {
        // Whatever carries words bounds them to far below four gigabytes.
        let length = u32::try_from(word.as_ref().len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(word.as_ref());
    }
    bytes
}

/// Reads a word, or words that were [put together](join_messages). One that cannot be read keeps its place among them; what
/// comes after bytes that are missing is lost with them.
pub fn decode_all<T: DeserializeOwned>(bytes: &[u8]) -> Vec<Result<T, WireError>> {
    let Some((&SEVERAL, mut rest)) = bytes.split_first() else { return vec![decode(bytes)] };
    let mut words = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<LENGTH_BYTES>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((word, behind)) = behind.split_at_checked(length) else { break };
        words.push(decode(word));
        rest = behind;
    }
    if !rest.is_empty() || words.is_empty() {
        words.push(Err(WireError::CutOff));
    }
    words
}

/// Reads a word.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let (version, body) = bytes.split_first().ok_or(WireError::Empty)?;
    match *version {
        FORMAT_VERSION => Ok(rmp_serde::from_slice(body)?),
        found if found > FORMAT_VERSION && found <= FORMAT_VERSIONS_END => Err(WireError::Version { found }),
        found => Err(WireError::Foreign { found }),
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
    fn a_report_of_a_version_that_knows_no_silence_is_read_and_reads_ours() {
        /// As it was before it could say so.
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
    fn garbage_is_refused_with_a_reason() {
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
    fn words_put_together_come_back_in_their_order_and_a_bad_one_keeps_its_place() {
        let word = |n: u8| encode(&n).expect("encodes");
        assert_eq!(join_messages(&[word(1)]), word(1));
        let bytes = join_messages(&[word(1), b"nonsense".to_vec(), word(3)]);
        assert!(matches!(decode::<u8>(&bytes), Err(WireError::Version { found: SEVERAL })));
        let words = decode_all::<u8>(&bytes);
        assert!(matches!(words.as_slice(), [Ok(1), Err(WireError::Foreign { .. }), Ok(3)]), "{words:?}");
        for end in 1..bytes.len() {
            let words = decode_all::<u8>(&bytes[..end]);
            assert!(
                matches!(words.last(), Some(Err(_)) | Some(Ok(1))) && !words.is_empty(),
                "{end}: {words:?}"
            );
        }
        assert!(matches!(decode_all::<u8>(&bytes[..5 + word(1).len()]).as_slice(), [Ok(1)]));
        assert!(matches!(decode_all::<u8>(b"").as_slice(), [Err(WireError::Empty)]));
        assert!(matches!(decode_all::<u8>(&[SEVERAL]).as_slice(), [Err(WireError::CutOff)]));
    }
}
