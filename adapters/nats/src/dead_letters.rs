//! Dead letters: submits that were refused and whose sender could not be answered, in a stream that keeps them for a
//! month.
//!
//! They are JSON, because operators read them with tools for NATS.

mod shares;

use async_nats::jetstream::stream::DirectGetErrorKind;
use async_trait::async_trait;
use longshore_ports::{DeadLetter, DeadLetters, Error};
use longshore_proto::{Namespace, subject};
use tokio::sync::Semaphore;

pub use self::shares::DEAD_LETTER_TRIM_PERCENT;
use self::shares::NamespaceShares;
use super::api::remove_message;
use super::connection::Connection;
use super::failure::failed;
use super::publisher::{OutgoingMessage, Publisher, StoreMode};
use super::scan::{count, scan};
use super::streams::stream_info;

/// Maximum number of dead letters of a list.
const LIST_LIMIT: u64 = 1_000;

/// Maximum number of concurrent lists. Each one has up to twice [`LIST_LIMIT`] messages of 24 KiB in memory.
const CONCURRENT_LISTS: usize = 2;

/// The stream of dead letters of a cluster.
pub(super) struct DeadLetterStream {
    connection: Connection,
    publisher: Publisher,
    shares: NamespaceShares,
    lists: Semaphore,
}

impl DeadLetterStream {
    pub(super) fn new(connection: &Connection) -> Self {
        Self {
            connection: connection.clone(),
            publisher: Publisher::open(connection),
            shares: NamespaceShares::default(),
            lists: Semaphore::new(CONCURRENT_LISTS),
        }
    }
}

#[async_trait]
impl DeadLetters for DeadLetterStream {
    async fn put(&self, dead_letter: &DeadLetter) -> Result<(), Error> {
        let doing = "store a dead letter";
        let body = serde_json::to_vec(dead_letter).map_err(|error| Error::permanent(doing, error))?;
        let subject =
            subject::dead_letter(dead_letter.namespace().as_ref(), &subject_token(&dead_letter.code)).into();
        self.shares.make_room(&self.connection, body.len()).await;
        self.publisher
            .publish(doing, vec![OutgoingMessage { subject, body: body.into(), store: StoreMode::Single }])
            .await?;
        Ok(())
    }

    async fn list(&self, namespace: Option<&Namespace>, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        let info = stream_info(&self.connection.context, subject::DEAD_LETTER_STREAM).await;
        let state = info.map_err(|error| failed("list dead letters", error))?.state;
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).min(LIST_LIMIT);
        if limit == 0 || state.messages == 0 {
            return Ok(Vec::new());
        }
        let filter = match namespace {
            Some(_) => subject::dead_letter(namespace, "*"),
            None => subject::DEAD_LETTERS.to_owned(),
        };
        // The semaphore is never closed.
        let _permit = self.lists.acquire().await;
        let from = self.start_of_list(&filter, limit, state.first_sequence, state.last_sequence).await?;
        let found = scan(&self.connection, subject::DEAD_LETTER_STREAM, &filter, from).await?;
        let newest_first = found.into_iter().rev().take(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(newest_first.filter_map(|stored| decode_dead_letter(stored.seq, &stored.body)).collect())
    }

    async fn get(&self, namespace: Option<&Namespace>, seq: u64) -> Result<Option<DeadLetter>, Error> {
        if seq == 0 {
            return Ok(None); // sequences start at one
        }
        let doing = || format!("read dead letter {seq}");
        let stream = self.connection.context.get_stream_no_info(subject::DEAD_LETTER_STREAM).await;
        match stream.map_err(|error| failed(doing(), error))?.direct_get(seq).await {
            Ok(message) => {
                let found = decode_dead_letter(seq, &message.payload);
                Ok(found.filter(|found| namespace.is_none() || found.namespace().as_ref() == namespace))
            }
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(doing(), error)),
        }
    }

    async fn remove(&self, seq: u64) -> Result<(), Error> {
        match remove_message(&self.connection.context, subject::DEAD_LETTER_STREAM, seq).await {
            Ok(()) => Ok(()),
            // The error code does not say that the message does not exist.
            Err(error) => match self.get(None, seq).await? {
                None => Ok(()),
                Some(_) => Err(failed(format!("remove dead letter {seq}"), error)),
            },
        }
    }
}

impl DeadLetterStream {
    /// Returns a sequence from which on there are at least `limit` dead letters, and at most twice as many, or the first
    /// sequence if there are fewer. Other namespaces may have most of the messages, so their number is counted and not
    /// guessed.
    async fn start_of_list(&self, filter: &str, limit: u64, first: u64, last: u64) -> Result<u64, Error> {
        let count_from = |from: u64| count(&self.connection, subject::DEAD_LETTER_STREAM, filter, from);
        let end = last.saturating_add(1);
        // Further back each time, until there are enough.
        let (mut few, mut distance) = (end, limit);
        let (mut from, mut found) = loop {
            let from = end.saturating_sub(distance).max(first);
            let found = count_from(from).await?;
            if from == first || found >= limit {
                break (from, found);
            }
            few = from;
            distance = distance.saturating_mul(4);
        };
        // Then later again, until there are not too many.
        while found > limit.saturating_mul(2) && few - from > 1 {
            let middle = from + (few - from) / 2;
            match count_from(middle).await? {
                fewer if fewer < limit => few = middle,
                counted => (from, found) = (middle, counted),
            }
        }
        Ok(from)
    }
}

/// Decodes a dead letter. Returns `None` for a message that Longshore did not write.
fn decode_dead_letter(seq: u64, body: &[u8]) -> Option<DeadLetter> {
    let dead_letter: DeadLetter = serde_json::from_slice(body).ok()?;
    Some(DeadLetter { seq, ..dead_letter })
}

/// Turns an error code into a token of a subject.
fn subject_token(code: &str) -> String {
    let token = code.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    let token: String = token.take(64).collect();
    if token.is_empty() { "unknown".to_owned() } else { token }
}
