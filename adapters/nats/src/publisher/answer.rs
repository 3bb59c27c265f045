//! What the server answers to a publish, and why there may be no answer.

use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Message, PublishError, StatusCode};
use serde::Deserialize;

use super::message::Placed;
use crate::connection::ANSWER_TIMEOUT;

/// Why a message was not, or may not have been, stored.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The server says no.
    #[error("{0}")]
    Said(#[source] jetstream::Error),
    /// Nobody listens where it was sent: there is no such stream, or it has no leader at the moment.
    #[error("no stream takes it, or its leader is being elected")]
    NoStream,
    /// It may or may not have been stored.
    #[error("the connection was lost before it was acknowledged")]
    Lost,
    /// It may or may not have been stored.
    #[error("it was not acknowledged within {ANSWER_TIMEOUT:?}")]
    Late,
    /// It was not sent.
    #[error("it could not be sent: {0}")]
    Unsent(String),
    /// The answer is none that a stream gives.
    #[error("its acknowledgement cannot be understood: {0}")]
    Unreadable(String),
}

impl Refusal {
    pub(super) fn unsent(error: &PublishError) -> Self {
        Self::Unsent(error.to_string())
    }

    /// Whether an equal message is on its way in the server, so that it cannot tell yet.
    pub(super) fn is_clash(&self) -> bool {
        matches!(self, Self::Said(word) if word.error_code() == ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)
    }
}

/// An acknowledgement, or an error in its place.
#[derive(Deserialize)]
struct Body {
    error: Option<jetstream::Error>,
    #[serde(default)]
    seq: u64,
    /// Of an atomic batch: how many messages it had.
    count: Option<u64>,
}

/// What became of a message, or of the batch that it was the last of.
#[derive(Debug)]
pub(super) struct Answer {
    /// Where it stands.
    pub(super) placed: Result<Placed, Refusal>,
    /// How many messages were stored with it, if they came as a batch.
    pub(super) batch: Option<u64>,
}

/// Reads an answer.
pub(super) fn read(message: &Message) -> Answer {
    let no = |refusal| Answer { placed: Err(refusal), batch: None };
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return no(Refusal::NoStream);
    }
    match serde_json::from_slice::<Body>(&message.payload) {
        Err(error) => no(Refusal::Unreadable(error.to_string())),
        Ok(Body { error: Some(word), .. }) if word.error_code() == ErrorCode::STREAM_WRONG_LAST_SEQUENCE => {
            Answer { placed: Ok(Placed::Already), batch: None }
        }
        Ok(Body { error: Some(word), .. }) => no(Refusal::Said(word)),
        Ok(Body { seq: 0, .. }) => no(Refusal::Unreadable("it has no sequence".to_owned())),
        Ok(Body { seq, count, .. }) => Answer { placed: Ok(Placed::New(seq)), batch: count },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Answer {
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
    fn answers_say_where_a_message_stands_or_why_not() {
        let stored = answer(r#"{"stream":"LS_JOBS","seq":7}"#);
        assert!(matches!((&stored.placed, stored.batch), (Ok(Placed::New(7)), None)));
        let batch = answer(r#"{"stream":"LS_JOBS","seq":9,"batch":"b","count":3}"#);
        assert!(matches!((&batch.placed, batch.batch), (Ok(Placed::New(9)), Some(3))));
        let error =
            |code| format!(r#"{{"error":{{"code":400,"err_code":{code},"description":"no"}},"seq":0}}"#);
        assert!(matches!(answer(&error(10071)).placed, Ok(Placed::Already)));
        assert!(answer(&error(10164)).placed.is_err_and(|refusal| refusal.is_clash()));
        assert!(matches!(answer(&error(10077)).placed, Err(Refusal::Said(_))));
        for nonsense in ["", "{}", "[]", r#"{"seq":"x"}"#] {
            assert!(matches!(answer(nonsense).placed, Err(Refusal::Unreadable(_))), "{nonsense}");
        }
    }
}
