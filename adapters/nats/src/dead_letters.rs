//! What was refused and could not be answered: a stream that forgets after a month.
//!
//! Letters are JSON, for people look at them with whatever NATS tool they have.

use async_nats::jetstream::stream::DirectGetErrorKind;
use async_trait::async_trait;
use longshore_ports::{DeadLetter, Error};
use longshore_proto::{Namespace, subject};
use serde::Deserialize;
use serde_json::json;

use super::api::ask;
use super::connection::Connection;
use super::failure::failed;
use super::publisher::{StoreMode, OutgoingMessage, Publisher};
use super::scan::scan;
use super::streams::look;

/// How many letters a list has at most.
const LONGEST_LIST: u64 = 1_000;

/// The dead letters of a cluster.
pub(super) struct DeadLetters {
    connection: Connection,
    publisher: Publisher,
}

impl DeadLetters {
    pub(super) fn new(connection: &Connection) -> Self {
        Self { connection: connection.clone(), publisher: Publisher::open(connection) }
    }
}

#[async_trait]
impl longshore_ports::DeadLetters for DeadLetters {
    async fn put(&self, letter: &DeadLetter) -> Result<(), Error> {
        let doing = "keep a dead letter";
        let body = serde_json::to_vec(letter).map_err(|error| Error::permanent(doing, error))?;
        let subject = subject::dead_letter(letter.namespace().as_ref(), &token(&letter.code)).into();
        self.publisher
            .publish(doing, vec![OutgoingMessage { subject, body: body.into(), store: StoreMode::Single }])
            .await?;
        Ok(())
    }

    async fn list(&self, namespace: Option<&Namespace>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let info = look(&self.connection.context, subject::DEAD_LETTER_STREAM).await;
        let state = info.map_err(|error| failed("list dead letters", error))?.state;
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).min(LONGEST_LIST);
        if limit == 0 || state.messages == 0 {
            return Ok(Vec::new());
        }
        let filter = match namespace {
            Some(_) => subject::dead_letter(namespace, "*"),
            None => subject::DEAD_LETTERS.to_owned(),
        };
        // Looks ever further back, until there are enough: other namespaces may have most of the letters.
        let mut window = limit;
        loop {
            let from = (state.last_sequence + 1).saturating_sub(window).max(state.first_sequence);
            let found = scan(&self.connection, subject::DEAD_LETTER_STREAM, &filter, from).await?;
            let enough = found.len() as u64 >= limit || from <= state.first_sequence;
            if enough {
                let newest_first = found.into_iter().rev().take(usize::try_from(limit).unwrap_or(usize::MAX));
                return Ok(newest_first.filter_map(|stored| letter(stored.seq, &stored.body)).collect());
            }
            window = window.saturating_mul(4);
        }
    }

    async fn get(&self, namespace: Option<&Namespace>, seq: u64) -> Result<Option<DeadLetter>, Error> {
        if seq == 0 {
            return Ok(None); // they are counted from one
        }
        let doing = || format!("read dead letter {seq}");
        let stream = self.connection.context.get_stream_no_info(subject::DEAD_LETTER_STREAM).await;
        match stream.map_err(|error| failed(doing(), error))?.direct_get(seq).await {
            Ok(message) => {
                let found = letter(seq, &message.payload);
                Ok(found.filter(|letter| namespace.is_none() || letter.namespace().as_ref() == namespace))
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(doing(), error)),
        }
    }

    async fn remove(&self, seq: u64) -> Result<(), Error> {
        let subject = format!("STREAM.MSG.DELETE.{}", subject::DEAD_LETTER_STREAM);
        let removed: Result<Removed, _> =
            ask(&self.connection.context, subject, &json!({ "seq": seq, "no_erase": true })).await;
        match removed {
            Ok(Removed {}) => Ok(()),
            // The server names no reason that is told apart from others for a message that is gone.
            Err(error) => match self.get(None, seq).await? {
                None => Ok(()),
                Some(_) => Err(failed(format!("remove dead letter {seq}"), error)),
            },
        }
    }
}

/// The answer to a removal.
#[derive(Deserialize)]
struct Removed {}

/// A letter as it was kept; nothing if somebody else put something there.
fn letter(seq: u64, body: &[u8]) -> Option<DeadLetter> {
    let letter: DeadLetter = serde_json::from_slice(body).ok()?;
    Some(DeadLetter { seq, ..letter })
}

/// A code as a token of a subject.
fn token(code: &str) -> String {
    let token = code.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' });
    let token: String = token.take(64).collect();
    if token.is_empty() { "unknown".to_owned() } else { token }
}
