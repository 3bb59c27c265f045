//! Who leads each partition, by the schedulers' own words and by the leases, and how its state is stored.

use serde::Serialize;

use longshore_proto::{Partition, subject};

use super::snapshot::{NatsSeen, RedisSeen};

/// A partition as a doctor sees it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct PartitionSeen {
    /// The partition.
    pub(crate) partition: u16,
    /// The schedulers that say that they lead it, by the ids that logs use: one, but for moments.
    pub(crate) leaders: Vec<String>,
    /// The scheduler that holds its lease, and so should lead it.
    pub(crate) lease: Option<String>,
    /// How long ago its leader stored its state.
    pub(crate) checkpoint_age_ms: Option<u64>,
    /// Bytes in its log.
    pub(crate) log_bytes: Option<u64>,
    /// Bytes that its log may have, if there is a limit.
    pub(crate) log_max_bytes: Option<u64>,
}

/// Brings together what is known of each partition.
pub(super) fn partitions(
    nats: Option<&NatsSeen>,
    redis: Option<&RedisSeen>,
    count: u16,
) -> Vec<PartitionSeen> {
    (0..count).map(|number| partition(nats, redis, number)).collect()
}

fn partition(nats: Option<&NatsSeen>, redis: Option<&RedisSeen>, number: u16) -> PartitionSeen {
    let mut seen = PartitionSeen { partition: number, ..PartitionSeen::default() };
    if let Some(nats) = nats {
        for scheduler in &nats.schedulers {
            for led in scheduler.partitions.iter().filter(|led| led.partition == number) {
                seen.leaders.push(scheduler.node.clone());
                seen.checkpoint_age_ms = seen.checkpoint_age_ms.or(led.checkpoint_age_ms);
            }
        }
        let name = subject::log_stream(Partition(number));
        let log = nats.status.streams.iter().find(|stream| stream.name == name);
        seen.log_bytes = log.map(|log| log.bytes);
        seen.log_max_bytes = log.and_then(|log| log.max_bytes);
    }
    seen.lease = redis.and_then(|redis| redis.leases.get(usize::from(number)).cloned().flatten());
    seen
}
