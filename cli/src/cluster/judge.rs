//! What the findings of a doctor mean: pure, so that every word of it can be tested.

mod backlog;
mod leaders;
mod room;

use std::time::Duration;

use longshore_nats as nats;
use longshore_ports::WorkerEntry;
use longshore_proto::ServerName;
use longshore_redis::Persistence;

use super::partitions::PartitionSeen;
use super::snapshot::{NatsSeen, RedisSeen};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding::{Finding, Level};
use crate::output::Elapsed;

/// How far clocks may be apart before it is worth a word, and before timers and leases go visibly wrong.
const CLOCK_DOUBTFUL: i64 = 1_000;
const CLOCK_WRONG: i64 = 10_000;

/// The version of nats-server that is recommended.
const RECOMMENDED: (u32, u32, u32) = (2, 15, 1);

/// Used share of Redis, a stream or the NATS account, in per cent, from which on the operator should act.
const FULL_PERCENT: u64 = 70;

/// Somebody who cannot be reached, or will not do.
pub(super) fn away(name: &'static str, failure: &Failure) -> Finding {
    Finding::new(name, Level::Wrong, &failure.message).maybe_help(failure.help.as_deref())
}

/// NATS, its streams, the schedulers and the jobs. Without Redis it is not known which workers there are.
pub(super) fn nats(
    seen: &NatsSeen,
    workers: Option<&[WorkerEntry]>,
    partitions: &[PartitionSeen],
    count: u16,
) -> Vec<Finding> {
    let status = &seen.status;
    let mut findings = vec![version(status)];
    findings.extend(room::streams(status, count));
    findings.extend(backlog::queue(&seen.backlog, workers));
    findings.push(match seen.clock_ahead {
        Some(ahead) => clock("clock of NATS", ahead),
        None => Finding::new("clock of NATS", Level::Unknown, "told only once there are streams"),
    });
    findings.extend(leaders::schedulers(&seen.schedulers, partitions));
    findings
}

fn version(status: &nats::Status) -> Finding {
    let whole = format!("nats-server {}, {}", status.version, Elapsed(status.round_trip));
    let mut numbers = status.version.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    if (next(), next(), next()) >= RECOMMENDED {
        return Finding::new("NATS", Level::Good, &whole);
    }
    let (major, minor, patch) = RECOMMENDED;
    Finding::new("NATS", Level::Doubtful, &whole).help(&format!("{major}.{minor}.{patch} is recommended"))
}

/// Redis and the workers. `pulls` are the requests for jobs that wait in NATS, if that is known.
pub(super) fn redis(seen: &RedisSeen, pulls: Option<usize>) -> Vec<Finding> {
    let status = &seen.status;
    let used = status.memory_bytes / (1024 * 1024);
    let memory = match status.memory_limit_bytes {
        Some(limit) => format!("{used} of {} MiB", limit / (1024 * 1024)),
        None => format!("{used} MiB, no limit"),
    };
    let whole = format!("Redis {}, {memory}, {}", status.version, status.policy);
    let is_full =
        status.memory_limit_bytes.is_some_and(|limit| status.memory_bytes > limit / 100 * FULL_PERCENT);
    let mut findings = vec![if let Err(reason) = &seen.write {
        Finding::new("Redis", Level::Wrong, &format!("{whole}; it refuses a write: {reason}")).help(
            "full, it needs a larger `maxmemory` or disk; denied, the user needs the permissions that deploy/ gives it",
        )
    } else if status.disk_failing {
        Finding::new("Redis", Level::Wrong, &format!("{whole}; its last write to disk failed"))
            .help("look at its disk and its log; it takes no writes until one succeeds")
    } else if is_full {
        Finding::new("Redis", Level::Doubtful, &whole).help("raise `maxmemory`; full, it refuses writes")
    } else if status.persistence == Persistence::SnapshotsAtMost {
        Finding::new("Redis", Level::Doubtful, &format!("{whole}, no append-only file"))
            .help("set `appendonly yes`: a restart then keeps which unsafe calls were made")
    } else {
        Finding::new("Redis", Level::Good, &whole)
    }];
    findings.push(clock("clock of Redis", seen.clock_ahead));
    findings.push(workers(&seen.workers, pulls.unwrap_or_default()));
    let reports = seen.workers.iter().map(|worker| (worker.worker.as_str(), worker.problems.as_slice()));
    findings.extend(leaders::problems(&reports.collect::<Vec<_>>()));
    findings
}

