//! The one door through which a stream is published to.
//!
//! Whatever waits is gathered and sent together, and every message's acknowledgement is awaited. A [group] goes
//! pipelined or as an atomic batch, whichever [costs] less. So a single call has the latency of a single publish, and
//! many at once share what is expensive, by themselves.
//!
//! Nothing ambiguous is repeated here: a publish that may or may not have happened fails as such, and whoever asked
//! knows what repeating it means.

mod answer;
mod costs;
mod group;
mod joined;
mod sender;

use std::time::Duration;

use bytes::Bytes;
use longshore_ports::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub(super) use self::costs::Costs;
use self::group::Told;
use self::sender::Sender;
use super::connection::Connection;
use super::failure::failed;

/// How many messages go together at most: the server's limit for an atomic batch.
const TOGETHER: usize = 1_000;

/// How many bytes go together at most, unless one call alone has more.
const TOGETHER_BYTES: usize = 4 * 1024 * 1024;

/// How many calls wait for their turn; the next one waits for room.
const CALLS: usize = 4_096;

/// How long a call may take, with its wait. Longer than an acknowledgement takes in the worst case.
const CALL: Duration = Duration::from_secs(30);

/// What a message's subject and headers take at most, beside its body. A subject has at most about 700 bytes.
const AROUND_BODY_BYTES: usize = 2 * 1024;

/// A message on its way to a stream.
#[derive(Clone)]
pub(super) struct Outgoing {
    pub(super) subject: async_nats::Subject,
    pub(super) body: Bytes,
    pub(super) manner: Manner,
}

/// How a message is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Manner {
    /// As it is.
    Alone,
    /// As it is, and only if its subject has no message.
    Once,
    /// In one message with others of its manner and subject that are published at the same time: its reader takes words
    /// that were [put together](longshore_proto::join).
    Joined,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Placed {
    /// It is stored, durably, at this sequence.
    New(u64),
    /// Its subject has a message.
    Already,
}

/// Messages that somebody wants to be published, at most [`TOGETHER`].
struct Call {
    messages: Vec<Outgoing>,
    told: oneshot::Sender<Told>,
}

impl Call {
    fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.body.len()).sum()
    }
}

/// A stream's door.
pub(super) struct Publisher {
    client: async_nats::Client,
    calls: mpsc::Sender<Call>,
}

impl Publisher {
    /// Opens the door; it closes with the connection.
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
        let (told, hears) = oneshot::channel();
        let call = async {
            self.calls.send(Call { messages, told }).await.ok()?;
            hears.await.ok()
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
