//! Classifies errors of NATS for the ports: whether a retry can help, and the cause.
//!
//! A server that is away, busy or electing a leader comes back, and a full stream gets room again. A missing
//! permission, a missing stream or a message that is too large does not change by itself. Errors of the client library
//! carry the server's error somewhere in their chain of sources.

use std::error::Error as StdError;

use async_nats::jetstream::{self, ErrorCode};
use longshore_ports::{Error, ErrorCause};

use super::denials::PublishDenied;

/// Permanent errors of the server, beside those whose status is in the four hundreds.
const PERMANENT: [ErrorCode; 4] = [
    ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM,
    ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED,
    ErrorCode::JETSTREAM_NOT_ENABLED,
    ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT,
];

/// Transient errors with a status in the four hundreds: the server is storing an equal message, another batch has to
/// end first, part of a batch was lost with a connection, or the account has no room.
const TRANSIENT: [ErrorCode; 6] = [
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT,
    ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT,
    ErrorCode::ATOMIC_PUBLISH_INCOMPLETE_BATCH,
    ErrorCode::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT,
    ErrorCode::MAXIMUM_CONSUMERS_LIMIT,
];

/// Errors that mean a lack of room: a stream that is full, by bytes or by messages, or a full account or disk.
const NO_ROOM: [ErrorCode; 4] = [
    ErrorCode::STREAM_STORE_FAILED,
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
    ErrorCode::INSUFFICIENT_RESOURCES,
];

/// Status "too many requests": the server has too many messages that it has not stored yet.
const BUSY: usize = 429;

/// Returns the error of a type that is among the sources of an error.
fn among_sources<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Returns the text of an error, followed by those of its causes that it does not contain.
pub(super) fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// Turns a failed request into an error of a port. An error without the server's own is transient, and so is a missing
/// permission, which an operator can give while the process runs: a result that waits for it is not lost.
pub(super) fn failed(doing: impl Into<String>, error: impl StdError + Send + Sync + 'static) -> Error {
    if among_sources::<PublishDenied>(&error).is_some() {
        return Error::transient(doing, error).with_cause(ErrorCause::Denied);
    }
    let server_error = among_sources::<jetstream::Error>(&error);
    let is_permanent = server_error.is_some_and(is_permanent);
    let cause = server_error.and_then(cause);
    let failure = if is_permanent { Error::permanent(doing, error) } else { Error::transient(doing, error) };
    match cause {
        Some(cause) => failure.with_cause(cause),
        None => failure,
    }
}

fn cause(error: &jetstream::Error) -> Option<ErrorCause> {
    match error.error_code() {
        code if NO_ROOM.contains(&code) => Some(ErrorCause::Full),
        ErrorCode::STREAM_NOT_FOUND => Some(ErrorCause::Missing),
        // The account of another kind of user, such as that of a namespace.
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            Some(ErrorCause::Denied)
        }
        _ => None,
    }
}

fn is_permanent(error: &jetstream::Error) -> bool {
    let code = error.error_code();
    PERMANENT.contains(&code)
        || ((400..500).contains(&error.code()) && error.code() != BUSY && !TRANSIENT.contains(&code))
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::context::{PublishError, PublishErrorKind};
    use serde_json::json;

    use super::*;

    fn refused(code: u16, err_code: u16) -> Error {
        let error = json!({ "code": code, "err_code": err_code, "description": "so it is" });
        let error: jetstream::Error = serde_json::from_value(error).expect("an error of the server");
        failed("publish", PublishError::with_source(PublishErrorKind::Other, error))
    }

    #[test]
    fn error_of_the_server_decides_whether_a_retry_can_help() {
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
            let error = refused(code, err_code);
            assert_eq!(error.retryable, retryable, "{error}");
            assert!(error.to_string().contains("so it is"), "{error}");
        }
    }

    #[test]
    fn lack_of_room_is_distinguished_from_other_transient_errors() {
        assert_eq!(refused(503, 10077).cause, ErrorCause::Full);
        assert_eq!(refused(400, 10002).cause, ErrorCause::Full);
        assert_eq!(refused(503, 10008).cause, ErrorCause::Unavailable);
        assert_eq!(refused(404, 10059).cause, ErrorCause::Missing);
        assert_eq!(refused(503, 10039).cause, ErrorCause::Denied);
    }

    #[test]
    fn error_without_an_answer_is_transient() {
        assert!(failed("publish", PublishError::new(PublishErrorKind::TimedOut)).retryable);
    }
}
