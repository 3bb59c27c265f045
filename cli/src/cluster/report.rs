//! What a scheduler says about itself in its service statistics, for `longshore doctor`: its node, what it leads, and
//! which stores it cannot use.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use longshore_nats::{BatchStatus, Nats, ServiceReport};
use longshore_proto::{NodeId, Partition};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::dependencies::Dependencies;
use super::dependency::NOT_ASKED;

/// Faults that are said at most, so that a report fits into a message.
const MOST_PROBLEMS: usize = 20;

/// A scheduler in its own words.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SchedulerReport {
    /// Its id in logs and leases.
    pub(crate) node: String,
    /// The partitions that it leads.
    pub(crate) partitions: Vec<PartitionReport>,
    /// The stores that it cannot use, with the reasons.
    pub(crate) problems: Vec<String>,
    /// Its use of atomic batches. `None` in the report of an older version.
    #[serde(default)]
    pub(crate) atomic_batches: Option<BatchStatus>,
}

/// A partition in the words of its leader.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct PartitionReport {
    /// The partition.
    pub(crate) partition: u16,
    /// How long ago its state was stored; nothing if this leader has not stored it yet.
    pub(crate) checkpoint_age_ms: Option<u64>,
}

/// Returns what answers with the report of this process.
pub(super) fn reporter(
    nats: Nats,
    node: &NodeId,
    led: watch::Receiver<BTreeSet<Partition>>,
    dependencies: Arc<Dependencies>,
) -> ServiceReport {
    let node = node.as_str().to_owned();
    let report = move || {
        let led: Vec<Partition> = led.borrow().iter().copied().collect();
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let reported = |partition: Partition| PartitionReport {
            partition: partition.0,
            checkpoint_age_ms: checkpoint_age(&dependencies, partition).map(millis),
        };
        let partitions = led.into_iter().map(reported).collect();
        let problems = reported_problems(&nats, &dependencies);
        let report = SchedulerReport {
            node: node.clone(),
            partitions,
            problems,
            atomic_batches: Some(nats.batch_status()),
        };
        serde_json::to_value(report).unwrap_or(Value::Null)
    };
    Box::new(report)
}

/// Returns the stores that this process cannot use, as many as a report may name. Stores that it has not asked yet are left out:
/// the first entry of a worker is written before it has asked any, and is read for seconds.
pub(super) fn reported_problems(nats: &Nats, dependencies: &Dependencies) -> Vec<String> {
    let mut problems = dependencies.problems(nats);
    problems.retain(|problem| !problem.ends_with(NOT_ASKED));
    problems.truncate(MOST_PROBLEMS);
    problems
}

/// Returns how long ago this process stored the state of a partition.
pub(super) fn checkpoint_age(dependencies: &Dependencies, partition: Partition) -> Option<Duration> {
    let stored = dependencies.checkpoints.get(usize::from(partition.0))?.last_success()?;
    Some(Instant::now().duration_since(stored))
}
