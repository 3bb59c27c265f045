//! The streams a cluster needs, and whether those that are there will do.
//!
//! Created when absent, verified when present: a stream with another retention or storage would break promises
//! silently. What an operator may tune (bytes, placement, compression) is not looked at.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use futures::{StreamExt, TryStreamExt, stream};
pub(super) use longshore_proto::subject::{WORKFLOWS_PREFIX, WORKFLOWS_STREAM};
use longshore_proto::{Partition, subject};

use super::api::{ApiError, Nothing, ask};
use super::error::ConnectError;
use super::failure::failed;

/// Where a stream's life is written: drawn when it is created, gone when it is deleted.
pub(super) const INCARNATION: &str = "longshore.incarnation";

/// Where the number of logs is written, on the stream of submits. A submit goes to a log by its id and this number, so
/// with another one the same submit again would be another run.
const PARTITIONS: &str = "longshore.partitions";

/// How long a stream remembers the ids of messages: the least that the server allows. Ours carry none, but submits of
/// other clients may, and the server takes a message for a duplicate by its id alone, whatever its subject: one
/// namespace's submit would be acknowledged and dropped for another's.
const DUPLICATES: Duration = Duration::from_millis(100);

/// How many servers of the tool kind can have a queue: each is a consumer. The default of nats-server 2.15.
const MOST_CONSUMERS: i32 = 1_000;

/// How many jobs, and how many submits, wait at most; beyond that, publishing fails and is tried again. At 2 KiB each
/// that is 2 GiB on disk.
const MOST_WAITING: i64 = 1_000_000;

/// How long a refused message is kept.
const DEAD_LETTER_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How much of them.
const DEAD_LETTER_BYTES: i64 = 256 * 1024 * 1024;

/// How many streams are looked at together while connecting.
const TOGETHER: usize = 8;

/// Every stream, as it has to be; first the one that says how many logs there are.
fn needed(partitions: u16, replicas: usize) -> Vec<Config> {
    let logs = (0..partitions).map(|number| log(Partition(number)));
    let others = [jobs(), blobs(), workflows(), dead_letters()];
    std::iter::once(submits(partitions))
        .chain(others)
        .chain(logs)
        .map(|config| Config { storage: StorageType::File, num_replicas: replicas, ..config })
        .collect()
}

fn stream(name: impl Into<String>, subjects: impl Into<String>) -> Config {
    Config {
        name: name.into(),
        subjects: vec![subjects.into()],
        max_messages: -1,
        max_messages_per_subject: -1,
        max_bytes: -1,
        discard: DiscardPolicy::New,
        duplicate_window: DUPLICATES,
        ..Config::default()
    }
}

/// Nothing leaves a log but by our own trimming; it goes by prefix, so no single message can be deleted.
fn log(partition: Partition) -> Config {
    Config {
        deny_delete: true,
        allow_atomic_publish: true,
        ..stream(subject::log_stream(partition), subject::log(partition))
    }
}

/// One place for each subject, and so for each job.
fn jobs() -> Config {
    Config {
        retention: RetentionPolicy::WorkQueue,
        max_messages_per_subject: 1,
        discard_new_per_subject: true,
        max_messages: MOST_WAITING,
        max_consumers: MOST_CONSUMERS,
        allow_atomic_publish: true,
        ..stream(subject::JOBS_STREAM, subject::JOBS)
    }
}

fn blobs() -> Config {
    Config {
        max_messages_per_subject: 1,
        discard_new_per_subject: true,
        allow_direct: true,
        ..stream(subject::BLOBS_STREAM, subject::BLOBS)
    }
}

fn workflows() -> Config {
    Config {
        max_messages_per_subject: 1,
        deny_delete: true,
        allow_rollup: true,
        allow_direct: true,
        ..stream(WORKFLOWS_STREAM, format!("{WORKFLOWS_PREFIX}.>"))
    }
}

fn submits(partitions: u16) -> Config {
    Config {
        metadata: [(PARTITIONS.to_owned(), partitions.to_string())].into(),
        retention: RetentionPolicy::WorkQueue,
        max_messages: MOST_WAITING,
        allow_atomic_publish: true,
        ..stream(subject::SUBMIT_STREAM, subject::SUBMITS)
    }
}

fn dead_letters() -> Config {
    Config {
        discard: DiscardPolicy::Old,
        max_age: DEAD_LETTER_AGE,
        max_bytes: DEAD_LETTER_BYTES,
        allow_direct: true,
        ..stream(subject::DEAD_LETTER_STREAM, subject::DEAD_LETTERS)
    }
}

/// Creates what is absent and verifies what is present.
pub(super) async fn ensure(context: &Context, partitions: u16, replicas: usize) -> Result<(), ConnectError> {
    count_logs(context, partitions).await?;
    let mut needed = needed(partitions, replicas).into_iter();
    // Before all others the one with the number of logs, so that a process with another number makes none.
    if let Some(first) = needed.next() {
        ensure_one(context, first).await?;
    }
    let each = needed.map(|config| ensure_one(context, config));
    stream::iter(each).buffer_unordered(TOGETHER).try_collect::<()>().await
}

/// More logs than we know of hold runs that we would never look at. Counted too, in case that the stream with the number
/// was deleted.
async fn count_logs(context: &Context, partitions: u16) -> Result<(), ConnectError> {
    let names: BTreeSet<String> =
        context.stream_names().try_collect().await.map_err(|error| failed("list streams", error))?;
    let logs = names.iter().filter(|name| name.starts_with(subject::LOG_STREAM_PREFIX)).count();
    if logs > usize::from(partitions) {
        return Err(other_count(logs.to_string(), &partitions.to_string()));
    }
    Ok(())
}

async fn ensure_one(context: &Context, needed: Config) -> Result<(), ConnectError> {
    let found = match look(context, &needed.name).await {
        Err(error) if error.code() == Some(ErrorCode::STREAM_NOT_FOUND) => create(context, &needed).await,
        found => found,
    };
    let found = found.map_err(|error| failed(format!("look for stream {}", needed.name), error))?;
    match difference(&found.config, &needed) {
        None => Ok(()),
        Some((PARTITIONS, found, should)) => Err(other_count(found, &should)),
        Some((setting, found, should)) => {
            let what = format!("{setting} of stream {}", needed.name);
            Err(ConnectError::Mismatch { what, found, needed: should })
        }
    }
}

/// Another number of logs than this process has.
fn other_count(found: String, ours: &str) -> ConnectError {
    ConnectError::Partitions { found, ours: ours.to_owned() }
}

/// A stream as it is.
pub(super) async fn look(context: &Context, name: &str) -> Result<Info, ApiError> {
    ask(context, format!("STREAM.INFO.{name}"), &Nothing {}).await
}

async fn create(context: &Context, needed: &Config) -> Result<Info, ApiError> {
    let mut config = needed.clone();
    config.metadata.insert(INCARNATION.to_owned(), format!("{:032x}", rand::random::<u128>()));
    match ask(context, format!("STREAM.CREATE.{}", config.name), &config).await {
        // Another process was quicker, and drew another incarnation.
        Err(error) if error.code() == Some(ErrorCode::STREAM_NAME_EXIST) => look(context, &config.name).await,
        created => created,
    }
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
    use super::*;

    #[test]
    fn a_stream_as_it_has_to_be_is_no_mismatch() {
        for config in needed(2, 1) {
            assert_eq!(difference(&config, &config), None);
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
