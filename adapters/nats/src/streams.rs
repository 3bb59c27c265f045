//! Creation and verification of the streams of a cluster.
//!
//! A missing stream is created, and an existing one is verified: another retention or storage would silently break what
//! Longshore promises. Settings that an operator may tune (bytes, placement, compression) are not verified.
//! [Sizes](sizes) grow with the account.

pub(super) mod created;
pub(super) mod definitions;
pub(super) mod replaced_queue;
pub(super) mod restore;
pub(super) mod sizes;
mod verification;

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::account::Account;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config, Info};
use async_nats::jetstream::{Context, ErrorCode};
use futures::{StreamExt, TryStreamExt, stream};
use longshore_ports::Error;
use longshore_ports::retry::retry_until;
use longshore_proto::subject;
use serde_json::json;
use tokio::time::Instant;
use tracing::{debug, info};

use self::created::CreatedStreams;
use self::definitions::{INCARNATION, definitions};
use self::sizes::{AccountRoom, LEAST_BYTES, SHRINK_FACTOR, should_grow};
use self::verification::check;
use super::api::{ApiError, EmptyRequest, request};
use super::config::NatsConfig;
use super::error::ConnectError;
use super::failure::failed;

/// Streams that are created or verified at the same time.
const CONCURRENT: usize = 8;

/// Time limit for one answer while streams are created. A stream with three copies takes a second or two on busy
/// servers, and a request that reaches no leader is never answered.
const ANSWER_AT_START: Duration = Duration::from_secs(4);

/// Errors that are transient while servers start and several processes create the same streams: the stream does not
/// exist yet, was just created by another process, has not enough servers yet, or its leader has not caught up.
const TRANSIENT_AT_START: [ErrorCode; 4] = [
    ErrorCode::STREAM_NOT_FOUND,
    ErrorCode::STREAM_NAME_EXIST,
    ErrorCode::CLUSTER_NO_PEERS,
    ErrorCode::INSUFFICIENT_RESOURCES,
];

/// The numbers that the set of streams follows from.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamLayout {
    /// Number of partitions, each of which has a log.
    pub(super) partitions: u16,
    /// Number of copies of each stream.
    pub(super) replicas: usize,
}

impl StreamLayout {
    pub(super) const fn of(config: &NatsConfig) -> Self {
        Self { partitions: config.partitions, replicas: config.replicas }
    }
}

/// Creates missing streams and verifies existing ones. Several processes may do so at once, and servers that are just
/// starting may not be ready: transient errors are retried until the deadline. Records in `created` the streams that
/// this process created, also if it fails.
pub(super) async fn ensure(
    context: &Context,
    layout: StreamLayout,
    deadline: Instant,
    created: &CreatedStreams,
) -> Result<(), ConnectError> {
    // No server answers during an election, so a lost request is repeated sooner than by default.
    let impatient = ContextBuilder::new().timeout(ANSWER_AT_START).build(context.client());
    until_deadline(deadline, "make the streams", || ensure_all(&impatient, layout, created)).await
}

/// Repeats an attempt until it succeeds, fails for good, or the deadline is over.
async fn until_deadline<T, F>(
    deadline: Instant,
    doing: &str,
    attempt: impl Fn() -> F,
) -> Result<T, ConnectError>
where
    F: Future<Output = Result<T, ConnectError>>,
{
    let is_transient = |error: &ConnectError| matches!(error, ConnectError::Other(error) if error.retryable);
    let late = || Error::transient(doing, "JetStream did not answer before the deadline").into();
    let result = retry_until(doing, deadline, attempt, is_transient).await;
    result.map_err(|error| error.unwrap_or_else(late))
}

async fn ensure_all(
    context: &Context,
    layout: StreamLayout,
    created: &CreatedStreams,
) -> Result<(), ConnectError> {
    let StreamLayout { partitions, replicas } = layout;
    check_partitions(context, partitions).await?;
    let account: Account = request(context, "INFO".to_owned(), &EmptyRequest {})
        .await
        .map_err(|error| start_error("read the limits of the account", error))?;
    let room = AccountRoom::of(&account, replicas);
    let mut needed = definitions(partitions, replicas).into_iter();
    // First the stream with the number of partitions, so that a process with another number creates none.
    if let Some(first) = needed.next() {
        ensure_one(context, first, room, created).await?;
    }
    // Streams with a size come before the logs, one after the other: each reserves most of the server's room for a
    // moment.
    let (sized, others): (Vec<_>, Vec<_>) = needed.partition(|config| room.size(&config.name).is_some());
    for config in sized {
        ensure_one(context, config, room, created).await?;
    }
    let each = others.into_iter().map(|config| ensure_one(context, config, room, created));
    stream::iter(each).buffer_unordered(CONCURRENT).try_collect::<()>().await
}

/// Refuses a cluster with more logs than this process has partitions, because their runs would never continue. The
/// stream with the number of partitions may have been deleted, so the logs are counted.
async fn check_partitions(context: &Context, partitions: u16) -> Result<(), ConnectError> {
    let names = stream_names(context).await?;
    let logs = names.iter().filter(|name| name.starts_with(subject::LOG_STREAM_PREFIX)).count();
    if logs > usize::from(partitions) {
        return Err(ConnectError::Partitions { found: logs.to_string(), ours: partitions.to_string() });
    }
    Ok(())
}

/// Returns the names of all streams of the account.
async fn stream_names(context: &Context) -> Result<BTreeSet<String>, Error> {
    context.stream_names().try_collect().await.map_err(|error| failed("list streams", error))
}

/// Returns the names of the missing streams.
pub(super) async fn missing(context: &Context, layout: StreamLayout) -> Result<Vec<String>, Error> {
    let found = stream_names(context).await?;
    let needed = definitions(layout.partitions, layout.replicas).into_iter().map(|config| config.name);
    Ok(needed.filter(|name| !found.contains(name)).collect())
}

