//! Messages that go to the server together: one by one, or as one atomic batch.
//!
//! A batch (ADR-50 of NATS) is stored whole or not at all, in one commit; which way a group goes is a matter of
//! [costs](super::costs). A batch is refused as a whole when one of its messages is, so a refused batch is sent again one by one: nothing of
//! it was stored, and then each message gets its own answer.

use std::future::IntoFuture;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::header::{
    NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE,
    NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
};
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, HeaderMap};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use super::costs::{Costs, Way};
use super::{Outgoing, Placed};
use crate::nats::connection::Connection;
use crate::nats::failure::{code, word};

/// How often, and how soon, to ask again while an equal message is on its way in the server.
const CLASHES: usize = 20;
const CLASH_PAUSE: Duration = Duration::from_millis(3);

/// How long to wait before the state of the connection is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Why a message was not, or may not have been, stored; shared by those that went together.
pub(super) type Refusal = Arc<PublishError>;

/// The way to the server.
#[derive(Clone)]
pub(super) struct Link {
    client: Client,
    context: Context,
    connected: watch::Receiver<u64>,
    room: Arc<Semaphore>,
    /// Batches of one process, and of different processes, are told apart by their ids.
    process: u64,
    batches: Arc<AtomicU64>,
    costs: Arc<Mutex<Costs>>,
}

/// What became of each message, in their order.
type Answers = Vec<Result<Placed, Refusal>>;

impl Link {
    pub(super) fn new(connection: &Connection) -> Self {
        Self {
            client: connection.client.clone(),
            context: connection.context.clone(),
            connected: connection.connected(),
            room: Arc::clone(&connection.room),
            process: rand::random(),
            batches: Arc::default(),
            costs: Arc::default(),
        }
    }

    /// What is sent while there is no connection may arrive with the next one, long after its sender has given up.
    pub(super) async fn wait_for_connection(&mut self) {
        while self.client.connection_state() != State::Connected {
            // The connection may have been made between the two, so the wait for it has an end.
            let _ = timeout(LOOK_AGAIN, self.connected.changed()).await;
        }
    }

    /// Waits until so many messages may be on their way. All of it is taken at once, for those that had a part of what
    /// they need could wait for each other for ever.
    pub(super) async fn reserve(&self, count: usize) -> Option<OwnedSemaphorePermit> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(count).await.ok()
    }

    /// Sends messages. What it returns waits for the answers, and no longer than the connection lasts: what was not
    /// acknowledged until then may or may not have been stored.
    pub(super) async fn send(&self, messages: Vec<Outgoing>) -> BoxFuture<'static, Answers> {
        let mut connected = self.connected.clone();
        connected.mark_unchanged();
        let count = messages.len();
        let costs = Arc::clone(&self.costs);
        let way = costs.lock().unwrap_or_else(PoisonError::into_inner).way(count);
        let started = Instant::now();
        let answers = match way {
            Way::Singly => self.send_singly(messages).await,
            Way::AsBatch => self.send_as_batch(messages).await,
        };
        Box::pin(async move {
            tokio::select! {
                answers = answers => {
                    if answers.iter().all(Result::is_ok) {
                        let mut costs = costs.lock().unwrap_or_else(PoisonError::into_inner);
                        costs.learn(way, count, started.elapsed());
                    }
                    answers
                }
                _ = connected.changed() => same(count, PublishErrorKind::BrokenPipe.into()),
            }
        })
    }

    async fn send_singly(&self, messages: Vec<Outgoing>) -> BoxFuture<'static, Answers> {
        let mut sent = Vec::with_capacity(messages.len());
        for message in messages {
            let ack = publish(&self.context, &message).await;
            sent.push(settle(self.context.clone(), message, ack));
        }
        join_all(sent).boxed()
    }

    async fn send_as_batch(&self, messages: Vec<Outgoing>) -> BoxFuture<'static, Answers> {
        let id = format!("{:016x}-{}", self.process, self.batches.fetch_add(1, Ordering::Relaxed));
        let ack = self.commit(&id, &messages).await;
        let link = self.clone();
        async move {
            let answer = match ack {
                Ok(ack) => ack.into_future().await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(ack) => places(&ack, messages.len()),
                // The server's word means that nothing was stored.
                Err(error) if word(&error).is_some() => link.send_singly(messages).await.await,
                Err(error) => same(messages.len(), error),
            }
        }
        .boxed()
    }

    /// Sends every message of a batch; the last one commits it and is the one that is acknowledged.
    async fn commit(&self, id: &str, messages: &[Outgoing]) -> Result<PublishAckFuture, PublishError> {
        let Some((last, first)) = messages.split_last() else {
            return Err(PublishErrorKind::Other.into());
        };
        for (message, number) in first.iter().zip(1_usize..) {
            let headers = headers(message, id, number);
            let sent =
                self.client.publish_with_headers(message.subject.clone(), headers, message.body.clone());
            sent.await.map_err(|error| PublishError::with_source(PublishErrorKind::BrokenPipe, error))?;
        }
        let mut headers = headers(last, id, messages.len());
        headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
        let message = PublishMessage::build().payload(last.body.clone()).headers(headers);
        self.context.send_publish(last.subject.clone(), message).await
    }
}

