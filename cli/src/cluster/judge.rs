//! Judges the state of a cluster. The functions are pure, so that every finding can be tested.

mod backlog;
mod leaders;
mod room;
mod same_redis;
mod stores;

use std::time::Duration;

use longshore_nats as nats;
use longshore_ports::{ErrorCause, WorkerEntry};
use longshore_proto::ServerName;
use longshore_redis::{KeyCounts, Persistence};

use super::partitions::PartitionSnapshot;
use super::redis_data::RedisIdentity;
use super::snapshot::{NatsSnapshot, RedisSnapshot, SchedulerSnapshot};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding::{Finding, FindingLevel};
use crate::output::Elapsed;

/// Differences of clocks in milliseconds that are doubtful, and that make timers and leases wrong.
const CLOCK_DOUBTFUL: i64 = 1_000;
const CLOCK_WRONG: i64 = 10_000;

/// The recommended version of nats-server.
const RECOMMENDED: (u32, u32, u32) = (2, 15, 1);

/// Fullness of Redis, in per cent, at which it becomes doubtful.
const FULL_PERCENT: u64 = 70;

/// Number of workflows without a text that are named.
const SHOWN_WORKFLOWS: usize = 10;

/// Advice if the Redis user of the doctor lacks a permission.
pub(super) const DOCTORS_REDIS_USER: &str =
    "give this user the permissions of `operator` in deploy/redis/users.conf, which `longshore doctor` needs";

/// Advice if the NATS user of the doctor lacks a permission.
pub(super) const DOCTORS_NATS_USER: &str = "use the user `operator` of deploy/nats/accounts.conf, which `longshore doctor` needs, \
     with its `nats.inbox_prefix`";

/// Returns the finding about a server that cannot be reached or used.
pub(super) fn unreachable_server(name: &'static str, failure: &Failure) -> Finding {
    Finding::new(name, FindingLevel::Wrong, &failure.message)
        .maybe_help(failure.help.as_deref())
        .lacking_permission(failure.exit == Exit::Denied)
}

/// Judges NATS, its streams, the schedulers and the jobs. Without Redis, `workers` is `None`.
pub(super) fn nats(
    seen: &NatsSnapshot,
    workers: Option<&[WorkerEntry]>,
    partitions: &[PartitionSnapshot],
    count: u16,
) -> Vec<Finding> {
    let status = &seen.status;
    let mut findings = vec![version(status)];
    findings.extend(room::streams(status, count));
    findings.extend(backlog::queue(&seen.backlog, workers));
    findings.push(texts(&seen.without_text));
    findings.push(match seen.clock_ahead {
        Some(ahead) => clock("clock of NATS", ahead),
        None => Finding::new("clock of NATS", FindingLevel::Unknown, "known only once there are streams"),
    });
    findings.extend(leaders::schedulers(&seen.schedulers, partitions));
    findings
}

fn version(status: &nats::NatsStatus) -> Finding {
    let whole = format!("nats-server {}, {}", status.version, Elapsed(status.round_trip));
    let mut numbers = status.version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    if (next(), next(), next()) >= RECOMMENDED {
        return Finding::new("NATS", FindingLevel::Good, &whole);
    }
    let (major, minor, patch) = RECOMMENDED;
    Finding::new("NATS", FindingLevel::Doubtful, &whole)
        .help(&format!("{major}.{minor}.{patch} is recommended"))
}

/// Judges the texts of registered workflows, which are lost with the stream of large values.
fn texts(without: &Result<Vec<String>, String>) -> Finding {
    const NAME: &str = "workflows";
    match without {
        Err(reason) => {
            Finding::new(NAME, FindingLevel::Unknown, &format!("their texts are not known: {reason}"))
        }
        Ok(without) if without.is_empty() => {
            Finding::new(NAME, FindingLevel::Good, "the texts of registered ones are stored")
        }
        Ok(without) => {
            let shown: Vec<_> = without.iter().take(SHOWN_WORKFLOWS).map(String::as_str).collect();
            let more = without.len().saturating_sub(SHOWN_WORKFLOWS);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let text = format!("their text is gone, so submits are refused: {}{more}", shown.join(", "));
            Finding::new(NAME, FindingLevel::Wrong, &text)
                .help("push them again (`longshore workflows push`); runs of them that have not ended fail")
        }
    }
}

