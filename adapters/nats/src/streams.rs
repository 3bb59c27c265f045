//! The streams a cluster needs, and whether those that are there will do.
//!
//! Created when absent, verified when present: a stream with another retention or storage would break promises
//! silently. What an operator may tune (bytes, placement, compression) is not looked at, but for [sizes], which grow
//! with the account.

mod made;
mod needed;
mod restore;
pub(super) mod sizes;

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::account::Account;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config, Info};
use async_nats::jetstream::{Context, ErrorCode};
use futures::{StreamExt, TryStreamExt, stream};
use longshore_ports::Error;
use longshore_proto::subject;
pub(super) use longshore_proto::subject::{WORKFLOWS_PREFIX, WORKFLOWS_STREAM};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, info};

pub(super) use self::made::MadeStreams;
use self::needed::needed;
pub(super) use self::restore::restore;
use self::sizes::{AccountRoom, LEAST_BYTES, SMALLER, should_grow};
use super::NatsConfig;
use super::api::{ApiError, Nothing, ask};
use super::error::ConnectError;
use super::failure::failed;

/// Where a stream's life is written: drawn when it is created, gone when it is deleted.
pub(super) const INCARNATION: &str = "longshore.incarnation";

/// Where the number of logs is written, on the stream of submits. A submit goes to a log by its id and this number, so
/// with another one the same submit again would be another run.
const PARTITIONS: &str = "longshore.partitions";

/// How many streams are looked at together while connecting.
const TOGETHER: usize = 8;

/// How long one answer may take while streams are made. A stream with three copies is made in a second or two on busy
/// servers, and a request that reaches no leader is never answered.
const ANSWER_AT_START: Duration = Duration::from_secs(4);

/// How long to wait before streams that could not be made are tried again.
const BETWEEN_TRIES: Duration = Duration::from_millis(250);

/// Errors that pass while servers are being started and several processes make the same streams: not there yet, made at
/// this moment by another process, not enough servers yet, a leader that has not caught up.
const PASSING_AT_START: [ErrorCode; 4] = [
    ErrorCode::STREAM_NOT_FOUND,
    ErrorCode::STREAM_NAME_EXIST,
    ErrorCode::CLUSTER_NO_PEERS,
    ErrorCode::INSUFFICIENT_RESOURCES,
];

/// The streams that a process counts on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// How many logs there are.
    pub(super) partitions: u16,
    /// How many servers keep each stream.
    pub(super) replicas: usize,
}

/// Creates what is absent and verifies what is present. Several processes may do so at once, and servers that are just
/// being started may not be ready for it: until the deadline, everything that may pass is tried again. Notes in `made` the
/// streams that this process created, also if it fails.
pub(super) async fn ensure(
    context: &Context,
    layout: Layout,
    deadline: Instant,
    made: &MadeStreams,
) -> Result<(), ConnectError> {
    // With an election under way nobody answers, and a request that was lost is asked again sooner than by default.
    let impatient = ContextBuilder::new().timeout(ANSWER_AT_START).build(context.client());
    retry_until(deadline, "make the streams", || ensure_all(&impatient, layout, made)).await
}

/// Tries until the deadline, as long as trying again can help.
pub(super) async fn retry_until<T, Tried>(
    deadline: Instant,
    doing: &str,
    attempt: impl Fn() -> Tried,
) -> Result<T, ConnectError>
where
    Tried: Future<Output = Result<T, ConnectError>>,
{
    let (mut last, mut told) = (None, None);
    loop {
        let error = match timeout_at(deadline, attempt()).await {
            Ok(Err(ConnectError::Other(error))) if error.retryable => error,
            Ok(result) => return result,
            Err(_elapsed) => {
                let late = || Error::transient(doing, "JetStream did not answer before the deadline");
                return Err(last.unwrap_or_else(late).into());
            }
        };
        if Instant::now() + BETWEEN_TRIES >= deadline {
            return Err(error.into());
        }
        // Once for each reason: the next ones are the same for as long as it lasts.
        let reason = error.to_string();
        if told.as_ref() != Some(&reason) {
            info!(%reason, "cannot {doing} yet; trying again until the deadline");
            told = Some(reason);
        }
        last = Some(error);
        sleep(BETWEEN_TRIES).await;
    }
}

