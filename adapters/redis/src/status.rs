//! What a person who looks for trouble wants to know about the server.

use longshore_ports::Error;
use longshore_proto::Timestamp;
use redis::cmd;

use super::link::Link;
use super::roll::Roll;
use super::server_info::ServerInfo;

/// At most this many keys are looked at when they are counted: about half a second of a busy server's time, in small
/// pieces.
const KEYS_LOOKED_AT: u64 = 200_000;

/// Keys that the server looks at in one piece: well under a millisecond.
const KEYS_AT_ONCE: u64 = 1_000;

/// A server of Redis, as it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its clock, by which leases end.
    pub clock: Timestamp,
    /// Memory that its data takes.
    pub memory_bytes: u64,
    /// Memory that its data may take; nothing if it has no limit of its own.
    pub memory_limit_bytes: Option<u64>,
    /// What it does when that is full: `noeviction`.
    pub policy: String,
    /// What a restart of it finds.
    pub persistence: Persistence,
    /// Whether its last write to its disk failed; it takes no writes until one succeeds.
    pub disk_failing: bool,
    /// What it holds of ours.
    pub keys: Keys,
}

/// What a restart of the server finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Persistence {
    /// Everything but the last moment, by an append-only file.
    AppendOnly,
    /// What the last snapshot held, or nothing if snapshots are off.
    SnapshotsAtMost,
}

/// Our keys, by kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Keys {
    /// Partitions that have a checkpoint.
    pub checkpoints: u64,
    /// Partitions that somebody leads.
    pub leases: u64,
    /// Claims, running and done.
    pub claims: u64,
    /// Schedulers on the roll.
    pub schedulers: u64,
    /// Workers on the roll.
    pub workers: u64,
    /// Whether there were too many keys to look at all of them, so that these are lower bounds.
    pub more: bool,
}

pub(super) async fn status(link: &Link) -> Result<Status, Error> {
    let doing = "look at the server";
    let about: String = link.query(cmd("INFO"), doing).await?;
    let about = ServerInfo::parse(&about);
    let (seconds, micros): (u64, u64) = link.query(cmd("TIME"), doing).await?;
    let persistence = match about.number("aof_enabled") {
        Some(1) => Persistence::AppendOnly,
        _ => Persistence::SnapshotsAtMost,
    };
    let failing = |field| about.get(field).is_some_and(|status| status != "ok");
    Ok(Status {
        version: about.get("redis_version").unwrap_or("unknown").to_owned(),
        clock: Timestamp::from_millis(seconds.saturating_mul(1_000).saturating_add(micros / 1_000)),
        memory_bytes: about.number("used_memory").unwrap_or_default(),
        memory_limit_bytes: about.number("maxmemory").filter(|limit| *limit > 0),
        policy: about.get("maxmemory_policy").unwrap_or("unknown").to_owned(),
        persistence,
        disk_failing: failing("aof_last_write_status") || failing("rdb_last_bgsave_status"),
        keys: count(link).await?,
    })
}

async fn count(link: &Link) -> Result<Keys, Error> {
    let mut keys = Keys::default();
    let (mut cursor, mut looked_at) = (0_u64, 0);
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{}:*", escape(link.prefix())));
        scan.arg("COUNT").arg(KEYS_AT_ONCE);
        let (next, found): (u64, Vec<String>) = link.query(scan, "count keys").await?;
        found.iter().for_each(|key| keys.add(link.prefix(), key));
        looked_at += KEYS_AT_ONCE;
        keys.more = next != 0 && looked_at >= KEYS_LOOKED_AT;
        if next == 0 || keys.more {
            break;
        }
        cursor = next;
    }
    for (of, count) in [("schedulers", &mut keys.schedulers), ("workers", &mut keys.workers)] {
        let [times, _] = Roll::keys(link.prefix(), of);
        *count = link.query(cmd("ZCARD").arg(times).to_owned(), "count keys").await?;
    }
    Ok(keys)
}

/// The prefix as a pattern that matches nothing else.
fn escape(prefix: &str) -> String {
    let special = |c| matches!(c, '*' | '?' | '[' | ']' | '\\' | '^');
    prefix.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

impl Keys {
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
    fn keys_are_told_apart_by_their_names() {
        let mut keys = Keys::default();
        for key in
            ["ls:claim:run_00_x/p00", "ls:{p00}:meta", "ls:{p00}:live", "ls:{p01}:lease", "lss:claim:x"]
        {
            keys.add("ls", key);
        }
        assert_eq!(keys, Keys { claims: 1, checkpoints: 1, leases: 1, ..Keys::default() });
    }
}
