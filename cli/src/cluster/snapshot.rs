//! The state of NATS, Redis and the schedulers at one moment, for `longshore doctor`.

use longshore_nats as nats;
use longshore_nats::Backlog;
use longshore_ports::{Error, WorkerEntry};
use longshore_redis as redis;
use serde::Serialize;

use super::report::PartitionReport;

/// The jobs of a server.
#[derive(Debug, Serialize)]
pub(crate) struct BacklogSeen {
    /// The server.
    pub(crate) server: String,
    /// Its jobs, waiting or out.
    pub(crate) jobs: u64,
    /// Those that are out.
    pub(crate) out: u64,
    /// How long the oldest has been in the queue.
    pub(crate) oldest_ms: u64,
}

/// A stream, or a consumer of one.
#[derive(Debug, Serialize)]
pub(crate) struct StreamSeen {
    /// Its name.
    pub(crate) name: String,
    /// How many messages it holds.
    pub(crate) messages: u64,
    /// How many bytes they take.
    pub(crate) bytes: u64,
    /// How many bytes they may take, if there is a limit.
    pub(crate) max_bytes: Option<u64>,
    /// Its settings in one line.
    pub(crate) settings: String,
    /// Its consumers.
    pub(crate) consumers: Vec<ConsumerSeen>,
}

/// A consumer of a stream.
#[derive(Debug, Serialize)]
pub(crate) struct ConsumerSeen {
    /// Its name.
    pub(crate) name: String,
    /// How many messages wait.
    pub(crate) pending: u64,
    /// How many are out.
    pub(crate) ack_pending: usize,
    /// How many pulls wait.
    pub(crate) waiting: usize,
}

/// NATS, its clients and its queues.
pub(super) struct NatsSeen {
    pub(super) status: nats::NatsStatus,
    /// How far its clock is ahead of ours, in milliseconds; nothing if it did not say.
    pub(super) clock_ahead: Option<i64>,
    /// The schedulers that answer requests.
    pub(super) schedulers: Vec<SchedulerSeen>,
    /// The jobs that wait, or why that is not known.
    pub(super) backlog: Result<Backlog, String>,
}

/// A scheduler, by its answer to a request for statistics.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct SchedulerSeen {
    /// Its id as a service.
    pub(crate) id: String,
    /// The version of its code.
    pub(crate) version: String,
    /// Its id in logs and leases.
    pub(crate) node: String,
    /// The partitions that it leads.
    pub(crate) partitions: Vec<PartitionReport>,
    /// The stores that it cannot use.
    pub(crate) problems: Vec<String>,
    /// Its use of atomic batches. `None` for an older version.
    pub(crate) atomic_batches: Option<nats::BatchStatus>,
}

/// Redis, and the workers and leases in it.
pub(super) struct RedisSeen {
    pub(super) status: redis::RedisStatus,
    /// How far its clock is ahead of ours, in milliseconds.
    pub(super) clock_ahead: i64,
    pub(super) workers: Vec<WorkerEntry>,
    /// Who holds the lease on each partition.
    pub(super) leases: Vec<Option<String>>,
    /// Whether it takes writes, or why not.
    pub(super) write: Result<(), Error>,
}