async fn ensure_all(context: &Context, layout: Layout, made: &MadeStreams) -> Result<(), ConnectError> {
    let Layout { partitions, replicas } = layout;
    count_logs(context, partitions).await?;
    let account: Account = ask(context, "INFO".to_owned(), &Nothing {})
        .await
        .map_err(|error| not_yet("ask what the account may store", error))?;
    let room = AccountRoom::of(&account, replicas);
    let mut needed = needed(partitions, replicas).into_iter();
    // Before all others the one with the number of logs, so that a process with another number makes none.
    if let Some(first) = needed.next() {
        ensure_one(context, first, room, made).await?;
    }
    // Those with a size come before the logs, one after the other: each reserves most of the server's room for a moment.
    let (sized, others): (Vec<_>, Vec<_>) = needed.partition(|config| room.size(&config.name).is_some());
    for config in sized {
        ensure_one(context, config, room, made).await?;
    }
    let each = others.into_iter().map(|config| ensure_one(context, config, room, made));
    stream::iter(each).buffer_unordered(TOGETHER).try_collect::<()>().await
}

/// More logs than we know of hold runs that we would never look at. Counted too, in case that the stream with the number
/// was deleted.
async fn count_logs(context: &Context, partitions: u16) -> Result<(), ConnectError> {
    let names = names(context).await?;
    let logs = names.iter().filter(|name| name.starts_with(subject::LOG_STREAM_PREFIX)).count();
    if logs > usize::from(partitions) {
        return Err(other_count(logs.to_string(), &partitions.to_string()));
    }
    Ok(())
}

/// The names of all streams of the account.
async fn names(context: &Context) -> Result<BTreeSet<String>, Error> {
    context.stream_names().try_collect().await.map_err(|error| failed("list streams", error))
}

/// The streams that are missing.
pub(super) async fn missing(context: &Context, layout: Layout) -> Result<Vec<String>, Error> {
    let found = names(context).await?;
    let needed = needed(layout.partitions, layout.replicas).into_iter().map(|config| config.name);
    Ok(needed.filter(|name| !found.contains(name)).collect())
}

/// Verifies every stream, and waits until the deadline for those that no scheduler has created yet.
pub(super) async fn verify(context: &Context, config: &NatsConfig) -> Result<(), ConnectError> {
    let (layout, deadline) = (config.layout(), Instant::now() + config.connect_deadline);
    let impatient = ContextBuilder::new().timeout(ANSWER_AT_START).build(context.client());
    let verified = retry_until(deadline, "find the streams", || verify_all(&impatient, layout)).await;
    if let Err(ConnectError::Other(_)) = &verified
        && let Some(name) = missing(&impatient, layout).await.ok().and_then(|names| names.into_iter().next())
    {
        return Err(ConnectError::NoStreams { name, waited: config.connect_deadline });
    }
    verified
}

async fn verify_all(context: &Context, layout: Layout) -> Result<(), ConnectError> {
    count_logs(context, layout.partitions).await?;
    for needed in needed(layout.partitions, layout.replicas) {
        let found = look(context, &needed.name).await;
        let found = found.map_err(|error| not_yet(format!("look for stream {}", needed.name), error))?;
        check(&found.config, &needed)?;
    }
    Ok(())
}

