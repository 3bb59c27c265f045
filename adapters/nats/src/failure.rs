//! Whether it can help to ask NATS again.
//!
//! A server that is away, busy or choosing a leader comes back, and so does room in a stream; what is not allowed, not
//! there or too large stays so. Errors of the client library carry the server's own word somewhere in their chain.

use std::error::Error as StdError;

use async_nats::jetstream::{self, ErrorCode};
use longshore_ports::{Error, ErrorCause};

/// Words of the server that will not change by asking again, beside those with a code in the four hundreds.
const FOR_GOOD: [ErrorCode; 4] = [
    ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM,
    ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED,
    ErrorCode::JETSTREAM_NOT_ENABLED,
    ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT,
];

/// Words with a code in the four hundreds that pass: an equal publish is on its way, another batch has to end first,
/// part of a batch was lost with a connection, or the account has no room.
const PASSING: [ErrorCode; 6] = [
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT,
    ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT,
    ErrorCode::ATOMIC_PUBLISH_INCOMPLETE_BATCH,
    ErrorCode::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT,
    ErrorCode::MAXIMUM_CONSUMERS_LIMIT,
];

/// Words about a lack of room: a stream that is full, by bytes or by messages, or an account or a disk that is.
const NO_ROOM: [ErrorCode; 4] = [
    ErrorCode::STREAM_STORE_FAILED,
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
    ErrorCode::INSUFFICIENT_RESOURCES,
];

/// Too many requests: the server's own bound on what it has not stored yet.
const BUSY: usize = 429;

/// The server's own word, if the error carries one.
fn word<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a jetstream::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(word) = error.downcast_ref() {
            return Some(word);
        }
        next = error.source();
    }
    None
}

/// What a failed request means for whoever asked.
pub(super) fn failed(doing: impl Into<String>, error: impl StdError + Send + Sync + 'static) -> Error {
    let word = word(&error);
    let for_good = word.is_some_and(is_for_good);
    let cause = word.and_then(cause);
    let failure = if for_good { Error::permanent(doing, error) } else { Error::transient(doing, error) };
    match cause {
        Some(cause) => failure.with_cause(cause),
        None => failure,
    }
}

/// Returns the cause that the server's own word names.
fn cause(word: &jetstream::Error) -> Option<ErrorCause> {
    match word.error_code() {
        code if NO_ROOM.contains(&code) => Some(ErrorCause::Full),
        ErrorCode::STREAM_NOT_FOUND => Some(ErrorCause::Missing),
        _ => None,
    }
}

fn is_for_good(word: &jetstream::Error) -> bool {
    let code = word.error_code();
    FOR_GOOD.contains(&code)
        || ((400..500).contains(&word.code()) && word.code() != BUSY && !PASSING.contains(&code))
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::context::{PublishError, PublishErrorKind};
    use serde_json::json;

    use super::*;

    fn said(code: u16, err_code: u16) -> Error {
        let word = json!({ "code": code, "err_code": err_code, "description": "so it is" });
        let word: jetstream::Error = serde_json::from_value(word).expect("a word");
        failed("publish", PublishError::with_source(PublishErrorKind::Other, word))
    }

    #[test]
    fn the_servers_word_decides() {
        let cases = [
            (503, 10077, true), // full
            (503, 10008, true), // no leader yet
            (429, 10167, true),
            (400, 10164, true),
            (400, 10002, true),  // the account is full
            (400, 10054, false), // too large
            (503, 10076, false), // no JetStream at all
            (404, 10059, false), // no such stream
            (403, 10000, false),
        ];
        for (code, err_code, retryable) in cases {
            let error = said(code, err_code);
            assert_eq!(error.retryable, retryable, "{error}");
            assert!(error.to_string().contains("so it is"), "{error}");
        }
    }

    #[test]
    fn a_lack_of_room_is_told_from_other_things_that_pass() {
        assert_eq!(said(503, 10077).cause, ErrorCause::Full);
        assert_eq!(said(400, 10002).cause, ErrorCause::Full);
        assert_eq!(said(503, 10008).cause, ErrorCause::Unavailable);
        assert_eq!(said(404, 10059).cause, ErrorCause::Missing);
    }

    #[test]
    fn without_a_word_it_may_work_later() {
        assert!(failed("publish", PublishError::new(PublishErrorKind::TimedOut)).retryable);
    }
}
