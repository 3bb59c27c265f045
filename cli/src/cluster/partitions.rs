//! The partitions of a cluster: their leaders, by reports and by leases, and the ages of their checkpoints.

use serde::Serialize;

use longshore_proto::{Partition, subject};

use super::snapshot::{NatsSnapshot, RedisSnapshot};

/// The state of a partition.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct PartitionSnapshot {
    /// The number of the partition.
    pub(crate) partition: u16,
    /// The node ids of the schedulers that report to lead it: one, except during a takeover.
    pub(crate) leaders: Vec<String>,
    /// The node id of the scheduler that holds the lease.
    pub(crate) lease: Option<String>,
    /// Time since which the holder of the lease should lead the partition, if it does not.
    pub(crate) takeover_pending_ms: Option<u64>,
    /// Time since the leader stored the partition's state.
    pub(crate) checkpoint_age_ms: Option<u64>,
    /// Size of the log in bytes.
    pub(crate) log_bytes: Option<u64>,
    /// Limit of the log in bytes, if there is one.
    pub(crate) log_max_bytes: Option<u64>,
}

/// Combines the state of each partition.
pub(super) fn partitions(
    nats: Option<&NatsSnapshot>,
    redis: Option<&RedisSnapshot>,
    count: u16,
) -> Vec<PartitionSnapshot> {
    (0..count).map(|number| partition(nats, redis, number)).collect()
}

fn partition(nats: Option<&NatsSnapshot>, redis: Option<&RedisSnapshot>, number: u16) -> PartitionSnapshot {
    let mut seen = PartitionSnapshot { partition: number, ..PartitionSnapshot::default() };
    if let Some(nats) = nats {
        for scheduler in &nats.schedulers {
            for led in scheduler.partitions.iter().filter(|led| led.partition == number) {
                seen.leaders.push(scheduler.node.clone());
                seen.checkpoint_age_ms = seen.checkpoint_age_ms.or(led.checkpoint_age_ms);
            }
        }
        let takeovers = nats.schedulers.iter().flat_map(|scheduler| &scheduler.takeovers);
        let takeovers = takeovers.filter(|takeover| takeover.partition == number);
        seen.takeover_pending_ms = takeovers.map(|takeover| takeover.pending_ms).max();
        let name = subject::log_stream(Partition(number));
        let log = nats.status.streams.iter().find(|stream| stream.name == name);
        seen.log_bytes = log.map(|log| log.bytes);
        seen.log_max_bytes = log.and_then(|log| log.max_bytes);
    }
    seen.lease = redis.and_then(|redis| redis.leases.get(usize::from(number)).cloned().flatten());
    seen
}