/// Number of workers that a finding names.
const NAMED_WORKERS: usize = 10;

/// Judges Redis and the workers. `pulls` is the number of pull requests for jobs that wait in NATS, if that is known, and `unlisted` are
/// the workers that only answer over NATS.
pub(super) fn redis(seen: &RedisSnapshot, pulls: Option<usize>, unlisted: &[WorkerEntry]) -> Vec<Finding> {
    let status = &seen.status;
    let used = status.memory_bytes / (1024 * 1024);
    let memory = match status.memory_limit_bytes {
        Some(limit) => format!("{used} of {} MiB", limit / (1024 * 1024)),
        None => format!("{used} MiB, no limit"),
    };
    let whole = format!("Redis {}, {memory}, {}", status.version, status.policy);
    let is_full =
        status.memory_limit_bytes.is_some_and(|limit| status.memory_bytes > limit / 100 * FULL_PERCENT);
    let mut findings = vec![if let Err(error) = &seen.write {
        let lacks_permission = error.cause == ErrorCause::Denied;
        let help =
            if lacks_permission { DOCTORS_REDIS_USER } else { "raise `maxmemory` or enlarge the disk" };
        Finding::new("Redis", FindingLevel::Wrong, &format!("{whole}; it refuses a write: {error}"))
            .help(help)
            .lacking_permission(lacks_permission)
    } else if status.disk_failing {
        Finding::new("Redis", FindingLevel::Wrong, &format!("{whole}; its last write to disk failed"))
            .help("check its disk and its log; it accepts no writes until one succeeds")
    } else if is_full {
        Finding::new("Redis", FindingLevel::Doubtful, &whole)
            .help("raise `maxmemory`: when it is full, it refuses writes")
    } else if status.persistence == Persistence::SnapshotsAtMost {
        Finding::new("Redis", FindingLevel::Doubtful, &format!("{whole}, no append-only file"))
            .help("set `appendonly yes`, so that a restart keeps checkpoints and claims")
    } else {
        Finding::new("Redis", FindingLevel::Good, &whole)
    }];
    findings.push(claims(&status.keys));
    findings.push(clock("clock of Redis", seen.clock_ahead));
    findings.push(workers(&seen.workers, pulls.unwrap_or_default(), unlisted));
    findings
}

/// Judges the stores that processes report as unusable.
pub(super) fn stores(schedulers: &[SchedulerSnapshot], workers: &[WorkerEntry]) -> Vec<Finding> {
    let schedulers = schedulers.iter().map(|seen| (seen.node.as_str(), seen.problems.as_slice()));
    let workers = workers.iter().map(|seen| (seen.worker.as_str(), seen.problems.as_slice()));
    stores::problems(&schedulers.chain(workers).collect::<Vec<_>>())
}

/// Judges whether all schedulers use the Redis of this command, if that is known.
pub(super) fn same_redis(own: Option<&RedisIdentity>, schedulers: &[SchedulerSnapshot]) -> Option<Finding> {
    same_redis::finding(own, schedulers)
}

/// Returns true if Redis may have been emptied just now, so that findings about it would not last: schedulers report another identity of the data at the
/// same address, or no worker is listed although some pull jobs.
pub(super) fn may_be_just_emptied(
    redis: &RedisSnapshot,
    schedulers: &[SchedulerSnapshot],
    pulls: usize,
) -> bool {
    (redis.workers.is_empty() && pulls > 0)
        || same_redis::may_be_just_emptied(redis.identity.as_ref(), schedulers)
}

/// Returns the finding about the number of claims, which take memory of Redis until they expire.
fn claims(keys: &KeyCounts) -> Finding {
    let at_least = if keys.more { "at least " } else { "" };
    let text = format!("{at_least}{} in Redis", count(keys.claims, "claim"));
    Finding::new("claims", FindingLevel::Good, &text)
}

