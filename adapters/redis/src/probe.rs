//! A write of one key that expires: whether the server takes writes at all.
//!
//! It is a script, as the writes that matter are, so it fails when memory or disk is full, when the server takes no
//! writes, and when the user may not run scripts or may not write keys of this prefix.

use std::sync::LazyLock;
use std::time::Duration;

use longshore_ports::Error;
use longshore_proto::Partition;
use redis::Script;

use super::link::{Link, millis};
use super::{claims, lease};

/// How long the key is there: long enough for a person to see it.
const LIFETIME: Duration = Duration::from_secs(60);

static SCRIPT: LazyLock<Script> =
    LazyLock::new(|| Script::new("redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) return 1"));

/// The kind of keys among which a probe is written: a user need not be allowed to write any other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Probe {
    /// The keys of partitions, which schedulers write.
    Partitions,
    /// Claims, which workers write.
    Claims,
}

/// Writes the key, which all processes share.
pub(super) async fn write(link: &Link, probe: Probe) -> Result<(), Error> {
    let key = match probe {
        Probe::Partitions => lease::key(link.prefix(), Partition(0), "probe"),
        Probe::Claims => claims::key(link.prefix(), "probe"),
    };
    let mut script = SCRIPT.key(key);
    script.arg(millis(LIFETIME));
    let _: u64 = link.run(&script, "write a key that expires").await?;
    Ok(())
}
