//! What is in a stream now, read from a place to its end.

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

use super::api::{ApiError, Nothing, ask};
use super::connection::{ANSWER_TIMEOUT, Connection};
use super::failure::failed;
use super::pull::{Arrived, Pull, Puller, arrived};

/// How much is read at most: a registry of 10,000 workflow versions.
const MOST: usize = 10_000;

/// How long the server keeps a consumer that could not be taken away after the scan.
const CONSUMER_IDLE: Duration = Duration::from_secs(10);

/// More than can be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "{pending} messages under {filter} are more than the {MOST} that are read: remove old ones (`nats stream purge --subject`)"
)]
struct TooMany {
    filter: String,
    pending: u64,
}

/// The answer to a request that is only carried out.
#[derive(Deserialize)]
struct Success {}

/// A message as it is stored.
pub(super) struct Stored {
    pub(super) seq: u64,
    pub(super) body: Bytes,
}

/// Reads the messages of a subject, or of many with wildcards, from a sequence on, in their order.
pub(super) async fn scan(
    connection: &Connection,
    stream: &str,
    filter: &str,
    from: u64,
) -> Result<Vec<Stored>, Error> {
    let doing = || format!("read stream {stream}");
    let name = format!("scan-{:032x}", rand::random::<u128>());
    let (puller, inbox) = Puller::open(&connection.client, stream, &name)
        .await
        .map_err(|error: SubscribeError| failed(doing(), error))?;
    let pending = begin(connection, stream, &name, filter, from).await;
    let pending = pending.map_err(|error| failed(doing(), error))?;
    let found = match usize::try_from(pending) {
        Ok(count) if count <= MOST => read(connection, stream, puller, inbox, count).await,
        // What is left out would be the newest, and that is what is asked for.
        _ => Err(Error::permanent(doing(), TooMany { filter: filter.to_owned(), pending })),
    };
    // A stream has room for a thousand consumers. One that stays goes by itself.
    let gone: Result<Success, _> =
        ask(&connection.context, format!("CONSUMER.DELETE.{stream}.{name}"), &Nothing {}).await;
    if let Err(error) = gone {
        debug!(%error, stream, "the consumer of a scan is left to its time");
    }
    found
}

/// Reads so many messages.
async fn read(
    connection: &Connection,
    stream: &str,
    puller: Puller,
    mut inbox: Subscriber,
    count: usize,
) -> Result<Vec<Stored>, Error> {
    let doing = || format!("read stream {stream}");
    let mut found = Vec::with_capacity(count);
    if count == 0 {
        return Ok(found);
    }
    puller
        .pull(0, Pull { count, bytes: None, expires: None })
        .await
        .map_err(|error| failed(doing(), error))?;
    while found.len() < count {
        match timeout(ANSWER_TIMEOUT, inbox.next()).await.map(|message| message.map(arrived)) {
            Ok(Some(Arrived::Message(message))) => {
                let message = jetstream::Message { message, context: connection.context.clone() };
                let seq = message.info().map_err(|error| Error::permanent(doing(), error))?.stream_sequence;
                found.push(Stored { seq, body: message.message.payload });
            }
            Ok(Some(Arrived::Over(_))) => break,
            Ok(Some(Arrived::Broken(reason))) => return Err(Error::transient(doing(), reason)),
            Ok(None) => return Err(Error::transient(doing(), "the connection was closed")),
            Err(_) => return Err(Error::transient(doing(), format!("no answer within {ANSWER_TIMEOUT:?}"))),
        }
    }
    Ok(found)
}

/// Makes a consumer and returns how many messages it has.
async fn begin(
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
    let request = json!({ "stream_name": stream, "config": config });
    let info: Info = ask(&connection.context, format!("CONSUMER.CREATE.{stream}.{name}"), &request).await?;
    Ok(info.num_pending)
}