/// Verifies every stream. Waits until the deadline for those that no scheduler has created yet.
pub(super) async fn verify(
    context: &Context,
    layout: StreamLayout,
    limit: Duration,
) -> Result<(), ConnectError> {
    let deadline = Instant::now() + limit;
    let impatient = ContextBuilder::new().timeout(ANSWER_AT_START).build(context.client());
    let verified = until_deadline(deadline, "find the streams", || verify_all(&impatient, layout)).await;
    if let Err(ConnectError::Other(_)) = &verified
        && let Some(name) = missing(&impatient, layout).await.ok().and_then(|names| names.into_iter().next())
    {
        return Err(ConnectError::NoStreams { name, waited: limit });
    }
    verified
}

async fn verify_all(context: &Context, layout: StreamLayout) -> Result<(), ConnectError> {
    check_partitions(context, layout.partitions).await?;
    for needed in definitions(layout.partitions, layout.replicas) {
        let found = stream_info(context, &needed.name).await;
        let found = found.map_err(|error| start_error(format!("look for stream {}", needed.name), error))?;
        check(&found.config, &needed)?;
    }
    Ok(())
}

async fn ensure_one(
    context: &Context,
    needed: Config,
    room: AccountRoom,
    created: &CreatedStreams,
) -> Result<(), ConnectError> {
    let found = match stream_info(context, &needed.name).await {
        Err(error) if error.code() == Some(ErrorCode::STREAM_NOT_FOUND) => {
            create(context, &needed, room, created).await
        }
        found => found,
    };
    let found = found.map_err(|error| {
        let name = &needed.name;
        let doing = if error.lacks_storage() {
            format!("make stream {name} (raise max_file_store of NATS or max_file of its account)")
        } else {
            format!("look for stream {name}")
        };
        start_error(doing, error)
    })?;
    created.record(&found.config);
    check(&found.config, &needed)?;
    if let Some(bytes) = sizes::unreserved(&found.config, room) {
        return shrink(context, found.config, bytes).await;
    }
    if let Some(bytes) =
        room.size(&needed.name).filter(|bytes| room.is_limited() && should_grow(&found.config, *bytes))
    {
        grow(context, found.config, bytes).await;
    }
    Ok(())
}

/// Reads configuration and state of a stream.
pub(super) async fn stream_info(context: &Context, name: &str) -> Result<Info, ApiError> {
    request(context, format!("STREAM.INFO.{name}"), &EmptyRequest {}).await
}

/// Reads configuration and state of a stream, with the sequences between its first and last message that it does not have.
pub(super) async fn state_with_deleted(context: &Context, name: &str) -> Result<Info, ApiError> {
    request(context, format!("STREAM.INFO.{name}"), &json!({ "deleted_details": true })).await
}

/// Creates a stream, with a smaller size than its share if there is no room.
async fn create(
    context: &Context,
    needed: &Config,
    room: AccountRoom,
    created: &CreatedStreams,
) -> Result<Info, ApiError> {
    let mut config = needed.clone();
    config.metadata.insert(INCARNATION.to_owned(), created.draw_incarnation());
    let mut size = room.size(&needed.name);
    let mut reserved = size.map(|bytes| room.reservation(&config.name, bytes));
    loop {
        if let (Some(bytes), Some(reserved)) = (size, reserved) {
            sizes::set_reserved_size(&mut config, bytes, reserved);
        }
        match request(context, format!("STREAM.CREATE.{}", config.name), &config).await {
            // Another process has created it, with another incarnation.
            Err(error) if error.code() == Some(ErrorCode::STREAM_NAME_EXIST) => {
                return stream_info(context, &config.name).await;
            }
            Err(error) if error.lacks_storage() && size.is_some_and(|bytes| bytes > LEAST_BYTES) => {
                debug!(stream = config.name, ?size, %error, "no room for this size; trying a smaller one");
                size = size.map(|bytes| (bytes / SHRINK_FACTOR).max(LEAST_BYTES));
                reserved = size.map(|bytes| room.reservation(&config.name, bytes));
            }
            // The server is so small that the least size is more than the stream's share.
            Err(error) if error.lacks_storage() && reserved > size => reserved = size,
            result => return result,
        }
    }
}

/// Reduces a stream to its size after [`create`] reserved more. The reserved room may prevent the logs from being
/// created.
async fn shrink(context: &Context, mut config: Config, bytes: u64) -> Result<(), ConnectError> {
    sizes::set_size(&mut config, bytes);
    let name = config.name.clone();
    let shrunk: Result<Info, ApiError> = request(context, format!("STREAM.UPDATE.{name}"), &config).await;
    shrunk.map(drop).map_err(|error| start_error(format!("set the size of stream {name}"), error).into())
}

/// Gives a stream more room after the account got more. A failure is harmless: the stream keeps its size.
async fn grow(context: &Context, mut config: Config, bytes: u64) {
    let (stream, before) = (config.name.clone(), config.max_bytes);
    sizes::set_size(&mut config, bytes);
    match request::<Info>(context, format!("STREAM.UPDATE.{stream}"), &config).await {
        Ok(_) => info!(stream, before, now = bytes, "stream has more room now"),
        Err(error) => debug!(stream, before, needed = bytes, %error, "stream keeps its size"),
    }
}

/// Turns an error while streams are created or read into an error of a port. Errors that a starting server or another
/// process will fix are transient.
fn start_error(doing: impl Into<String>, error: ApiError) -> Error {
    if error.code().is_some_and(|code| TRANSIENT_AT_START.contains(&code)) {
        return Error::transient(doing, error);
    }
    failed(doing, error)
}
