//! Acknowledgements of publishes, and the reasons why there is none.

use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Message, PublishError, StatusCode};
use serde::Deserialize;

use super::message::PublishOutcome;
use crate::connection::ANSWER_TIMEOUT;
use crate::denials::PublishDenied;

/// The reason why a message was not, or may not have been, stored.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum PublishFailure {
    /// The server refused the message.
    #[error("{0}")]
    Refused(#[source] jetstream::Error),
    /// The server denied the message.
    #[error("{0}")]
    Denied(#[source] PublishDenied),
    /// No stream listens on the subject: it does not exist, or it has no leader at the moment.
    #[error("no stream takes it, or its leader is being elected")]
    NoStream,
    /// The connection was lost first, so the message may or may not have been stored.
    #[error("the connection was lost before it was acknowledged")]
    ConnectionLost,
    /// The acknowledgement is overdue, so the message may or may not have been stored.
    #[error("it was not acknowledged within {ANSWER_TIMEOUT:?}")]
    TimedOut,
    /// The client library did not send the message.
    #[error("it could not be sent: {0}")]
    NotSent(String),
    /// The answer is not one that a stream gives.
    #[error("its acknowledgement cannot be understood: {0}")]
    InvalidAck(String),
}

impl PublishFailure {
    pub(super) fn not_sent(error: &PublishError) -> Self {
        Self::NotSent(error.to_string())
    }

    /// Returns true if the server is still storing a message with the same subject, so that it cannot decide yet
    /// whether the condition of this one holds.
    pub(super) fn is_in_flight_conflict(&self) -> bool {
        matches!(self, Self::Refused(error) if error.error_code() == ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)
    }
}

/// The body of an acknowledgement, or of an error in its place.
#[derive(Deserialize)]
struct AckBody {
    error: Option<jetstream::Error>,
    #[serde(default)]
    seq: u64,
    /// Messages of the atomic batch that is acknowledged.
    count: Option<u64>,
}

/// The server's answer to a message, or to the batch that the message was the last of.
#[derive(Debug)]
pub(super) struct PublishAck {
    pub(super) outcome: Result<PublishOutcome, PublishFailure>,
    /// Messages that were stored with it, if they came as a batch.
    pub(super) batch: Option<u64>,
}

/// Reads the answer to a publish.
pub(super) fn read(message: &Message) -> PublishAck {
    let failure = |failure| PublishAck { outcome: Err(failure), batch: None };
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return failure(PublishFailure::NoStream);
    }
    match serde_json::from_slice::<AckBody>(&message.payload) {
        Err(error) => failure(PublishFailure::InvalidAck(error.to_string())),
        Ok(AckBody { error: Some(error), .. })
            if error.error_code() == ErrorCode::STREAM_WRONG_LAST_SEQUENCE =>
        {
            PublishAck { outcome: Ok(PublishOutcome::AlreadyPresent), batch: None }
        }
        Ok(AckBody { error: Some(error), .. }) => failure(PublishFailure::Refused(error)),
        Ok(AckBody { seq: 0, .. }) => failure(PublishFailure::InvalidAck("it has no sequence".to_owned())),
        Ok(AckBody { seq, count, .. }) => {
            PublishAck { outcome: Ok(PublishOutcome::Stored(seq)), batch: count }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(body: &str) -> PublishAck {
        read(&Message {
            subject: "inbox.1".into(),
            reply: None,
            payload: body.to_owned().into(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        })
    }

    #[test]
    fn ack_gives_the_sequence_or_the_reason_of_the_failure() {
        let stored = ack(r#"{"stream":"LS_JOBS","seq":7}"#);
        assert!(matches!((&stored.outcome, stored.batch), (Ok(PublishOutcome::Stored(7)), None)));
        let batch = ack(r#"{"stream":"LS_JOBS","seq":9,"batch":"b","count":3}"#);
        assert!(matches!((&batch.outcome, batch.batch), (Ok(PublishOutcome::Stored(9)), Some(3))));
        let error =
            |code| format!(r#"{{"error":{{"code":400,"err_code":{code},"description":"no"}},"seq":0}}"#);
        assert!(matches!(ack(&error(10071)).outcome, Ok(PublishOutcome::AlreadyPresent)));
        assert!(ack(&error(10164)).outcome.is_err_and(|failure| failure.is_in_flight_conflict()));
        assert!(matches!(ack(&error(10077)).outcome, Err(PublishFailure::Refused(_))));
        for nonsense in ["", "{}", "[]", r#"{"seq":"x"}"#] {
            assert!(matches!(ack(nonsense).outcome, Err(PublishFailure::InvalidAck(_))), "{nonsense}");
        }
    }
}
