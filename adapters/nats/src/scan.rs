//! Reads or counts all messages that a stream holds now, from a sequence to its end.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Config, DeliverPolicy, Info};
use async_nats::{SubscribeError, Subscriber, jetstream};
use bytes::Bytes;
use futures::StreamExt;
use longshore_ports::Error;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;
use tracing::debug;

use super::api::{ApiError, EmptyRequest, request};
use super::connection::{ANSWER_TIMEOUT, Connection};
use super::failure::failed;
use super::pull::{InboxMessage, PullClient, PullRequest};

/// Maximum number of messages that a scan reads: a registry of 10,000 workflow versions.
const SCAN_LIMIT: usize = 10_000;

/// Time that the server keeps a consumer that could not be deleted after the scan.
const CONSUMER_IDLE: Duration = Duration::from_secs(10);

/// The error of a scan that would read more than [`SCAN_LIMIT`] messages.
#[derive(Debug, thiserror::Error)]
#[error(
    "{pending} messages under {filter} are more than the {SCAN_LIMIT} that are read: remove old ones (`nats stream purge --subject`)"
)]
struct TooManyMessages {
    filter: String,
    pending: u64,
}

/// The answer to the deletion of a consumer.
#[derive(Deserialize)]
struct ConsumerDeleted {}

/// A message of a stream.
pub(super) struct StoredMessage {
    pub(super) seq: u64,
    pub(super) subject: String,
    pub(super) body: Bytes,
}

/// Reads the messages whose subject matches `filter`, from sequence `from` on, in their order.
pub(super) async fn scan(
    connection: &Connection,
    stream: &str,
    filter: &str,
    from: u64,
) -> Result<Vec<StoredMessage>, Error> {
    let doing = || format!("read stream {stream}");
    let name = format!("scan-{:032x}", rand::random::<u128>());
    let (client, inbox) = PullClient::open(&connection.client, stream, &name)
        .await
        .map_err(|error: SubscribeError| failed(doing(), error))?;
    let pending = create_consumer(connection, stream, &name, filter, from).await;
    let pending = pending.map_err(|error| failed(doing(), error))?;
    let messages = match usize::try_from(pending) {
        Ok(count) if count <= SCAN_LIMIT => read(connection, stream, client, inbox, count).await,
        // The first messages alone are of no use: callers want the newest ones.
        _ => Err(Error::permanent(doing(), TooManyMessages { filter: filter.to_owned(), pending })),
    };
    delete_consumer(connection, stream, &name).await;
    messages
}

/// Counts the messages whose subject matches `filter`, from sequence `from` on.
pub(super) async fn count(
    connection: &Connection,
    stream: &str,
    filter: &str,
    from: u64,
) -> Result<u64, Error> {
    let name = format!("count-{:032x}", rand::random::<u128>());
    let pending = create_consumer(connection, stream, &name, filter, from).await;
    let pending = pending.map_err(|error| failed(format!("read stream {stream}"), error))?;
    delete_consumer(connection, stream, &name).await;
    Ok(pending)
}

/// Deletes the consumer of a scan. A stream has room for a thousand consumers, and one that cannot be deleted expires.
async fn delete_consumer(connection: &Connection, stream: &str, name: &str) {
    let deleted: Result<ConsumerDeleted, _> =
        request(&connection.context, format!("CONSUMER.DELETE.{stream}.{name}"), &EmptyRequest {}).await;
    if let Err(error) = deleted {
        debug!(%error, stream, "cannot delete the consumer of a scan; it expires");
    }
}

/// Reads `count` messages, or fewer if some were removed meanwhile.
async fn read(
    connection: &Connection,
    stream: &str,
    client: PullClient,
    mut inbox: Subscriber,
    count: usize,
) -> Result<Vec<StoredMessage>, Error> {
    let doing = || format!("read stream {stream}");
    let mut messages = Vec::with_capacity(count);
    if count == 0 {
        return Ok(messages);
    }
    client
        .pull(0, PullRequest { count, bytes: None, expires: None })
        .await
        .map_err(|error| failed(doing(), error))?;
    while messages.len() < count {
        match timeout(ANSWER_TIMEOUT, inbox.next()).await.map(|message| message.map(InboxMessage::from_nats))
        {
            Ok(Some(InboxMessage::Message(message))) => {
                let message = jetstream::Message { message, context: connection.context.clone() };
                let seq = message.info().map_err(|error| Error::permanent(doing(), error))?.stream_sequence;
                let subject = message.message.subject.to_string();
                messages.push(StoredMessage { seq, subject, body: message.message.payload });
            }
            Ok(Some(InboxMessage::PullEnded(_))) => break,
            Ok(Some(InboxMessage::ConsumerError(reason))) => return Err(Error::transient(doing(), reason)),
            Ok(None) => return Err(Error::transient(doing(), "the connection was closed")),
            Err(_) => return Err(Error::transient(doing(), format!("no answer within {ANSWER_TIMEOUT:?}"))),
        }
    }
    Ok(messages)
}

/// Creates a consumer and returns the number of its messages.
async fn create_consumer(
    connection: &Connection,
    stream: &str,
    name: &str,
    filter: &str,
    from: u64,
) -> Result<u64, ApiError> {
    let config = Config {
        name: Some(name.to_owned()),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.max(1) },
        ack_policy: AckPolicy::None,
        filter_subject: filter.to_owned(),
        inactive_threshold: CONSUMER_IDLE,
        memory_storage: true,
        num_replicas: 1,
        ..Config::default()
    };
    let body = json!({ "stream_name": stream, "config": config });
    let create = format!("CONSUMER.CREATE.{stream}.{name}");
    let info: Info = request(&connection.context, create, &body).await?;
    Ok(info.num_pending)
}
