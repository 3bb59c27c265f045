//! Creation and verification of the streams of a cluster.
//!
//! A missing stream is created, and an existing one is verified: another retention or storage would silently break what
//! Longshore promises. Settings that an operator may tune (bytes, placement, compression) are not verified.
//! [Sizes](sizes) grow with the account.

pub(super) mod created;
pub(super) mod definitions;
pub(super) mod restore;
pub(super) mod sizes;

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
use tokio::time::Instant;
use tracing::{debug, info};

use self::created::CreatedStreams;
use self::definitions::{INCARNATION, PARTITIONS, definitions};
use self::sizes::{AccountRoom, LEAST_BYTES, SHRINK_FACTOR, should_grow};
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
        return Err(other_partitions(logs.to_string(), &partitions.to_string()));
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

/// Refuses a stream whose settings differ from the needed ones.
fn check(found: &Config, needed: &Config) -> Result<(), ConnectError> {
    match difference(found, needed) {
        None => {}
        Some(SettingDifference { setting: PARTITIONS, found, needed }) => {
            return Err(other_partitions(found, &needed));
        }
        Some(difference) => {
            let what = format!("{} of stream {}", difference.setting, needed.name);
            return Err(ConnectError::Mismatch { what, found: difference.found, needed: difference.needed });
        }
    }
    Ok(())
}

/// Returns the error for a cluster with another number of partitions than this process has.
fn other_partitions(found: String, ours: &str) -> ConnectError {
    ConnectError::Partitions { found, ours: ours.to_owned() }
}

/// Reads configuration and state of a stream.
pub(super) async fn stream_info(context: &Context, name: &str) -> Result<Info, ApiError> {
    request(context, format!("STREAM.INFO.{name}"), &EmptyRequest {}).await
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

/// A setting whose value is not the needed one.
#[derive(Debug, Eq, PartialEq)]
struct SettingDifference {
    setting: &'static str,
    found: String,
    needed: String,
}

/// Returns the first verified setting that differs.
fn difference(found: &Config, needed: &Config) -> Option<SettingDifference> {
    let found = settings(found);
    let needed = settings(needed);
    let mut pairs = found.into_iter().zip(needed);
    pairs.find_map(|((setting, found), (_, needed))| {
        (found != needed).then_some(SettingDifference { setting, found, needed })
    })
}

/// Returns the settings that Longshore relies on, by the names that NATS gives them.
fn settings(config: &Config) -> Vec<(&'static str, String)> {
    vec![
        (PARTITIONS, config.metadata.get(PARTITIONS).map_or("not written down", String::as_str).to_owned()),
        ("subjects", config.subjects.join(", ")),
        ("retention", format!("{:?}", config.retention)),
        ("storage", format!("{:?}", config.storage)),
        ("num_replicas", config.num_replicas.to_string()),
        ("discard", format!("{:?}", config.discard)),
        ("discard_new_per_subject", config.discard_new_per_subject.to_string()),
        ("max_msgs", config.max_messages.to_string()),
        ("max_msgs_per_subject", config.max_messages_per_subject.to_string()),
        ("max_age", format!("{:?}", config.max_age)),
        ("duplicate_window", format!("{:?}", config.duplicate_window)),
        ("deny_delete", config.deny_delete.to_string()),
        ("deny_purge", config.deny_purge.to_string()),
        ("allow_direct", config.allow_direct.to_string()),
        ("allow_atomic", config.allow_atomic_publish.to_string()),
        ("sealed", config.sealed.to_string()),
        ("no_ack", config.no_ack.to_string()),
        ("mirror", config.mirror.is_some().to_string()),
        ("sources", config.sources.as_ref().map_or(0, Vec::len).to_string()),
        ("subject_transform", config.subject_transform.is_some().to_string()),
        // It would acknowledge messages before they are written.
        ("persist_mode async", format!("{:?}", config.persist_mode).contains("Async").to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::definitions::{jobs, log};
    use super::*;
    use async_nats::jetstream::stream::{
        DiscardPolicy, PersistenceMode, RetentionPolicy, Source, StorageType, SubjectTransform,
    };
    use longshore_proto::Partition;

    /// A change of a stream's configuration, and the setting that it is found by.
    type Change = (&'static str, fn(&mut Config));

    /// One change for each setting in [`settings`], in the same order.
    const CHANGES: [Change; 21] = [
        (PARTITIONS, |config| _ = config.metadata.insert(PARTITIONS.to_owned(), "77".to_owned())),
        ("subjects", |config| config.subjects.push("other".to_owned())),
        ("retention", |config| config.retention = RetentionPolicy::Interest),
        ("storage", |config| config.storage = StorageType::Memory),
        ("num_replicas", |config| config.num_replicas += 1),
        ("discard", |config| {
            let is_new = config.discard == DiscardPolicy::New;
            config.discard = if is_new { DiscardPolicy::Old } else { DiscardPolicy::New };
        }),
        ("discard_new_per_subject", |config| config.discard_new_per_subject ^= true),
        ("max_msgs", |config| config.max_messages = 7),
        ("max_msgs_per_subject", |config| config.max_messages_per_subject = 7),
        ("max_age", |config| config.max_age = Duration::from_secs(7)),
        ("duplicate_window", |config| config.duplicate_window = Duration::from_secs(7)),
        ("deny_delete", |config| config.deny_delete ^= true),
        ("deny_purge", |config| config.deny_purge ^= true),
        ("allow_direct", |config| config.allow_direct ^= true),
        ("allow_atomic", |config| config.allow_atomic_publish ^= true),
        ("sealed", |config| config.sealed ^= true),
        ("no_ack", |config| config.no_ack ^= true),
        ("mirror", |config| config.mirror = Some(Source::default())),
        ("sources", |config| config.sources = Some(vec![Source::default()])),
        ("subject_transform", |config| {
            let (source, destination) = (">".to_owned(), "other.>".to_owned());
            config.subject_transform = Some(SubjectTransform { source, destination });
        }),
        ("persist_mode async", |config| config.persist_mode = Some(PersistenceMode::Async)),
    ];

    #[test]
    fn created_stream_passes_the_verification() {
        for config in definitions(2, 1) {
            assert_eq!(difference(&config, &config), None);
        }
    }

    #[test]
    fn every_setting_that_a_promise_needs_is_compared() {
        for needed in definitions(2, 1) {
            let names: Vec<_> = settings(&needed).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, CHANGES.map(|(name, _)| name));
            for (name, change) in CHANGES {
                let mut found = needed.clone();
                change(&mut found);
                let different = difference(&found, &needed).map(|difference| difference.setting);
                assert_eq!(different, Some(name), "{}", needed.name);
            }
        }
    }

    #[test]
    fn difference_names_the_setting_and_both_values() {
        let needed = jobs();
        let found = Config { retention: RetentionPolicy::Limits, ..needed.clone() };
        let expected = SettingDifference {
            setting: "retention",
            found: "Limits".to_owned(),
            needed: "WorkQueue".to_owned(),
        };
        assert_eq!(difference(&found, &needed), Some(expected));
    }

    #[test]
    fn settings_that_an_operator_may_tune_are_not_verified() {
        let needed = log(Partition(0));
        let found =
            Config { max_bytes: 1 << 30, description: Some("of the operator".to_owned()), ..needed.clone() };
        assert_eq!(difference(&found, &needed), None);
    }
}
