//! The report of a scheduler in its service statistics, for `longshore doctor`: its node id, the partitions that it leads,
//! its Redis, and the stores that it cannot use.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use longshore_nats::{BatchStatus, Nats, ServiceReport};
use longshore_proto::{NodeId, Partition};
use longshore_scheduler::{PendingTakeover, PendingTakeovers};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::dependencies::Dependencies;
use super::dependency::NOT_ASKED;
use super::redis_data::RedisIdentity;

/// Number of problems in a report, so that it fits into a message.
const MAX_REPORTED_PROBLEMS: usize = 20;

/// The report of a scheduler.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SchedulerReport {
    /// The node id in logs and leases.
    pub(crate) node: String,
    /// The partitions that the scheduler leads.
    pub(crate) partitions: Vec<PartitionReport>,
    /// The partitions whose lease the scheduler holds without leading them.
    #[serde(default)]
    pub(crate) takeovers: Vec<TakeoverReport>,
    /// The stores that the scheduler cannot use, with the reasons.
    pub(crate) problems: Vec<String>,
    /// Its use of atomic batches. `None` in the report of an older version.
    #[serde(default)]
    pub(crate) atomic_batches: Option<BatchStatus>,
    /// Its Redis. `None` if it was not read recently, and in the report of an older version.
    #[serde(default)]
    pub(crate) redis: Option<RedisIdentity>,
}

/// The report of a leader about a partition.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct PartitionReport {
    /// The number of the partition.
    pub(crate) partition: u16,
    /// Time since the state was stored; `None` if this leader has not stored it yet.
    pub(crate) checkpoint_age_ms: Option<u64>,
}

/// The report of a takeover that is not complete.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct TakeoverReport {
    /// The number of the partition.
    pub(crate) partition: u16,
    /// Time since which the scheduler should lead it.
    pub(crate) pending_ms: u64,
}

/// Returns the function that creates the report of this process.
pub(super) fn reporter(
    nats: Nats,
    node: &NodeId,
    (led, takeovers): (watch::Receiver<BTreeSet<Partition>>, watch::Receiver<PendingTakeovers>),
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
        let takeover = |(partition, takeover): (&Partition, &PendingTakeover)| TakeoverReport {
            partition: partition.0,
            pending_ms: millis(takeover.since.elapsed()),
        };
        let takeovers = takeovers.borrow().iter().map(takeover).collect();
        let problems = reported_problems(&nats, &dependencies);
        let report = SchedulerReport {
            node: node.clone(),
            partitions,
            takeovers,
            problems,
            atomic_batches: Some(nats.batch_status()),
            redis: dependencies.redis_identity.current(),
        };
        serde_json::to_value(report).unwrap_or(Value::Null)
    };
    Box::new(report)
}

/// Returns the stores that this process cannot use, as many as a report may name. Stores without any request yet are left
/// out, because a worker writes its first entry before its first request, and the entry stays for seconds.
pub(super) fn reported_problems(nats: &Nats, dependencies: &Dependencies) -> Vec<String> {
    let mut problems = dependencies.problems(nats);
    problems.retain(|problem| !problem.ends_with(NOT_ASKED));
    problems.truncate(MAX_REPORTED_PROBLEMS);
    problems
}

/// Returns the time since this process stored the state of a partition.
pub(super) fn checkpoint_age(dependencies: &Dependencies, partition: Partition) -> Option<Duration> {
    let stored = dependencies.checkpoints.get(usize::from(partition.0))?.last_success()?;
    Some(Instant::now().duration_since(stored))
}
