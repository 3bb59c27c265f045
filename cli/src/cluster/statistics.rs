//! Statistics of the running schedulers, which answer as a NATS micro service (ADR-32).

use std::time::Duration;

use async_nats::Client;
use serde::Deserialize;

use super::answers;
use super::report::SchedulerReport;
use super::snapshot::SchedulerSnapshot;

/// Subject of the request. All schedulers answer it.
pub(super) const SUBJECT: &str = "$SRV.STATS.longshore";

/// Number of schedulers that are listed.
const MAX_LISTED_SCHEDULERS: usize = 100;

/// The statistics of a service that are used here.
#[derive(Deserialize)]
struct ServiceStats {
    id: String,
    version: String,
    #[serde(default)]
    endpoints: Vec<EndpointStats>,
}

/// The statistics of an endpoint. One of them contains the report of the process.
#[derive(Deserialize)]
struct EndpointStats {
    #[serde(default)]
    data: Option<SchedulerReport>,
}

/// Returns the schedulers that answer within `limit`.
pub(super) async fn schedulers(client: &Client, limit: Duration) -> Vec<SchedulerSnapshot> {
    let answers = answers::to_all(client, SUBJECT, MAX_LISTED_SCHEDULERS, limit).await;
    let stats = answers.iter().filter_map(|answer| serde_json::from_slice(&answer.payload).ok());
    let mut found: Vec<_> = stats.map(scheduler).collect();
    found.sort_by(|one: &SchedulerSnapshot, other| (&one.node, &one.id).cmp(&(&other.node, &other.id)));
    found
}

fn scheduler(stats: ServiceStats) -> SchedulerSnapshot {
    let report = stats.endpoints.into_iter().find_map(|endpoint| endpoint.data).unwrap_or_default();
    let SchedulerReport { node, partitions, takeovers, problems, atomic_batches, redis } = report;
    SchedulerSnapshot {
        id: stats.id,
        version: stats.version,
        node,
        partitions,
        takeovers,
        problems,
        atomic_batches,
        redis,
    }
}
