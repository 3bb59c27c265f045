//! A write of one key that expires, to check that the server accepts writes and everything that a process needs.
//!
//! It is a script like the real writes, so it fails when memory or disk is full, when the server accepts no
//! writes, and when the user may not run scripts, may not write keys of this prefix, or may not run one of the commands on
//! them.

use std::sync::LazyLock;
use std::time::Duration;

use longshore_ports::Error;
use longshore_proto::Partition;
use redis::Script;

use super::connection::{RedisConnection, millis};
use super::permissions::{self, Role};
use super::{claims, leases};

/// Time until the key expires: long enough for a person to see it.
const LIFETIME: Duration = Duration::from_secs(60);

/// The commands are not run: Redis is asked whether the user may. All their arguments are the key, because some take several.
/// A command without a key has an empty one.
const CODE: &str = "
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
for number = 2, #ARGV, 2 do
    local command, key = ARGV[number], ARGV[number + 1]
    local allowed
    if key == '' then
        allowed = redis.acl_check_cmd(command)
    elseif command == 'EVAL_RO' then
        allowed = redis.acl_check_cmd(command, 'return 1', '1', key)
    else
        allowed = redis.acl_check_cmd(command, key, key)
    end
    if not allowed then
        return redis.error_reply('NOPERM this user has no permissions to run ' .. command .. ' on ' .. key)
    end
end
return 1";

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(CODE));

/// The keys among which a probe is written. A user needs no permission for the others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Probe {
    /// The keys of partitions, which schedulers write.
    Partitions,
    /// Claims, which workers write.
    Claims,
    /// One key of a partition, without what a process needs beside it.
    OneKey,
}

/// Writes the key, which all processes share.
pub(super) async fn write(connection: &RedisConnection, probe: Probe) -> Result<(), Error> {
    let of_partition = || leases::key(connection.prefix(), Partition(0), "probe");
    let (key, role) = match probe {
        Probe::Partitions => (of_partition(), Some(Role::Scheduler)),
        Probe::Claims => (claims::key(connection.prefix(), "probe"), Some(Role::Worker)),
        Probe::OneKey => (of_partition(), None),
    };
    let mut script = SCRIPT.key(key);
    script.arg(millis(LIFETIME));
    for (command, key) in role.iter().flat_map(|role| permissions::needed(*role, connection.prefix())) {
        script.arg(command).arg(key);
    }
    let _: u64 = connection.run_script(&script, "write a key that expires").await?;
    Ok(())
}
