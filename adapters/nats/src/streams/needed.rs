//! The configuration of each stream.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use longshore_proto::{Partition, subject};

use super::{PARTITIONS, WORKFLOWS_PREFIX, WORKFLOWS_STREAM};

/// How long a stream remembers the ids of messages: the least that the server allows. Ours carry none, but submits of
/// other clients may, and the server takes a message for a duplicate by its id alone, whatever its subject: one
/// namespace's submit would be acknowledged and dropped for another's.
const DUPLICATES: Duration = Duration::from_millis(100);

/// How many servers of the tool kind can have a queue: each is a consumer. The default of nats-server 2.15.
const MOST_CONSUMERS: i32 = 1_000;

/// How many jobs, and how many submits, wait at most; beyond that, publishing fails and is tried again. Their bytes are
/// bounded as well, by [sizes](super::sizes).
const MOST_WAITING: i64 = 1_000_000;

/// How long a refused message is kept.
const DEAD_LETTER_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Every stream, as it has to be; first the one that says how many logs there are.
pub(super) fn needed(partitions: u16, replicas: usize) -> Vec<Config> {
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
pub(super) fn log(partition: Partition) -> Config {
    Config {
        deny_delete: true,
        allow_atomic_publish: true,
        ..stream(subject::log_stream(partition), subject::log(partition))
    }
}

/// One place for each subject, and so for each job.
pub(super) fn jobs() -> Config {
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
        allow_direct: true,
        ..stream(subject::DEAD_LETTER_STREAM, subject::DEAD_LETTERS)
    }
}