/// The workers that are listed in Redis. Workers ask NATS for jobs also while they cannot be listed.
fn workers(workers: &[WorkerEntry], pulls: usize) -> Finding {
    const NAME: &str = "workers";
    if workers.is_empty() && pulls > 0 {
        return Finding::new(NAME, Level::Wrong, "none is listed in Redis, and some ask NATS for jobs").help(
            "they cannot write to Redis: `/readyz?verbose` of a worker says why, and its Redis user needs what deploy/ gives it",
        );
    }
    if workers.is_empty() {
        return Finding::new(NAME, Level::Wrong, "none is there; no call is made")
            .help("start one with `longshore worker`");
    }
    let mut servers: Vec<&str> =
        workers.iter().flat_map(|worker| worker.servers.iter().map(ServerName::as_str)).collect();
    servers.sort_unstable();
    servers.dedup();
    let text = format!("{}, serving {}", count(workers.len() as u64, "worker"), servers.join(", "));
    Finding::new(NAME, Level::Good, &text)
}

fn clock(name: &'static str, ahead: i64) -> Finding {
    let apart = Elapsed(Duration::from_millis(ahead.unsigned_abs()));
    let text = match ahead {
        0 => "the same as here".to_owned(),
        1.. => format!("{apart} ahead of here"),
        _ => format!("{apart} behind here"),
    };
    let level = match ahead.saturating_abs() {
        ..=CLOCK_DOUBTFUL => return Finding::new(name, Level::Good, &text),
        ahead if ahead <= CLOCK_WRONG => Level::Doubtful,
        _ => Level::Wrong,
    };
    Finding::new(name, level, &text).help("let NTP set both clocks: timers and leases go by them")
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("one {what}") } else { format!("{number} {what}s") }
}

/// The exit code of NATS or Redis that cannot be reached, or refuses the user.
pub(super) fn unreachable(failures: [Option<&Failure>; 2]) -> Option<Exit> {
    failures.into_iter().flatten().map(|failure| failure.exit).find(|exit| *exit != Exit::Error)
}

/// What all findings come to. A server that cannot be reached outweighs the rest; what is doubtful counts if it is asked
/// for.
pub(crate) fn exit(unreachable: Option<Exit>, findings: &[Finding], is_strict: bool) -> Exit {
    let has = |level| findings.iter().any(|finding| finding.level == level);
    match unreachable {
        Some(exit) => exit,
        None if has(Level::Wrong) => Exit::Error,
        None if is_strict && has(Level::Doubtful) => Exit::Doubtful,
        None => Exit::Success,
    }
}

#[cfg(test)]
mod tests {
    use longshore_nats::{AccountStatus, Status, StreamStatus};
    use longshore_proto::{Partition, subject};

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

    /// A server with these streams.
    pub(super) fn status(streams: Vec<StreamStatus>) -> Status {
        let (version, server) = ("2.15.1".to_owned(), "n".to_owned());
        let account = AccountStatus::default();
        let round_trip = Duration::from_millis(1);
        Status { version, server, cluster: None, round_trip, account, logs_percent: 0, streams }
    }

    /// All streams of a cluster, nearly empty; the logs first.
    pub(super) fn all(partitions: u16) -> Vec<StreamStatus> {
        let logs = (0..partitions).map(|number| stream(&subject::log_stream(Partition(number))));
        let others = ["LS_JOBS", "LS_BLOBS", "LS_SUBMIT", "LS_DLQ", "KV_LS_WORKFLOWS"];
        logs.chain(others.map(stream)).collect()
    }

    #[test]
    fn clocks_may_be_a_second_apart() {
        let cases = [
            (0, Level::Good, "the same as here"),
            (-1_000, Level::Good, "1.0s behind here"),
            (1_001, Level::Doubtful, "1.0s ahead of here"),
            (30_000, Level::Wrong, "30.0s ahead of here"),
        ];
        for (ahead, level, text) in cases {
            let finding = clock("clock", ahead);
            assert_eq!((finding.level, finding.text.as_str()), (level, text));
        }
    }

    #[test]
    fn workers_that_pull_jobs_and_are_not_listed_are_not_told_to_start() {
        let help = |pulls| workers(&[], pulls).help.unwrap_or_default();
        assert!(help(0).contains("start one"), "{}", help(0));
        assert!(help(1).contains("cannot write to Redis"), "{}", help(1));
    }

    #[test]
    fn the_worst_finding_and_the_strictness_decide_the_exit_code() {
        let gone = Failure::new(Exit::Unreachable, "gone");
        let broken = Failure::new(Exit::Error, "no answer");
        assert_eq!(unreachable([Some(&broken), Some(&gone)]), Some(Exit::Unreachable));
        assert_eq!(unreachable([Some(&broken), None]), None);
        let (wrong, doubtful) =
            (Finding::new("x", Level::Wrong, "y"), Finding::new("x", Level::Doubtful, "y"));
        let unknown = [Finding::new("x", Level::Unknown, "y")];
        let both = [doubtful.clone(), wrong];
        assert_eq!(exit(Some(Exit::Unreachable), &both, true), Exit::Unreachable);
        assert_eq!(exit(None, &both, true), Exit::Error);
        assert_eq!(exit(None, std::slice::from_ref(&doubtful), false), Exit::Success);
        assert_eq!(exit(None, &[doubtful], true), Exit::Doubtful);
        assert_eq!(exit(None, &unknown, true), Exit::Success);
    }
}
