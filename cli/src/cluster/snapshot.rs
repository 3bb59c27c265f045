//! The state of NATS, Redis and the schedulers at one moment, for `longshore doctor`.

use longshore_nats as nats;
use longshore_nats::Backlog;
use longshore_ports::{Error, WorkerEntry};
use longshore_redis as redis;
use serde::Serialize;

use super::redis_data::RedisIdentity;
use super::report::{PartitionReport, TakeoverReport};

/// The jobs of a server in the queue.
#[derive(Debug, Serialize)]
pub(crate) struct BacklogSnapshot {
    /// The server.
    pub(crate) server: String,
    /// Number of its jobs, waiting or delivered.
    pub(crate) jobs: u64,
    /// Number of delivered jobs.
    pub(crate) out: u64,
    /// Age of the oldest job.
    pub(crate) oldest_ms: u64,
}

/// A stream.
#[derive(Debug, Serialize)]
pub(crate) struct StreamSnapshot {
    /// The name.
    pub(crate) name: String,
    /// Number of messages.
    pub(crate) messages: u64,
    /// Size of the messages in bytes.
    pub(crate) bytes: u64,
    /// Limit of the size in bytes, if there is one.
    pub(crate) max_bytes: Option<u64>,
    /// The settings in one line.
    pub(crate) settings: String,
    /// The consumers.
    pub(crate) consumers: Vec<ConsumerSnapshot>,
}

/// A consumer of a stream.
#[derive(Debug, Serialize)]
pub(crate) struct ConsumerSnapshot {
    /// The name.
    pub(crate) name: String,
    /// Number of messages that wait.
    pub(crate) pending: u64,
    /// Number of messages that are delivered and not acknowledged.
    pub(crate) ack_pending: usize,
    /// Number of pull requests that wait.
    pub(crate) waiting: usize,
}

/// The state of NATS, the schedulers and the job queue.
pub(super) struct NatsSnapshot {
    pub(super) status: nats::NatsStatus,
    /// Difference of the server's clock from the local one in milliseconds, positive if ahead; `None` if the server did not
    /// answer.
    pub(super) clock_ahead: Option<i64>,
    /// The schedulers that answer requests.
    pub(super) schedulers: Vec<SchedulerSnapshot>,
    /// The workers that answer requests.
    pub(super) workers: Vec<WorkerEntry>,
    /// The jobs in the queue, or the reason why they cannot be read.
    pub(super) backlog: Result<Backlog, String>,
    /// Registered workflows whose text is gone, or the reason why they are not known.
    pub(super) without_text: Result<Vec<String>, String>,
}

/// A scheduler, by its answer to a request for statistics.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct SchedulerSnapshot {
    /// The id of the service.
    pub(crate) id: String,
    /// The version of the scheduler.
    pub(crate) version: String,
    /// The node id in logs and leases.
    pub(crate) node: String,
    /// The partitions that the scheduler leads.
    pub(crate) partitions: Vec<PartitionReport>,
    /// The partitions whose lease the scheduler holds without leading them.
    pub(crate) takeovers: Vec<TakeoverReport>,
    /// The stores that the scheduler cannot use.
    pub(crate) problems: Vec<String>,
    /// Its use of atomic batches. `None` for an older version.
    pub(crate) atomic_batches: Option<nats::BatchStatus>,
    /// Its Redis. `None` if it did not read it recently, and for an older version.
    pub(crate) redis: Option<RedisIdentity>,
}

/// The state of Redis, with workers and leases.
pub(super) struct RedisSnapshot {
    pub(super) status: redis::RedisStatus,
    /// Difference of the server's clock from the local one in milliseconds, positive if ahead.
    pub(super) clock_ahead: i64,
    /// Its identity; `None` if it could not be read.
    pub(super) identity: Option<RedisIdentity>,
    /// The workers that are listed.
    pub(super) workers: Vec<WorkerEntry>,
    /// The holder of the lease on each partition.
    pub(super) leases: Vec<Option<String>>,
    /// The reason why it accepts no writes, if it does not.
    pub(super) write: Result<(), Error>,
}
