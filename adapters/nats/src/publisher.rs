//! The publisher of a stream. Every message that this process publishes to the stream passes through it.
//!
//! It sends the messages of all waiting calls together and awaits the acknowledgement of each. A [group] goes as single
//! pipelined messages or as an atomic batch, see [`batch`](super::batch). A single call has the latency of a single
//! publish, and many calls at once share what is expensive.
//!
//! The publisher repeats nothing ambiguous: a publish that may or may not have happened fails, and the caller knows
//! what repeating it means.

mod ack;
mod call;
mod group;
mod merge;
mod message;
mod sender;

use std::time::Duration;

use longshore_ports::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use self::call::{GROUP_MESSAGES, PublishCall};
use self::message::AROUND_BODY_BYTES;
pub(super) use self::message::{OutgoingMessage, PublishOutcome, StoreMode};
use self::sender::StreamSender;
use super::batch::{BatchChoice, BatchSetting};
use super::connection::Connection;
use super::failure::failed;

/// Calls that wait to be sent. The next caller waits for room.
const WAITING_CALLS: usize = 4_096;

/// Time limit of a call, with its wait. Longer than an acknowledgement takes in the worst case.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Publishes messages to a stream.
pub(super) struct Publisher {
    client: async_nats::Client,
    calls: mpsc::Sender<PublishCall>,
}

impl Publisher {
    /// Starts the sender of a stream that takes single messages only. It ends with the connection.
    pub(super) fn open(connection: &Connection) -> Self {
        Self::with_batches(connection, BatchChoice::new(BatchSetting::Never))
    }

    /// Starts the sender of a stream that also takes atomic batches.
    pub(super) fn with_batches(connection: &Connection, choice: BatchChoice) -> Self {
        let (calls, waiting) = mpsc::channel(WAITING_CALLS);
        connection.spawn(StreamSender::new(connection, waiting, choice).run());
        Self { client: connection.client.clone(), calls }
    }

    /// Publishes messages in their order and returns the outcome of each, in the same order. After every thousand
    /// messages it waits for all acknowledgements and stops at a failure, so that a missing message never precedes a
    /// stored one.
    pub(super) async fn publish(
        &self,
        doing: &str,
        mut messages: Vec<OutgoingMessage>,
    ) -> Result<Vec<PublishOutcome>, Error> {
        check_sizes(doing, &messages, self.client.max_payload())?;
        let mut outcomes = Vec::with_capacity(messages.len());
        while !messages.is_empty() {
            let rest = messages.split_off(messages.len().min(GROUP_MESSAGES));
            outcomes.append(&mut self.call(doing, std::mem::replace(&mut messages, rest)).await?);
        }
        Ok(outcomes)
    }

    async fn call(&self, doing: &str, messages: Vec<OutgoingMessage>) -> Result<Vec<PublishOutcome>, Error> {
        let (reply, result) = oneshot::channel();
        let call = async {
            self.calls.send(PublishCall { messages, reply }).await.ok()?;
            result.await.ok()
        };
        match timeout(CALL_LIMIT, call).await {
            Ok(Some(Ok(outcomes))) => Ok(outcomes),
            Ok(Some(Err(failure))) => Err(failed(doing, failure)),
            Ok(None) => Err(Error::permanent(doing, "the connection to NATS was closed by this process")),
            Err(_) => Err(Error::transient(doing, format!("NATS did not take it within {CALL_LIMIT:?}"))),
        }
    }
}

fn check_sizes(doing: &str, messages: &[OutgoingMessage], allowed: usize) -> Result<(), Error> {
    let largest = messages.iter().map(|message| message.body.len()).max().unwrap_or_default();
    if largest + AROUND_BODY_BYTES <= allowed {
        return Ok(());
    }
    let refusal = format!(
        "a message of {largest} bytes does not fit into the {allowed} that the server takes: keep large values as \
         blobs, or raise `max_payload` of nats-server"
    );
    Err(Error::permanent(doing, refusal))
}
