//! What a doctor wants to know about NATS.

use std::time::Duration;

use async_nats::jetstream::account::Account;
use async_nats::jetstream::consumer;
use async_nats::jetstream::stream::{DiscardPolicy, Info};
use futures::TryStreamExt;
use longshore_ports::{Error, clock};
use longshore_proto::{Timestamp, subject};
use tokio::time::Instant;

use super::api::{Nothing, ask};
use super::connection::Connection;
use super::failure::failed;
use super::log::percent;
use super::streams;
use super::streams::sizes::{AccountRoom, max_bytes, sized_streams};

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
    /// What the account stores, and may store.
    pub account: AccountStatus,
    /// Fullness of the fullest log, in per cent, as the admission of submits measures it: by the `max_bytes` of its stream,
    /// or by what the other streams leave all logs of the account.
    pub logs_percent: u64,
    /// The streams, in the order of their names.
    pub streams: Vec<StreamStatus>,
}

/// What an account stores in all its streams.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AccountStatus {
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes that it may have on disk; nothing if the account has no limit, and then only the disk and the server's own
    /// limit count, which a client cannot see.
    pub max_bytes: Option<u64>,
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
    /// How many messages it may hold, if there is a bound.
    pub max_messages: Option<u64>,
    /// Whether it refuses messages when it is full; otherwise it drops the oldest ones.
    pub refuses_when_full: bool,
    /// Whether one of its servers leads it: without a leader it takes and gives nothing.
    pub has_leader: bool,
    /// The servers that should have a copy and are away.
    pub replicas_away: Vec<String>,
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

/// Asks for what the account stores.
pub(super) async fn account(connection: &Connection) -> Result<AccountStatus, Error> {
    Ok(stored(&account_info(connection).await?))
}

async fn account_info(connection: &Connection) -> Result<Account, Error> {
    let account = ask(&connection.context, "INFO".to_owned(), &Nothing {}).await;
    account.map_err(|error| failed("look at the limits of the NATS account", error))
}

/// Returns what an account stores. Where it has limits by the number of copies, the fullest one counts.
fn stored(account: &Account) -> AccountStatus {
    let tiers = account.tiers.values().map(|tier| limited(tier.storage, tier.limits.max_storage));
    let whole = limited(account.storage, account.limits.max_storage);
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
        (info.map_or(0, |info| info.state.bytes), info.and_then(max_bytes), stream)
    });
    let of_all = AccountRoom::of(account, replicas).fullness_of_logs(&others.collect::<Vec<_>>());
    let of_each = logs.iter().map(|info| percent(info.state.bytes, info.config.max_bytes));
    of_each.fold(of_all, u64::max)
}

/// A limit that is not set is none, -1 or 0.
fn limited(bytes: u64, limit: Option<i64>) -> AccountStatus {
    let max_bytes = limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0);
    AccountStatus { bytes, max_bytes }
}

/// Asks for one stream, without its consumers.
pub(super) async fn one_stream(connection: &Connection, name: &str) -> Result<StreamStatus, Error> {
    let info = streams::look(&connection.context, name).await;
    Ok(described(info.map_err(|error| failed(format!("look at stream {name}"), error))?))
}

/// Asks the server for everything of ours.
pub(super) async fn look(connection: &Connection) -> Result<Status, Error> {
    let started = Instant::now();
    connection.round_trip("look at NATS").await?;
    let round_trip = started.elapsed();
    let infos: Vec<Info> =
        connection.context.streams().try_collect().await.map_err(|error| failed("list streams", error))?;
    let account = account_info(connection).await?;
    let logs_percent = fullest_log(&account, &infos);
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
        account: stored(&account),
        logs_percent,
        streams,
    })
}

fn is_ours(name: &str) -> bool {
    name.starts_with(subject::STREAM_PREFIX) || name == subject::WORKFLOWS_STREAM
}

async fn stream(connection: &Connection, info: Info) -> Result<StreamStatus, Error> {
    let mut stream = described(info);
    let doing = format!("list the consumers of stream {}", stream.name);
    let handle = connection.context.get_stream_no_info(&stream.name).await;
    let handle = handle.map_err(|error| failed(doing.as_str(), error))?;
    // A stream without a leader does not answer, and it is said that it has none.
    if stream.has_leader {
        let found: Vec<_> =
            handle.consumers().try_collect().await.map_err(|error| failed(doing.as_str(), error))?;
        stream.consumers = found.into_iter().map(consumer).collect();
        stream.consumers.sort_by(|one, other| one.name.cmp(&other.name));
    }
    Ok(stream)
}

fn described(info: Info) -> StreamStatus {
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
        // A server alone is no cluster.
        has_leader: info.cluster.as_ref().is_none_or(|cluster| cluster.leader.is_some()),
        replicas_away: replicas.iter().filter(|peer| peer.offline).map(|peer| peer.name.clone()).collect(),
        settings: settings.to_lowercase(),
        name: config.name.clone(),
        consumers: Vec::new(),
    }
}

fn consumer(info: consumer::Info) -> ConsumerStatus {
    ConsumerStatus {
        name: info.name,
        pending: info.num_pending,
        ack_pending: info.num_ack_pending,
        waiting: info.num_waiting,
    }
}