/// Judges the workers that are listed in Redis. Workers pull jobs from NATS even while they cannot be listed.
fn workers(workers: &[WorkerEntry], pulls: usize, unlisted: &[WorkerEntry]) -> Finding {
    const NAME: &str = "workers";
    if !unlisted.is_empty() {
        let names: Vec<_> = unlisted.iter().map(|entry| entry.worker.as_str()).take(NAMED_WORKERS).collect();
        let text =
            format!("{} not listed in Redis: {}", count(unlisted.len() as u64, "worker"), names.join(", "));
        return Finding::new(NAME, FindingLevel::Wrong, &text)
            .help("it cannot write to Redis: see the check `stores`, or `/readyz?verbose` of the worker");
    }
    if workers.is_empty() && pulls > 0 {
        return Finding::new(NAME, FindingLevel::Wrong, "none is listed in Redis, but some pull jobs from NATS").help(
            "they cannot write to Redis: `/readyz?verbose` of a worker shows the reason; its Redis user needs the permissions of deploy/",
        );
    }
    if workers.is_empty() {
        return Finding::new(NAME, FindingLevel::Wrong, "none is running; no call is made")
            .help("start one with `longshore worker`");
    }
    let mut servers: Vec<&str> =
        workers.iter().flat_map(|worker| worker.servers.iter().map(ServerName::as_str)).collect();
    servers.sort_unstable();
    servers.dedup();
    let text = format!("{}, serving {}", count(workers.len() as u64, "worker"), servers.join(", "));
    Finding::new(NAME, FindingLevel::Good, &text)
}

fn clock(name: &'static str, ahead: i64) -> Finding {
    let apart = Elapsed(Duration::from_millis(ahead.unsigned_abs()));
    let text = match ahead {
        0 => "in sync".to_owned(),
        1.. => format!("{apart} ahead"),
        _ => format!("{apart} behind"),
    };
    let level = match ahead.saturating_abs() {
        ..=CLOCK_DOUBTFUL => return Finding::new(name, FindingLevel::Good, &text),
        ahead if ahead <= CLOCK_WRONG => FindingLevel::Doubtful,
        _ => FindingLevel::Wrong,
    };
    Finding::new(name, level, &text)
        .help("synchronise both clocks with NTP: timers and leases depend on them")
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("one {what}") } else { format!("{number} {what}s") }
}

/// Returns the exit code if NATS or Redis cannot be reached, or refuses the user.
pub(super) fn unreachable(failures: [Option<&Failure>; 2]) -> Option<Exit> {
    failures.into_iter().flatten().map(|failure| failure.exit).find(|exit| *exit != Exit::Error)
}

/// Returns the exit code for all findings. A server that cannot be reached outweighs the rest, and then a missing permission;
/// doubtful findings count with `is_strict`.
pub(crate) fn exit(unreachable: Option<Exit>, findings: &[Finding], is_strict: bool) -> Exit {
    let has = |level| findings.iter().any(|finding| finding.level == level);
    match unreachable {
        Some(exit) => exit,
        None if findings.iter().any(|finding| finding.lacks_permission) => Exit::Denied,
        None if has(FindingLevel::Wrong) => Exit::Error,
        None if is_strict && has(FindingLevel::Doubtful) => Exit::Doubtful,
        None => Exit::Success,
    }
}

#[cfg(test)]
mod tests {
    use longshore_nats::{AccountStatus, NatsStatus, StreamStatus};
    use longshore_proto::{Partition, subject};

    use longshore_proto::Timestamp;

    use super::*;

    fn stream(name: &str) -> StreamStatus {
        StreamStatus {
            name: name.to_owned(),
            messages: 1,
            bytes: 1,
            max_bytes: Some(100),
            max_messages: None,
            refuses_when_full: true,
            has_leader: true,
            replicas_away: Vec::new(),
            settings: String::new(),
            consumers: Vec::new(),
        }
    }

    /// Returns the status of a server with these streams.
    pub(super) fn status(streams: Vec<StreamStatus>) -> NatsStatus {
        let (version, server) = ("2.15.1".to_owned(), "n".to_owned());
        let account = AccountStatus::default();
        let round_trip = Duration::from_millis(1);
        NatsStatus { version, server, cluster: None, round_trip, account, logs_percent: 0, streams }
    }

