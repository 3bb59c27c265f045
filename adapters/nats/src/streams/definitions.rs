//! Configurations of the streams.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use longshore_proto::subject::{WORKFLOWS_PREFIX, WORKFLOWS_STREAM};
use longshore_proto::{Incarnation, Partition, WriterRole, subject};

/// Name of the metadata that holds the incarnation of a stream: a random value, drawn when it is created.
pub(super) const INCARNATION: &str = "longshore.incarnation";

/// Name of the metadata that holds the number of partitions, on the stream of submits. The log of a submit follows from
/// its id and this number, so with another number the same submit would become a second run.
pub(super) const PARTITIONS: &str = "longshore.partitions";

/// Time that a stream remembers ids of messages: the least that the server allows. Messages of Longshore have no id,
/// but submits of other clients may. The server compares ids alone and not subjects, so a submit of one namespace would
/// be acknowledged and dropped as a duplicate of a submit of another.
const DUPLICATE_WINDOW: Duration = Duration::from_millis(100);

/// Most MCP servers that can have jobs, since each has a consumer. The default of nats-server 2.15.
const MAX_CONSUMERS: i32 = 1_000;

/// Maximum number of jobs, and of submits, that wait. Beyond that, publishing fails and is retried. Their bytes are
/// bounded as well, by [sizes](super::sizes).
const MAX_WAITING: i64 = 1_000_000;

/// Time that a dead letter is kept.
const DEAD_LETTER_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Returns the configurations of all streams. The first one holds the number of partitions.
pub(super) fn definitions(partitions: u16, replicas: usize) -> Vec<Config> {
    let logs = (0..partitions).map(|number| log(Partition(number)));
    let others = [jobs(), blobs(), workflows(), dead_letters()];
    std::iter::once(submits(partitions))
        .chain(others)
        .chain(logs)
        .map(|config| Config { storage: StorageType::File, num_replicas: replicas, ..config })
        .collect()
}

/// Returns the incarnation of a log: the random value that its creator wrote, and the time of its creation. A restored
/// copy of a stream has another time.
pub(crate) fn incarnation(info: &Info) -> Incarnation {
    let drawn = info.config.metadata.get(INCARNATION).map(String::as_str).unwrap_or_default();
    Incarnation(format!("{drawn}-{}", info.created.unix_timestamp_nanos()))
}

fn stream(name: impl Into<String>, subjects: &[impl ToString]) -> Config {
    Config {
        name: name.into(),
        subjects: subjects.iter().map(ToString::to_string).collect(),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_bytes: -1,
        discard: DiscardPolicy::New,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    }
}

/// Returns the configuration of a log. It has a subject for each role of writers and no others. It denies the deletion of single
/// messages, since trimming purges a prefix.
pub(super) fn log(partition: Partition) -> Config {
    let subjects = WriterRole::ALL.map(|writer| subject::log(partition, writer));
    Config {
        deny_delete: true,
        allow_atomic_publish: true,
        ..stream(subject::log_stream(partition), &subjects)
    }
}

/// Returns the configuration of the work queue. It holds one message for each subject, and so for each job.
pub(super) fn jobs() -> Config {
    Config {
        retention: RetentionPolicy::WorkQueue,
        max_messages_per_subject: 1,
        discard_new_per_subject: true,
        max_messages: MAX_WAITING,
        max_consumers: MAX_CONSUMERS,
        allow_atomic_publish: true,
        ..stream(subject::JOBS_STREAM, &[subject::JOBS])
    }
}

fn blobs() -> Config {
    Config {
        max_messages_per_subject: 1,
        discard_new_per_subject: true,
        allow_direct: true,
        ..stream(subject::BLOBS_STREAM, &[subject::BLOBS])
    }
}

fn workflows() -> Config {
    Config {
        max_messages_per_subject: 1,
        deny_delete: true,
        allow_rollup: true,
        allow_direct: true,
        ..stream(WORKFLOWS_STREAM, &[format!("{WORKFLOWS_PREFIX}.>")])
    }
}

fn submits(partitions: u16) -> Config {
    Config {
        metadata: [(PARTITIONS.to_owned(), partitions.to_string())].into(),
        retention: RetentionPolicy::WorkQueue,
        max_messages: MAX_WAITING,
        allow_atomic_publish: true,
        ..stream(subject::SUBMIT_STREAM, &[subject::SUBMITS])
    }
}

fn dead_letters() -> Config {
    Config {
        discard: DiscardPolicy::Old,
        max_age: DEAD_LETTER_AGE,
        allow_direct: true,
        ..stream(subject::DEAD_LETTER_STREAM, &[subject::DEAD_LETTERS])
    }
}
