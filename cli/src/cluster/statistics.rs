//! Statistics of the running schedulers, which answer as a NATS micro service (ADR-32).

use std::time::Duration;

use async_nats::{Client, Message, StatusCode};
use futures::StreamExt;
use serde::Deserialize;
use tokio::time::timeout;

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

/// Returns the schedulers that answer within `limit`. All of them answer at once. NATS reports that no scheduler listens.
pub(super) async fn schedulers(client: &Client, limit: Duration) -> Vec<SchedulerSnapshot> {
    let inbox = client.new_inbox();
    let Ok(answers) = client.subscribe(inbox.clone()).await else { return Vec::new() };
    if client.publish_with_reply(SUBJECT, inbox, "".into()).await.is_err() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut answers = answers.take(MAX_LISTED_SCHEDULERS);
    let collecting = async {
        while let Some(Message { payload, status, .. }) = answers.next().await {
            if status == Some(StatusCode::NO_RESPONDERS) {
                break;
            }
            found.extend(serde_json::from_slice::<ServiceStats>(&payload).map(scheduler));
        }
    };
    // The number of schedulers is not known, so the collection ends by its timeout.
    let _ = timeout(limit, collecting).await;
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
