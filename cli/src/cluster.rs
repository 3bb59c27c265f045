//! Processes and clients of a cluster. Only these files name the adapters on NATS and Redis.
//!
//! ```text
//! config ──► connect: NATS, Redis ──► scheduler   submits, leadership, requests, run updates
//!                                ├──► worker      MCP servers, jobs
//!                                ├──► client      requests to any scheduler, run updates
//!                                └──► examine     the checks of `longshore doctor`
//! ```

mod answers;
mod client;
mod connect;
mod dependencies;
mod dependency;
mod examine;
mod gauges;
mod judge;
mod logs_room;
mod monitoring;
mod partitions;
mod probes;
mod process;
mod redis_data;
mod redis_identity;
mod redis_settings;
mod refusal;
mod report;
mod scheduler;
mod snapshot;
mod statistics;
mod takeovers;
mod tracked;
mod worker;
mod worker_entries;

use std::time::Duration;

use longshore_nats::Nats;
use longshore_ports::Backend;
use longshore_redis::Redis;
use tokio::time::timeout;
use tracing::warn;

pub(crate) use client::{Client, RegisteredText, RunNotification, ValuePart};
pub(crate) use examine::{ClusterExamination, examine};
pub(crate) use judge::exit as judged;
pub(crate) use partitions::PartitionSnapshot;
pub(crate) use refusal::Refusal;
#[cfg(test)]
pub(crate) use report::PartitionReport;
pub(crate) use scheduler::scheduler;
pub(crate) use snapshot::{BacklogSnapshot, SchedulerSnapshot, StreamSnapshot};
pub(crate) use worker::worker;

/// Time that pending messages get to leave when the connection to NATS is closed.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Returns the ports of a cluster: durable state is in NATS, and state that may be lost is in Redis.
fn backend(nats: &Nats, redis: &Redis) -> Backend {
    Backend {
        log: nats.log(),
        jobs: nats.jobs(),
        checkpoints: redis.checkpoints(),
        claims: redis.claims(),
        blobs: nats.blobs(),
    }
}

/// Returns unused deliveries to their queues and closes the connection after its pending messages have left.
async fn close(nats: &Nats) {
    if timeout(CLOSE_LIMIT, nats.close()).await.is_err() {
        warn!("the connection to NATS was not closed in time");
    }
}
