//! Whether the user of a connection may do what its process is going to ask of Redis.
//!
//! A server that denies a command or a key says so when it is asked, which may be hours after the start, in a claim or a
//! checkpoint. So each command is tried at the start on a key of each kind that it is used on. The keys are of this
//! process alone, and are taken away at the end.

use longshore_proto::Partition;
use redis::{Cmd, RedisError, Value, cmd};

use super::error::ConnectError;
use super::lease;
use super::link::Link;

/// How long a tried string lives, in milliseconds.
const LIFETIME_MILLIS: &str = "60000";

/// A process of the cluster, by what it asks of Redis.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Checkpoints, leases, the lists of schedulers and workers, ids of submits.
    Scheduler,
    /// Claims, the list of workers, and runs as of the last checkpoint.
    Worker,
}

/// Commands on the two keys of a list of processes.
const LISTS: &[&str] = &["ZADD", "ZRANGE", "ZREM", "HSET", "HGET", "HDEL", "DEL"];

/// Commands on the keys of a partition: its checkpoint and its lease.
pub(super) const PARTITION: &[&str] = &[
    "SET",
    "GET",
    "HSET",
    "HGET",
    "HMGET",
    "HLEN",
    "HINCRBY",
    "HRANDFIELD",
    "HSCAN",
    "HDEL",
    "RPUSH",
    "LLEN",
    "LPOP",
    "ZADD",
    "ZCARD",
    "ZRANGE",
    "ZLEXCOUNT",
    "ZREM",
    "TYPE",
    "EXISTS",
    "PERSIST",
    "PEXPIRE",
    "RENAME",
    "UNLINK",
    "DEL",
];

/// Commands on the key of a claim.
pub(super) const CLAIM: &[&str] = &["HSET", "HMGET", "HDEL", "PEXPIRE", "PEXPIREAT", "DEL"];

/// Commands of a look-up of a run, by the key of a partition: see `checkpoints/run.lua`. Both roles have them.
const LOOK_UP: &[(&str, &[&str])] = &[
    ("rows", &["HGET"]),
    ("live", &["HGET"]),
    ("done", &["HGET"]),
    ("redo", &["LPOS", "LINDEX"]),
    ("old", &["HEXISTS"]),
];

/// Tries everything of a role.
pub(super) async fn check(link: &Link, role: Role) -> Result<(), ConnectError> {
    for command in [&["PING"][..], &["TIME"], &["EVAL", "return 1", "0"], &["SCRIPT", "LOAD", "return 1"]] {
        let mut asked = Cmd::new();
        asked.arg(command);
        attempt(link, command.first().copied().unwrap_or_default(), "any key", asked).await?;
    }
    let mut known = cmd("EVALSHA");
    // No script has this digest, which is another answer than that it is not allowed.
    known.arg("0".repeat(40)).arg(0);
    attempt(link, "EVALSHA", "any key", known).await?;
    let token: u64 = rand::random();
    for (family, commands) in families(role) {
        let key = format!("{}:{family}try-{token:016x}", link.prefix());
        for command in *commands {
            attempt(link, command, &key, harmless(command, &key)).await?;
        }
    }
    try_look_up(link).await?;
    if role == Role::Scheduler {
        let key = format!("{}:partitions", link.prefix());
        attempt(link, "SMEMBERS", &key, one("SMEMBERS", &key)).await?;
        // Every cluster has this partition; one without a checkpoint is no fault.
        attempt(link, "SADD", &key, arguments("SADD", &key, &["0"])).await?;
    }
    Ok(())
}

/// Tries the commands of a look-up of a run, which write nothing, on the keys of a partition.
async fn try_look_up(link: &Link) -> Result<(), ConnectError> {
    for (name, commands) in LOOK_UP {
        let key = lease::key(link.prefix(), Partition(0), name);
        attempt(link, "EVAL_RO", &key, arguments("EVAL_RO", "return 1", &["1", &key])).await?;
        for command in *commands {
            attempt(link, command, &key, harmless(command, &key)).await?;
        }
    }
    Ok(())
}

/// The beginnings of the keys of a role behind the prefix, with the commands on them; the last one takes a key away.
/// `claims:born`, which both roles have, is asked for while connecting.
const fn families(role: Role) -> &'static [(&'static str, &'static [&'static str])] {
    match role {
        Role::Scheduler => &[
            ("{p00}:", PARTITION),
            ("{schedulers}:", LISTS),
            ("{workers}:", LISTS),
            ("submit:", &["SET", "DEL"]),
        ],
        Role::Worker => &[("claim:", CLAIM), ("{workers}:", LISTS)],
    }
}

/// A command on a key that only this process has. Several types of value are tried on one key: the server looks at permissions
/// before it looks at the value, and a command on a value of another type changes nothing.
fn harmless(command: &str, key: &str) -> Cmd {
    match command {
        "SET" => arguments(command, key, &["x", "PX", LIFETIME_MILLIS]),
        "PEXPIRE" => arguments(command, key, &[LIFETIME_MILLIS]),
        // A moment that has passed takes the key away.
        "PEXPIREAT" => arguments(command, key, &["1"]),
        "HSET" => arguments(command, key, &["a", "1"]),
        "HGET" | "HMGET" | "HDEL" | "HEXISTS" | "RPUSH" | "LPOS" | "ZREM" => arguments(command, key, &["a"]),
        "HINCRBY" => arguments(command, key, &["a", "1"]),
        "HSCAN" | "LINDEX" => arguments(command, key, &["0"]),
        "ZADD" => arguments(command, key, &["0", "a"]),
        "ZRANGE" => arguments(command, key, &["0", "-1"]),
        "ZLEXCOUNT" => arguments(command, key, &["-", "+"]),
        "RENAME" => arguments(command, key, &[key]),
        _ => one(command, key),
    }
}

fn arguments(command: &str, key: &str, arguments: &[&str]) -> Cmd {
    let mut asked = one(command, key);
    asked.arg(arguments);
    asked
}

fn one(command: &str, key: &str) -> Cmd {
    let mut asked = cmd(command);
    asked.arg(key);
    asked
}

/// Asks. Anything but a denial is no matter here: whoever needs the answer will ask again.
async fn attempt(link: &Link, command: &'static str, key: &str, asked: Cmd) -> Result<(), ConnectError> {
    let answer: Result<Value, RedisError> = link.ask(asked).await;
    refuse_denial(link, command, key, answer.err())
}

fn refuse_denial(
    link: &Link,
    command: &'static str,
    key: &str,
    error: Option<RedisError>,
) -> Result<(), ConnectError> {
    match error {
        Some(source) if source.code() == Some("NOPERM") => {
            let (address, key) = (link.address().to_owned(), key.to_owned());
            Err(ConnectError::Permission { address, command, key, source })
        }
        _ => Ok(()),
    }
}
