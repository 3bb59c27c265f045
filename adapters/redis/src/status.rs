//! The state of the server, for `longshore doctor`.

use longshore_ports::Error;
use longshore_proto::Timestamp;
use redis::cmd;

use super::connection::RedisConnection;
use super::process_list::ProcessList;
use super::server_info::ServerInfo;

/// Maximum number of keys that are scanned for the counts: about half a second of a busy server's time, in small steps.
const SCANNED_KEYS: u64 = 200_000;

/// Keys of one step: well under a millisecond.
const STEP_KEYS: u64 = 1_000;

/// The state of a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RedisStatus {
    /// Version of the server.
    pub version: String,
    /// Time of its clock, by which leases end.
    pub clock: Timestamp,
    /// Used memory.
    pub memory_bytes: u64,
    /// Limit of the memory, if there is one.
    pub memory_limit_bytes: Option<u64>,
    /// Its `maxmemory-policy`, such as `noeviction`.
    pub policy: String,
    /// Data that a restart finds.
    pub persistence: Persistence,
    /// True if its last write to its disk failed. It accepts no writes until one succeeds.
    pub disk_failing: bool,
    /// Numbers of Longshore's keys.
    pub keys: KeyCounts,
}

/// Data that a restart of the server finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Persistence {
    /// All data but that of the last moment, from an append-only file.
    AppendOnly,
    /// The data of the last snapshot, or none if snapshots are off.
    SnapshotsAtMost,
}

/// Numbers of Longshore's keys, by kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KeyCounts {
    /// Partitions that have a checkpoint.
    pub checkpoints: u64,
    /// Partitions with a lease.
    pub leases: u64,
    /// Claims, running and done.
    pub claims: u64,
    /// Schedulers in the list.
    pub schedulers: u64,
    /// Workers in the list.
    pub workers: u64,
    /// True if there were too many keys to scan all of them, so that the counts are lower bounds.
    pub more: bool,
}

/// Reads the state of the server.
pub(super) async fn read(connection: &RedisConnection) -> Result<RedisStatus, Error> {
    let doing = "read the state of the server";
    let info: String = connection.query(cmd("INFO"), doing).await?;
    let info = ServerInfo::parse(&info);
    let (seconds, micros): (u64, u64) = connection.query(cmd("TIME"), doing).await?;
    let persistence = match info.number("aof_enabled") {
        Some(1) => Persistence::AppendOnly,
        _ => Persistence::SnapshotsAtMost,
    };
    let failing = |field| info.get(field).is_some_and(|status| status != "ok");
    Ok(RedisStatus {
        version: info.get("redis_version").unwrap_or("unknown").to_owned(),
        clock: Timestamp::from_millis(seconds.saturating_mul(1_000).saturating_add(micros / 1_000)),
        memory_bytes: info.number("used_memory").unwrap_or_default(),
        memory_limit_bytes: info.number("maxmemory").filter(|limit| *limit > 0),
        policy: info.get("maxmemory_policy").unwrap_or("unknown").to_owned(),
        persistence,
        disk_failing: failing("aof_last_write_status") || failing("rdb_last_bgsave_status"),
        keys: count(connection).await?,
    })
}

/// Counts the keys by kind, without blocking the server.
async fn count(connection: &RedisConnection) -> Result<KeyCounts, Error> {
    let mut keys = KeyCounts::default();
    let (mut cursor, mut scanned) = (0_u64, 0);
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{}:*", escape(connection.prefix())));
        scan.arg("COUNT").arg(STEP_KEYS);
        let (next, found): (u64, Vec<String>) = connection.query(scan, "count keys").await?;
        found.iter().for_each(|key| keys.add(connection.prefix(), key));
        scanned += STEP_KEYS;
        keys.more = next != 0 && scanned >= SCANNED_KEYS;
        if next == 0 || keys.more {
            break;
        }
        cursor = next;
    }
    for (kind, count) in [("schedulers", &mut keys.schedulers), ("workers", &mut keys.workers)] {
        let [times, _] = ProcessList::keys(connection.prefix(), kind);
        *count = connection.query(cmd("ZCARD").arg(times).to_owned(), "count keys").await?;
    }
    Ok(keys)
}

/// Escapes a prefix, so that it is a pattern that matches nothing else.
fn escape(prefix: &str) -> String {
    let special = |c| matches!(c, '*' | '?' | '[' | ']' | '\\' | '^');
    prefix.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

impl KeyCounts {
    /// Counts a key by its name.
    fn add(&mut self, prefix: &str, key: &str) {
        let rest = key.strip_prefix(prefix).unwrap_or_default();
        if rest.starts_with(":claim:") && rest != ":claim:probe" {
            self.claims += 1;
        } else if rest.starts_with(":{p") && rest.ends_with("}:lease") {
            self.leases += 1;
        } else if rest.starts_with(":{p") && rest.ends_with("}:meta") {
            self.checkpoints += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_by_their_names() {
        let mut keys = KeyCounts::default();
        for key in
            ["ls:claim:run_00_x/p00", "ls:{p00}:meta", "ls:{p00}:live", "ls:{p01}:lease", "lss:claim:x"]
        {
            keys.add("ls", key);
        }
        assert_eq!(keys, KeyCounts { claims: 1, checkpoints: 1, leases: 1, ..KeyCounts::default() });
    }
}
