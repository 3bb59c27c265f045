//! The state of NATS and its streams, for `longshore doctor`, metrics and readiness.

use std::time::Duration;

use async_nats::jetstream::account::Account;
use async_nats::jetstream::consumer;
use async_nats::jetstream::stream::{DiscardPolicy, Info};
use futures::TryStreamExt;
use longshore_ports::Error;
use longshore_proto::subject;
use tokio::time::Instant;

use super::api::{EmptyRequest, request};
use super::connection::Connection;
use super::failure::failed;
use super::log::percent;
use super::streams::sizes::{AccountRoom, SizedStream, sized_streams};
use super::streams::stream_info;

/// The state of a server, its account and its streams.
#[derive(Clone, Debug)]
pub struct NatsStatus {
    /// Version of nats-server.
    pub version: String,
    /// Name of the server.
    pub server: String,
    /// Name of its cluster, if it belongs to one.
    pub cluster: Option<String>,
    /// Duration of a round trip.
    pub round_trip: Duration,
    /// Used storage and storage limit of the account.
    pub account: AccountStatus,
    /// Fullness of the fullest log, in per cent, as the admission of submits measures it: by the `max_bytes` of its
    /// stream, or by what the other streams leave all logs of the account.
    pub logs_percent: u64,
    /// The streams, in the order of their names.
    pub streams: Vec<StreamStatus>,
}

/// Used storage and storage limit of an account.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AccountStatus {
    /// Bytes on disk.
    pub bytes: u64,
    /// Limit of the bytes on disk. `None` if the account has none; then only the disk and the server's own limit count,
    /// which a client cannot read.
    pub max_bytes: Option<u64>,
}

/// The state of a stream.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// Its name.
    pub name: String,
    /// Number of messages.
    pub messages: u64,
    /// Bytes of all messages.
    pub bytes: u64,
    /// Limit of the bytes. `None` means that only the limit of the account or the server counts.
    pub max_bytes: Option<u64>,
    /// Limit of the messages, if there is one.
    pub max_messages: Option<u64>,
    /// True if it refuses messages when it is full. Otherwise it drops the oldest ones.
    pub refuses_when_full: bool,
    /// True if it has a leader. Without one it neither stores nor delivers messages.
    pub has_leader: bool,
    /// Servers that should have a copy and are offline.
    pub replicas_away: Vec<String>,
    /// Retention, storage, replicas and discard policy, in one line.
    pub settings: String,
    /// Its consumers.
    pub consumers: Vec<ConsumerStatus>,
}

/// The state of a consumer.
#[derive(Clone, Debug)]
pub struct ConsumerStatus {
    /// Its name.
    pub name: String,
    /// Number of messages that wait.
    pub pending: u64,
    /// Number of messages that are delivered and not acknowledged.
    pub ack_pending: usize,
    /// Number of pull requests that wait.
    pub waiting: usize,
}

/// Reads used storage and storage limit of the account.
pub(super) async fn account(connection: &Connection) -> Result<AccountStatus, Error> {
    Ok(storage(&account_info(connection).await?))
}

async fn account_info(connection: &Connection) -> Result<Account, Error> {
    let account = request(&connection.context, "INFO".to_owned(), &EmptyRequest {}).await;
    account.map_err(|error| failed("read the limits of the NATS account", error))
}

/// Returns used storage and limit of an account. If it has limits by the number of copies (tiers), the fullest one
/// counts.
fn storage(account: &Account) -> AccountStatus {
    let tiers = account.tiers.values().map(|tier| account_status(tier.storage, tier.limits.max_storage));
    let whole = account_status(account.storage, account.limits.max_storage);
    let percent = |status: &AccountStatus| {
        status.max_bytes.map_or(0, |most| status.bytes.saturating_mul(100).checked_div(most).unwrap_or(0))
    };
    tiers.fold(whole, |fullest, tier| if percent(&tier) > percent(&fullest) { tier } else { fullest })
}