    /// Returns all streams of a cluster, nearly empty; the logs first.
    pub(super) fn all(partitions: u16) -> Vec<StreamStatus> {
        let logs = (0..partitions).map(|number| stream(&subject::log_stream(Partition(number))));
        let others = ["LS_JOBS", "LS_BLOBS", "LS_SUBMIT", "LS_DLQ", "KV_LS_WORKFLOWS"];
        logs.chain(others.map(stream)).collect()
    }

    #[test]
    fn clocks_may_differ_by_a_second() {
        let cases = [
            (0, FindingLevel::Good, "in sync"),
            (-1_000, FindingLevel::Good, "1.0s behind"),
            (1_001, FindingLevel::Doubtful, "1.0s ahead"),
            (30_000, FindingLevel::Wrong, "30.0s ahead"),
        ];
        for (ahead, level, text) in cases {
            let finding = clock("clock", ahead);
            assert_eq!((finding.level, finding.text.as_str()), (level, text));
        }
    }

    #[test]
    fn registered_workflows_without_a_text_are_wrong() {
        assert_eq!(texts(&Ok(Vec::new())).level, FindingLevel::Good);
        assert_eq!(texts(&Err("no answer".to_owned())).level, FindingLevel::Unknown);
        let gone = texts(&Ok((0..12).map(|number| format!("team/w{number}")).collect()));
        assert_eq!(gone.level, FindingLevel::Wrong);
        assert!(
            gone.text.contains("team/w0, team/w1") && gone.text.ends_with("team/w9 and 2 more"),
            "{}",
            gone.text
        );
    }

    #[test]
    fn worker_that_only_answers_over_nats_is_named() {
        let entry = |name: &str| WorkerEntry {
            worker: name.parse().expect("a name"),
            version: "1".to_owned(),
            started_at: Timestamp::default(),
            slots: 1,
            servers: Vec::new(),
            problems: Vec::new(),
        };
        let finding = workers(&[entry("w1")], 2, &[entry("w2")]);
        assert_eq!(
            (finding.level, finding.text.as_str()),
            (FindingLevel::Wrong, "one worker not listed in Redis: w2")
        );
        assert_eq!(workers(&[entry("w1")], 2, &[]).level, FindingLevel::Good);
    }

    #[test]
    fn workers_that_pull_jobs_without_being_listed_get_other_advice() {
        let help = |pulls| workers(&[], pulls, &[]).help.unwrap_or_default();
        assert!(help(0).contains("start one"), "{}", help(0));
        assert!(help(1).contains("cannot write to Redis"), "{}", help(1));
    }

    #[test]
    fn worst_finding_and_strictness_decide_the_exit_code() {
        let gone = Failure::new(Exit::Unreachable, "gone");
        let broken = Failure::new(Exit::Error, "no answer");
        assert_eq!(unreachable([Some(&broken), Some(&gone)]), Some(Exit::Unreachable));
        assert_eq!(unreachable([Some(&broken), None]), None);
        let (wrong, doubtful) =
            (Finding::new("x", FindingLevel::Wrong, "y"), Finding::new("x", FindingLevel::Doubtful, "y"));
        let unknown = [Finding::new("x", FindingLevel::Unknown, "y")];
        let denied = [Finding::new("x", FindingLevel::Wrong, "y").lacking_permission(true), wrong.clone()];
        assert_eq!(exit(None, &denied, false), Exit::Denied);
        assert_eq!(exit(Some(Exit::Unreachable), &denied, false), Exit::Unreachable);
        let both = [doubtful.clone(), wrong];
        assert_eq!(exit(Some(Exit::Unreachable), &both, true), Exit::Unreachable);
        assert_eq!(exit(None, &both, true), Exit::Error);
        assert_eq!(exit(None, std::slice::from_ref(&doubtful), false), Exit::Success);
        assert_eq!(exit(None, &[doubtful], true), Exit::Doubtful);
        assert_eq!(exit(None, &unknown, true), Exit::Success);
    }
}
