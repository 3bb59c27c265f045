//! Check of the permissions of a connection's user.
//!
//! A server denies a command or a key only when it is used, which may be hours after the start, in a claim or a
//! checkpoint. So each command is tried at the start, on a key of each kind that it is used on. Only this process uses
//! these keys, and it deletes them at the end.

use longshore_proto::Partition;
use redis::{Cmd, RedisError, Value, cmd};

use super::connection::RedisConnection;
use super::error::ConnectError;
use super::leases;

/// Time until a string of the check expires, in milliseconds.
const LIFETIME_MILLIS: &str = "60000";

/// The role of a process, from which the commands and keys that it uses follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// A scheduler: it uses checkpoints, leases, the lists of schedulers and workers, and ids of submits.
    Scheduler,
    /// A worker: it uses claims and the list of workers, and reads runs as of the last checkpoint.
    Worker,
}

/// Commands on the two keys of a process list.
const LISTS: &[&str] = &["ZADD", "ZRANGE", "ZREM", "HSET", "HGET", "HDEL", "DEL"];

/// Commands on the keys of a partition: its checkpoint and its lease.
const PARTITION: &[&str] = &[
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
const CLAIM: &[&str] = &["HSET", "HMGET", "HDEL", "PEXPIRE", "PEXPIREAT", "DEL"];

/// Commands of a look-up of a run, by the key of a partition: see `checkpoints/run.lua`. Both roles have them.
const LOOK_UP: &[(&str, &[&str])] = &[
    ("rows", &["HGET"]),
    ("live", &["HGET"]),
    ("done", &["HGET"]),
    ("redo", &["LPOS", "LINDEX"]),
    ("old", &["HEXISTS"]),
];

/// Tries all commands of a role.
pub(super) async fn check(connection: &RedisConnection, role: Role) -> Result<(), ConnectError> {
    for command in [&["PING"][..], &["TIME"], &["EVAL", "return 1", "0"], &["SCRIPT", "LOAD", "return 1"]] {
        let mut attempted = Cmd::new();
        attempted.arg(command);
        attempt(connection, command.first().copied().unwrap_or_default(), "any key", attempted).await?;
    }
    let mut missing_script = cmd("EVALSHA");
    // No script has this digest. The error differs from that of a missing permission.
    missing_script.arg("0".repeat(40)).arg(0);
    attempt(connection, "EVALSHA", "any key", missing_script).await?;
    let token: u64 = rand::random();
    for (family, commands) in families(role) {
        let key = format!("{}:{family}try-{token:016x}", connection.prefix());
        for command in *commands {
            attempt(connection, command, &key, harmless(command, &key)).await?;
        }
    }
    try_look_up(connection).await?;
    if role == Role::Scheduler {
        let key = partitions_key(connection.prefix());
        attempt(connection, "SMEMBERS", &key, one("SMEMBERS", &key)).await?;
        // Every cluster has this partition, and an element without a checkpoint is harmless.
        attempt(connection, "SADD", &key, arguments("SADD", &key, &["0"])).await?;
    }
    Ok(())
}

/// Returns the commands that a role uses, each with a key of the kind that it is used on. `TIME` has an empty key.
pub(super) fn needed(role: Role, prefix: &str) -> Vec<(&'static str, String)> {
    let of_families = families(role).iter().flat_map(|(family, commands)| {
        commands.iter().map(move |command| (*command, format!("{prefix}:{family}probe")))
    });
    let of_look_up = LOOK_UP.iter().flat_map(|(name, commands)| {
        let key = leases::key(prefix, Partition(0), name);
        commands.iter().chain(["EVAL_RO"].iter()).map(move |command| (*command, key.clone()))
    });
    let partitions = match role {
        Role::Scheduler => &["SMEMBERS", "SADD"][..],
        Role::Worker => &[],
    };
    let of_partitions = partitions.iter().map(|command| (*command, partitions_key(prefix)));
    of_families.chain(of_look_up).chain(of_partitions).chain([("TIME", String::new())]).collect()
}

fn partitions_key(prefix: &str) -> String {
    format!("{prefix}:partitions")
}

/// Tries the commands of a look-up of a run, which write nothing, on the keys of a partition.
async fn try_look_up(connection: &RedisConnection) -> Result<(), ConnectError> {
    for (name, commands) in LOOK_UP {
        let key = leases::key(connection.prefix(), Partition(0), name);
        attempt(connection, "EVAL_RO", &key, arguments("EVAL_RO", "return 1", &["1", &key])).await?;
        for command in *commands {
            attempt(connection, command, &key, harmless(command, &key)).await?;
        }
    }
    Ok(())
}

/// Returns the beginnings of the keys of a role, after the prefix, with the commands on them. The last command deletes
/// the key.
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

/// Returns a command on a key that only this process uses. Commands for several types of values are tried on one key:
/// the server checks permissions before the type, and a command on a value of another type changes nothing.
fn harmless(command: &str, key: &str) -> Cmd {
    match command {
        "SET" => arguments(command, key, &["x", "PX", LIFETIME_MILLIS]),
        "PEXPIRE" => arguments(command, key, &[LIFETIME_MILLIS]),
        // A time in the past deletes the key.
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
    let mut attempted = one(command, key);
    attempted.arg(arguments);
    attempted
}

fn one(command: &str, key: &str) -> Cmd {
    let mut attempted = cmd(command);
    attempted.arg(key);
    attempted
}

/// Tries a command and fails if it is denied. Other errors do not matter here.
async fn attempt(
    connection: &RedisConnection,
    command: &'static str,
    key: &str,
    attempted: Cmd,
) -> Result<(), ConnectError> {
    let answer: Result<Value, RedisError> = connection.send(attempted).await;
    refuse_denial(connection, command, key, answer.err())
}

fn refuse_denial(
    connection: &RedisConnection,
    command: &'static str,
    key: &str,
    error: Option<RedisError>,
) -> Result<(), ConnectError> {
    match error {
        Some(source) if source.code() == Some("NOPERM") => {
            let (address, key) = (connection.address().to_owned(), key.to_owned());
            Err(ConnectError::Permission { address, command, key, source })
        }
        _ => Ok(()),
    }
}