fn headers(message: &Outgoing, batch: &str, number: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_BATCH_ID, batch);
    headers.insert(NATS_BATCH_SEQUENCE, number.to_string());
    if message.once {
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
    }
    headers
}

async fn publish(context: &Context, message: &Outgoing) -> Result<PublishAckFuture, PublishError> {
    let mut publish = PublishMessage::build().payload(message.body.clone());
    if message.once {
        publish = publish.expected_last_subject_sequence(0);
    }
    context.send_publish(message.subject.clone(), publish).await
}

/// Waits for a message's acknowledgement; while an equal one is on its way, asks again.
async fn settle(
    context: Context,
    message: Outgoing,
    mut ack: Result<PublishAckFuture, PublishError>,
) -> Result<Placed, Refusal> {
    let mut clashes = 0;
    loop {
        let answer = match ack {
            Ok(ack) => ack.into_future().await,
            Err(error) => Err(error),
        };
        let error = match answer {
            Ok(ack) => return Ok(Placed::New(ack.sequence)),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => return Ok(Placed::Already),
            Err(error) => error,
        };
        clashes += 1;
        if code(&error) != Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT) || clashes > CLASHES {
            return Err(Arc::new(error));
        }
        sleep(CLASH_PAUSE).await;
        ack = publish(&context, &message).await;
    }
}

/// The sequences of a batch, which is stored without anything in between.
fn places(ack: &PublishAck, count: usize) -> Answers {
    let length = u64::try_from(count).unwrap_or(u64::MAX);
    if ack.batch_size != Some(length) || ack.sequence < length {
        let cause = format!("{length} messages were sent as a batch, and the server acknowledges {ack:?}");
        return same(count, PublishError::with_source(PublishErrorKind::Other, std::io::Error::other(cause)));
    }
    (ack.sequence - length + 1..=ack.sequence).map(|sequence| Ok(Placed::New(sequence))).collect()
}

fn same(count: usize, error: PublishError) -> Answers {
    let refusal = Arc::new(error);
    (0..count).map(|_| Err(Arc::clone(&refusal))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(sequence: u64, batch_size: Option<u64>) -> PublishAck {
        PublishAck { sequence, batch_size, ..PublishAck::default() }
    }

    #[test]
    fn a_batch_ends_at_the_acknowledged_sequence() {
        let placed: Result<Vec<_>, _> = places(&ack(12, Some(3)), 3).into_iter().collect();
        assert_eq!(placed.expect("stored"), [Placed::New(10), Placed::New(11), Placed::New(12)]);
    }

    #[test]
    fn an_acknowledgement_of_something_else_is_not_believed() {
        for ack in [ack(12, None), ack(12, Some(2)), ack(2, Some(3))] {
            assert!(places(&ack, 3).iter().all(Result::is_err), "{ack:?}");
        }
    }
}
