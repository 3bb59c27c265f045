//! The publisher of a stream; every message that this process publishes to the stream passes through it.
//!
//! It sends together the messages of all calls that wait, and awaits the acknowledgement of each. A [group] goes
//! pipelined or as an atomic batch, whichever [costs](crate::publish_costs) less. So a single call has the latency of a
//! single publish, and many calls at once share what is expensive.
//!
//! The publisher repeats nothing ambiguous: a publish that may or may not have happened fails as such, and the caller
//! knows what repeating it means.

mod answer;
mod call;
mod group;
mod joined;
mod message;
mod sender;

use std::time::Duration;

use longshore_ports::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use self::call::{PublishCall, TOGETHER};
use self::message::AROUND_BODY_BYTES;
pub(super) use self::message::{Manner, Outgoing, Placed};
use self::sender::Sender;
use super::connection::Connection;
use super::failure::failed;

/// How many calls wait for their turn; the next one waits for room.
const CALLS: usize = 4_096;

/// How long a call may take, with its wait. Longer than an acknowledgement takes in the worst case.
const CALL: Duration = Duration::from_secs(30);

/// Publishes messages to a stream.
pub(super) struct Publisher {
    client: async_nats::Client,
    calls: mpsc::Sender<PublishCall>,
}

impl Publisher {
    /// Starts the sender of a stream; it ends with the connection.
    pub(super) fn open(connection: &Connection) -> Self {
        let (calls, waiting) = mpsc::channel(CALLS);
        connection.spawn(Sender::new(connection, waiting).run());
        Self { client: connection.client.clone(), calls }
    }

    /// Publishes messages in their order and returns, in the same order, what became of them. What stands behind a
    /// thousand of which one may be missing is not sent, so that the order is kept.
    pub(super) async fn publish(
        &self,
        doing: &str,
        mut messages: Vec<Outgoing>,
    ) -> Result<Vec<Placed>, Error> {
        check_sizes(doing, &messages, self.client.max_payload())?;
        let mut placed = Vec::with_capacity(messages.len());
        while !messages.is_empty() {
            let behind = messages.split_off(messages.len().min(TOGETHER));
            placed.append(&mut self.call(doing, std::mem::replace(&mut messages, behind)).await?);
        }
        Ok(placed)
    }

    async fn call(&self, doing: &str, messages: Vec<Outgoing>) -> Result<Vec<Placed>, Error> {
        let (reply, result) = oneshot::channel();
        let call = async {
            self.calls.send(PublishCall { messages, reply }).await.ok()?;
            result.await.ok()
        };
        match timeout(CALL, call).await {
            Ok(Some(Ok(placed))) => Ok(placed),
            Ok(Some(Err(refusal))) => Err(failed(doing, refusal)),
            Ok(None) => Err(Error::permanent(doing, "the connection to NATS was closed by this process")),
            Err(_) => Err(Error::transient(doing, format!("NATS did not take it within {CALL:?}"))),
        }
    }
}

fn check_sizes(doing: &str, messages: &[Outgoing], allowed: usize) -> Result<(), Error> {
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
