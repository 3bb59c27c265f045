//! What a doctor wants to know about NATS.

use std::time::Duration;

use async_nats::jetstream::consumer;
use async_nats::jetstream::stream::Info;
use futures::TryStreamExt;
use longshore_proto::{Timestamp, subject};
use tokio::time::Instant;

use super::connection::Connection;
use super::failure::failed;
use super::streams;
use crate::{Error, clock};

/// A server, and what is on it.
#[derive(Clone, Debug)]
pub struct Status {
    /// The version of nats-server.
    pub version: String,
    /// What the server calls itself.
    pub server: String,
    /// The cluster it belongs to.
    pub cluster: Option<String>,
    /// How long a request to it took.
    pub round_trip: Duration,
    /// The streams, in the order of their names.
    pub streams: Vec<StreamStatus>,
}

/// A stream.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// Its name.
    pub name: String,
    /// How many messages it holds.
    pub messages: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// How many bytes they may take; nothing means as many as the server allows.
    pub max_bytes: Option<u64>,
    /// Retention, storage, replicas and discard policy, in one line.
    pub settings: String,
    /// Its consumers.
    pub consumers: Vec<ConsumerStatus>,
}

/// A consumer of a stream.
#[derive(Clone, Debug)]
pub struct ConsumerStatus {
    /// Its name.
    pub name: String,
    /// How many messages wait.
    pub pending: u64,
    /// How many are delivered and not acknowledged.
    pub ack_pending: usize,
    /// How many pulls wait.
    pub waiting: usize,
}

/// How much waits in a queue, or is out and not acknowledged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueueStatus {
    /// What it is a queue of: `jobs` or `submits`.
    pub name: &'static str,
    /// How many messages.
    pub messages: u64,
    /// How long the oldest of them has been there, by this machine's clock; zero if there is none.
    pub oldest: Duration,
}

/// The queues of a cluster, by what they hold.
const QUEUES: [(&str, &str); 2] = [("jobs", subject::JOBS_STREAM), ("submits", subject::SUBMIT_STREAM)];

/// Asks the server for the queues alone.
pub(super) async fn queues(connection: &Connection) -> Result<Vec<QueueStatus>, Error> {
    let mut queues = Vec::new();
    for (name, stream) in QUEUES {
        let info = streams::look(&connection.context, stream).await;
        let state = info.map_err(|error| failed(format!("look at the queue of {name}"), error))?.state;
        let first = u64::try_from(state.first_timestamp.unix_timestamp_nanos() / 1_000_000);
        let first = Timestamp::from_millis(first.unwrap_or_default());
        let oldest = if state.messages == 0 { Duration::ZERO } else { clock::now().since(first) };
        queues.push(QueueStatus { name, messages: state.messages, oldest });
    }
    Ok(queues)
}

/// Asks the server for everything of ours.
pub(super) async fn look(connection: &Connection) -> Result<Status, Error> {
    let started = Instant::now();
    connection.round_trip("look at NATS").await?;
    let round_trip = started.elapsed();
    let infos: Vec<Info> =
        connection.context.streams().try_collect().await.map_err(|error| failed("list streams", error))?;
    let mut streams = Vec::new();
    for info in infos.into_iter().filter(|info| is_ours(&info.config.name)) {
        streams.push(stream(connection, info).await?);
    }
    streams.sort_by(|one, other| one.name.cmp(&other.name));
    let server = connection.client.server_info();
    Ok(Status {
        version: server.version,
        server: server.server_name,
        cluster: server.cluster,
        round_trip,
        streams,
    })
}

fn is_ours(name: &str) -> bool {
    name.starts_with(subject::STREAM_PREFIX) || name == subject::WORKFLOWS_STREAM
}

async fn stream(connection: &Connection, info: Info) -> Result<StreamStatus, Error> {
    let config = &info.config;
    let settings = format!(
        "{:?}, {:?}, {} {}, discard {:?}",
        config.retention,
        config.storage,
        config.num_replicas,
        if config.num_replicas == 1 { "replica" } else { "replicas" },
        config.discard
    );
    let name = config.name.clone();
    let doing = format!("list the consumers of stream {name}");
    let handle = connection.context.get_stream_no_info(&name).await;
    let handle = handle.map_err(|error| failed(doing.as_str(), error))?;
    let found: Vec<_> =
        handle.consumers().try_collect().await.map_err(|error| failed(doing.as_str(), error))?;
    let mut consumers: Vec<_> = found.into_iter().map(consumer).collect();
    consumers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(StreamStatus {
        messages: info.state.messages,
        bytes: info.state.bytes,
        max_bytes: u64::try_from(config.max_bytes).ok().filter(|bytes| *bytes > 0),
        settings: settings.to_lowercase(),
        name,
        consumers,
    })
}

fn consumer(info: consumer::Info) -> ConsumerStatus {
    ConsumerStatus {
        name: info.name,
        pending: info.num_pending,
        ack_pending: info.num_ack_pending,
        waiting: info.num_waiting,
    }
}
