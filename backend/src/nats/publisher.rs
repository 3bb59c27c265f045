//! The one door through which a stream is published to.
//!
//! Whatever waits is gathered and sent together, and every message's acknowledgement is awaited. A [group] goes
//! pipelined or as an atomic batch, whichever [costs] less. So a single call has the latency of a single publish, and
//! many at once share what is expensive, by themselves.
//!
//! Nothing ambiguous is repeated here: a publish that may or may not have happened fails as such, and whoever asked
//! knows what repeating it means.

mod costs;
mod group;

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use self::group::{Link, Refusal};
use super::connection::Connection;
use super::failure::failed;
use crate::Error;

/// How many messages go together at most: the server's limit for an atomic batch.
const TOGETHER: usize = 1_000;

/// How many bytes go together at most, unless one call alone has more.
const TOGETHER_BYTES: usize = 4 * 1024 * 1024;

/// How many groups are on their way at once. Two keep the server busy while an answer travels; the server allows 50
/// open batches for a stream, whoever publishes.
const GROUPS: usize = 2;

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
    /// Whether it may be stored only if its subject has no message.
    pub(super) once: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Placed {
    /// It is stored, durably, at this sequence.
    New(u64),
    /// Its subject has a message.
    Already,
}

struct Call {
    messages: Vec<Outgoing>,
    answer: oneshot::Sender<Result<Vec<Placed>, Refusal>>,
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
        connection.spawn(serve(Link::new(connection), waiting));
        Self { client: connection.client.clone(), calls }
    }

    /// Publishes messages in their order and returns, in the same order, what became of them.
    pub(super) async fn publish(&self, doing: &str, messages: Vec<Outgoing>) -> Result<Vec<Placed>, Error> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        check_sizes(doing, &messages, self.client.max_payload())?;
        let (answer, answered) = oneshot::channel();
        let call = async {
            self.calls.send(Call { messages, answer }).await.ok()?;
            answered.await.ok()
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

async fn serve(mut link: Link, mut waiting: mpsc::Receiver<Call>) {
    let mut groups = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = groups.next() => {}
            call = waiting.recv(), if groups.len() < GROUPS => {
                let Some(call) = call else { break };
                let group = along(&mut groups, begin(&mut link, call, &mut waiting)).await;
                groups.push(group);
            }
        }
    }
    groups.collect::<()>().await;
}

/// Waits for something while groups go on: what it waits for may be held by them until they have ended.
async fn along<T>(
    groups: &mut FuturesUnordered<BoxFuture<'static, ()>>,
    something: impl Future<Output = T>,
) -> T {
    tokio::pin!(something);
    loop {
        tokio::select! {
            something = &mut something => return something,
            Some(()) = groups.next() => {}
        }
    }
}

/// The first call, and those that wait behind it.
fn gather(first: Call, waiting: &mut mpsc::Receiver<Call>) -> Vec<Call> {
    let size = |call: &Call| call.messages.iter().map(|message| message.body.len()).sum::<usize>();
    let (mut count, mut bytes) = (first.messages.len(), size(&first));
    let mut calls = vec![first];
    while count < TOGETHER && bytes < TOGETHER_BYTES {
        let Ok(call) = waiting.try_recv() else { break };
        count += call.messages.len();
        bytes += size(&call);
        calls.push(call);
    }
    calls
}

/// Sends the messages of some calls in their order. What it returns waits for the acknowledgements, and answers.
async fn begin(link: &mut Link, first: Call, waiting: &mut mpsc::Receiver<Call>) -> BoxFuture<'static, ()> {
    link.wait_for_connection().await;
    let calls = gather(first, waiting);
    let count: usize = calls.iter().map(|call| call.messages.len()).sum();
    // What is beyond that goes when these are acknowledged.
    let room = link.reserve(count.min(TOGETHER)).await;
    let mut messages = Vec::new();
    let mut answers = Vec::with_capacity(calls.len());
    // Whoever gave up will ask again, and then it should not be there twice.
    for call in calls.into_iter().filter(|call| !call.answer.is_closed()) {
        answers.push((call.messages.len(), call.answer));
        messages.extend(call.messages);
    }
    let link = link.clone();
    let mut rest = messages.split_off(messages.len().min(TOGETHER));
    let sent = link.send(messages).await;
    Box::pin(async move {
        let mut placed = sent.await;
        // What stands behind a message that may be missing is not sent, so that the order of a call is kept.
        while !rest.is_empty() && placed.iter().all(Result::is_ok) {
            let behind = rest.split_off(rest.len().min(TOGETHER));
            placed.extend(link.send(std::mem::replace(&mut rest, behind)).await.await);
        }
        let refusal = placed.iter().find(|answer| answer.is_err()).cloned();
        placed.extend(refusal.into_iter().cycle().take(rest.len()));
        let mut placed = placed.into_iter();
        for (count, answer) in answers {
            // Nobody may be waiting any more, which is no reason not to have published.
            let _ = answer.send(placed.by_ref().take(count).collect());
        }
        drop(room);
    })
}
