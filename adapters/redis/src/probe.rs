//! A write of one key that expires, to check that the server accepts writes.
//!
//! It is a script like the real writes, so it fails if memory or disk is full, if the server accepts no writes, and if
//! the user may not run scripts or write keys with this prefix.

use std::sync::LazyLock;
use std::time::Duration;

use longshore_ports::Error;
use longshore_proto::Partition;
use redis::Script;

use super::connection::{RedisConnection, millis};
use super::{claims, leases};

/// Time until the key expires: long enough for a person to see it.
const LIFETIME: Duration = Duration::from_secs(60);

static SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new("redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) return 1"));

/// The keys among which a probe is written. A user needs no permission for the others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Probe {
    /// The keys of partitions, which schedulers write.
    Partitions,
    /// Claims, which workers write.
    Claims,
}

/// Writes the key. All processes write the same one.
pub(super) async fn write(connection: &RedisConnection, probe: Probe) -> Result<(), Error> {
    let key = match probe {
        Probe::Partitions => leases::key(connection.prefix(), Partition(0), "probe"),
        Probe::Claims => claims::key(connection.prefix(), "probe"),
    };
    let mut script = SCRIPT.key(key);
    script.arg(millis(LIFETIME));
    let _: u64 = connection.run_script(&script, "write a key that expires").await?;
    Ok(())
}
