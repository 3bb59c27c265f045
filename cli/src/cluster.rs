//! A process of a cluster, or a client of one: the only files that name the adapters on NATS and Redis.
//!
//! ```text
//!   config ──► reach: NATS, Redis ──► scheduler   intake, leadership, requests, news
//!                                ├──► worker      MCP servers, jobs
//!                                ├──► client      requests to whichever scheduler answers, news of runs
//!                                └──► examine     what `longshore doctor` wants to know
//! ```

mod client;
mod denial;
mod dependencies;
mod dependency;
mod examine;
mod gauges;
mod judge;
mod logs_room;
mod partitions;
mod probes;
mod process;
mod reach;
mod redis_settings;
mod report;
mod scheduler;
mod snapshot;
mod tracked;
mod watched;
mod worker;

use std::time::Duration;

use longshore_nats::Nats;
use longshore_ports::Backend;
use longshore_redis::Redis;
use tokio::time::timeout;
use tracing::warn;

pub(crate) use client::{Client, Heard, RegisteredText, ValuePart};
pub(crate) use examine::{Examination, examine};
pub(crate) use judge::exit as judged;
pub(crate) use partitions::PartitionSeen;
#[cfg(test)]
pub(crate) use report::PartitionReport;
pub(crate) use scheduler::scheduler;
pub(crate) use snapshot::{BacklogSeen, SchedulerSeen, StreamSeen};
pub(crate) use worker::worker;

/// How long what was sent last may take to leave.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// The ports of a cluster: what has to last is in NATS, what may be lost is in Redis.
fn backend(nats: &Nats, redis: &Redis) -> Backend {
    Backend {
        log: nats.log(),
        jobs: nats.jobs(),
        checkpoints: redis.checkpoints(),
        claims: redis.claims(),
        blobs: nats.blobs(),
    }
}

/// Gives back what was delivered and not taken, and lets what was sent last leave.
async fn close(nats: &Nats) {
    if timeout(CLOSE_LIMIT, nats.close()).await.is_err() {
        warn!("the connection to NATS was not closed in time");
    }
}