/// Returns the fullness of the fullest log, in per cent.
fn fullest_log(account: &Account, infos: &[Info]) -> u64 {
    let is_log = |info: &&Info| info.config.name.starts_with(subject::LOG_STREAM_PREFIX);
    let logs: Vec<&Info> = infos.iter().filter(is_log).collect();
    let replicas = logs.iter().map(|info| info.config.num_replicas).max().unwrap_or(1);
    let others = sized_streams().map(|stream| {
        let info = infos.iter().find(|info| info.config.name == stream);
        info.map_or(SizedStream { name: stream, bytes: 0, max_bytes: None }, |info| {
            SizedStream::of(stream, info)
        })
    });
    let of_all = AccountRoom::of(account, replicas).fullness_of_logs(&others.collect::<Vec<_>>());
    let of_each = logs.iter().map(|info| percent(info.state.bytes, info.config.max_bytes));
    of_each.fold(of_all, u64::max)
}

/// Returns a status. A limit of -1 or 0 means that there is none.
fn account_status(bytes: u64, limit: Option<i64>) -> AccountStatus {
    let max_bytes = limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0);
    AccountStatus { bytes, max_bytes }
}

/// Reads the state of one stream, without its consumers.
pub(super) async fn one_stream(connection: &Connection, name: &str) -> Result<StreamStatus, Error> {
    let info = stream_info(&connection.context, name).await;
    Ok(stream_status(info.map_err(|error| failed(format!("read stream {name}"), error))?))
}

/// Reads the state of the server, the account and the streams of Longshore.
pub(super) async fn read(connection: &Connection) -> Result<NatsStatus, Error> {
    let started = Instant::now();
    connection.round_trip("read the state of NATS").await?;
    let round_trip = started.elapsed();
    let infos: Vec<Info> =
        connection.context.streams().try_collect().await.map_err(|error| failed("list streams", error))?;
    let account = account_info(connection).await?;
    let logs_percent = fullest_log(&account, &infos);
    let mut streams = Vec::new();
    for info in infos.into_iter().filter(|info| is_of_longshore(&info.config.name)) {
        streams.push(with_consumers(connection, info).await?);
    }
    streams.sort_by(|one, other| one.name.cmp(&other.name));
    let server = connection.client.server_info();
    Ok(NatsStatus {
        version: server.version,
        server: server.server_name,
        cluster: server.cluster,
        round_trip,
        account: storage(&account),
        logs_percent,
        streams,
    })
}

fn is_of_longshore(name: &str) -> bool {
    name.starts_with(subject::STREAM_PREFIX) || name == subject::WORKFLOWS_STREAM
}

async fn with_consumers(connection: &Connection, info: Info) -> Result<StreamStatus, Error> {
    let mut stream = stream_status(info);
    let doing = format!("list the consumers of stream {}", stream.name);
    let handle = connection.context.get_stream_no_info(&stream.name).await;
    let handle = handle.map_err(|error| failed(doing.as_str(), error))?;
    // A stream without a leader does not answer; `has_leader` reports that.
    if stream.has_leader {
        let found: Vec<_> =
            handle.consumers().try_collect().await.map_err(|error| failed(doing.as_str(), error))?;
        stream.consumers = found.into_iter().map(consumer_status).collect();
        stream.consumers.sort_by(|one, other| one.name.cmp(&other.name));
    }
    Ok(stream)
}

fn stream_status(info: Info) -> StreamStatus {
    let config = &info.config;
    let settings = format!(
        "{:?}, {:?}, {} {}, discard {:?}",
        config.retention,
        config.storage,
        config.num_replicas,
        if config.num_replicas == 1 { "replica" } else { "replicas" },
        config.discard
    );
    let replicas = info.cluster.as_ref().map(|cluster| cluster.replicas.as_slice()).unwrap_or_default();
    StreamStatus {
        messages: info.state.messages,
        bytes: info.state.bytes,
        max_bytes: u64::try_from(config.max_bytes).ok().filter(|bytes| *bytes > 0),
        max_messages: u64::try_from(config.max_messages).ok().filter(|messages| *messages > 0),
        refuses_when_full: config.discard == DiscardPolicy::New,
        // A single server reports no cluster.
        has_leader: info.cluster.as_ref().is_none_or(|cluster| cluster.leader.is_some()),
        replicas_away: replicas.iter().filter(|peer| peer.offline).map(|peer| peer.name.clone()).collect(),
        settings: settings.to_lowercase(),
        name: config.name.clone(),
        consumers: Vec::new(),
    }
}

fn consumer_status(info: consumer::Info) -> ConsumerStatus {
    ConsumerStatus {
        name: info.name,
        pending: info.num_pending,
        ack_pending: info.num_ack_pending,
        waiting: info.num_waiting,
    }
}