async fn ensure_one(
    context: &Context,
    needed: Config,
    room: AccountRoom,
    made: &MadeStreams,
) -> Result<(), ConnectError> {
    let found = match look(context, &needed.name).await {
        Err(error) if error.code() == Some(ErrorCode::STREAM_NOT_FOUND) => {
            create(context, &needed, room, made).await
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
        not_yet(doing, error)
    })?;
    made.note(&found.config);
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

/// Refuses a stream that has other settings than are needed.
fn check(found: &Config, needed: &Config) -> Result<(), ConnectError> {
    match difference(found, needed) {
        None => {}
        Some((PARTITIONS, found, should)) => return Err(other_count(found, &should)),
        Some((setting, found, should)) => {
            let what = format!("{setting} of stream {}", needed.name);
            return Err(ConnectError::Mismatch { what, found, needed: should });
        }
    }
    Ok(())
}

/// Another number of logs than this process has.
fn other_count(found: String, ours: &str) -> ConnectError {
    ConnectError::Partitions { found, ours: ours.to_owned() }
}

/// A stream as it is.
pub(super) async fn look(context: &Context, name: &str) -> Result<Info, ApiError> {
    ask(context, format!("STREAM.INFO.{name}"), &Nothing {}).await
}

/// Creates a stream, smaller than it should be where there is no room for its size.
async fn create(
    context: &Context,
    needed: &Config,
    room: AccountRoom,
    made: &MadeStreams,
) -> Result<Info, ApiError> {
    let mut config = needed.clone();
    config.metadata.insert(INCARNATION.to_owned(), made.draw_incarnation());
    let mut size = room.size(&needed.name);
    let mut reserved = size.map(|bytes| room.reservation(&config.name, bytes));
    loop {
        if let (Some(bytes), Some(reserved)) = (size, reserved) {
            sizes::give_reserved(&mut config, bytes, reserved);
        }
        match ask(context, format!("STREAM.CREATE.{}", config.name), &config).await {
            // Another process was quicker, and drew another incarnation.
            Err(error) if error.code() == Some(ErrorCode::STREAM_NAME_EXIST) => {
                return look(context, &config.name).await;
            }
            Err(error) if error.lacks_storage() && size.is_some_and(|bytes| bytes > LEAST_BYTES) => {
                debug!(stream = config.name, ?size, %error, "no room for this size; trying a smaller one");
                size = size.map(|bytes| (bytes / SMALLER).max(LEAST_BYTES));
                reserved = size.map(|bytes| room.reservation(&config.name, bytes));
            }
            // The server is so small that the least size is more than the stream's share of it.
            Err(error) if error.lacks_storage() && reserved > size => reserved = size,
            created => return created,
        }
    }
}

/// Takes away what was reserved while the stream was made. Until then it may keep the logs from being made.
async fn shrink(context: &Context, mut config: Config, bytes: u64) -> Result<(), ConnectError> {
    sizes::give(&mut config, bytes);
    let name = config.name.clone();
    let shrunk: Result<Info, ApiError> = ask(context, format!("STREAM.UPDATE.{name}"), &config).await;
    shrunk.map(drop).map_err(|error| not_yet(format!("give stream {name} its size"), error).into())
}

/// Gives a stream more room, as the account has more. Without it everything works as before.
async fn grow(context: &Context, mut config: Config, bytes: u64) {
    let (stream, before) = (config.name.clone(), config.max_bytes);
    sizes::give(&mut config, bytes);
    match ask::<Info>(context, format!("STREAM.UPDATE.{stream}"), &config).await {
        Ok(_) => info!(stream, before, now = bytes, "stream has more room now"),
        Err(error) => debug!(stream, before, needed = bytes, %error, "stream keeps its size"),
    }
}

/// An error while streams are made or looked for. What a server or another process is about to mend may pass.
fn not_yet(doing: impl Into<String>, error: ApiError) -> Error {
    if error.code().is_some_and(|code| PASSING_AT_START.contains(&code)) {
        return Error::transient(doing, error);
    }
    failed(doing, error)
}

/// The first setting that matters and differs: its name, and both values.
fn difference(found: &Config, needed: &Config) -> Option<(&'static str, String, String)> {
    let found = settings(found);
    let needed = settings(needed);
    let mut pairs = found.into_iter().zip(needed);
    pairs.find_map(|((setting, found), (_, needed))| (found != needed).then_some((setting, found, needed)))
}

/// The settings that promises rest on, by the names NATS gives them.
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
        // Acknowledges before it writes, and so takes back every promise.
        ("persist_mode async", format!("{:?}", config.persist_mode).contains("Async").to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::needed::{jobs, log};
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
        ("subject_transform", |config| config.subject_transform = Some(SubjectTransform::default())),
        ("persist_mode async", |config| config.persist_mode = Some(PersistenceMode::Async)),
    ];

    #[test]
    fn every_setting_that_a_promise_needs_is_compared() {
        for needed in needed(2, 1) {
            let names: Vec<_> = settings(&needed).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, CHANGES.map(|(name, _)| name));
            for (name, change) in CHANGES {
                let mut found = needed.clone();
                change(&mut found);
                let different = difference(&found, &needed).map(|(name, ..)| name);
                assert_eq!(different, Some(name), "{}", needed.name);
            }
        }
    }

    #[test]
    fn a_difference_names_the_setting_and_both_values() {
        let needed = jobs();
        let found = Config { retention: RetentionPolicy::Limits, ..needed.clone() };
        let (setting, found, needed) = difference(&found, &needed).expect("they differ");
        assert_eq!((setting, found.as_str(), needed.as_str()), ("retention", "Limits", "WorkQueue"));
    }

    #[test]
    fn what_an_operator_may_tune_is_no_mismatch() {
        let needed = log(Partition(0));
        let found = Config { max_bytes: 1 << 30, description: Some("ours".to_owned()), ..needed.clone() };
        assert_eq!(difference(&found, &needed), None);
    }
}
