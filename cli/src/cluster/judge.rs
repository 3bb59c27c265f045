//! What the findings of a doctor mean: pure, so that every word of it can be tested.

use std::time::Duration;

use longshore_backend::nats;
use longshore_backend::redis::Persistence;
use longshore_proto::subject;
use longshore_proto::{Partition, ServerName};

use super::examine::{NatsSeen, RedisSeen};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding::{Finding, Level};
use crate::output::Elapsed;

/// How far clocks may be apart before it is worth a word, and before timers and leases go visibly wrong.
const CLOCK_DOUBTFUL: i64 = 1_000;
const CLOCK_WRONG: i64 = 10_000;

/// The version of nats-server that is recommended.
const RECOMMENDED: (u32, u32, u32) = (2, 15, 1);

/// How full a store may be before somebody should look: submits are turned away at seven tenths.
const FULL_PERCENT: u64 = 70;

/// Somebody who cannot be reached, or will not do.
pub(super) fn away(name: &'static str, failure: &Failure) -> Finding {
    Finding::new(name, Level::Wrong, &failure.message).maybe_help(failure.help.as_deref())
}

/// NATS, its streams and the schedulers.
pub(super) fn nats(seen: &NatsSeen, partitions: u16) -> Vec<Finding> {
    let status = &seen.status;
    let mut findings = vec![version(status), streams(status, partitions)];
    findings.extend(queue(status));
    findings.push(match seen.clock_ahead {
        Some(ahead) => clock("clock of NATS", ahead),
        None => Finding::new("clock of NATS", Level::Unknown, "told only once there are streams"),
    });
    findings.push(match seen.schedulers.len() {
        0 => Finding::new("schedulers", Level::Doubtful, "none answers")
            .help("start one with `longshore scheduler`"),
        1 => Finding::new("schedulers", Level::Good, "one answers"),
        several => Finding::new("schedulers", Level::Good, &format!("{several} answer")),
    });
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

fn streams(status: &nats::Status, partitions: u16) -> Finding {
    let logs = (0..partitions).map(|number| subject::log_stream(Partition(number)));
    let others = [
        subject::JOBS_STREAM.to_owned(),
        subject::BLOBS_STREAM.to_owned(),
        subject::SUBMIT_STREAM.to_owned(),
        subject::DEAD_LETTER_STREAM.to_owned(),
        subject::WORKFLOWS_STREAM.to_owned(),
    ];
    let is_there = |name: &String| status.streams.iter().any(|stream| stream.name == *name);
    let (there, missing): (Vec<_>, Vec<_>) = logs.chain(others).partition(is_there);
    let found =
        status.streams.iter().filter(|stream| stream.name.starts_with(subject::LOG_STREAM_PREFIX)).count();
    if found > usize::from(partitions) {
        let text = format!("there are {found} logs, and `partitions` is {partitions}");
        return Finding::new("streams", Level::Wrong, &text).help("give every process the same `partitions`");
    }
    if let Some(full) = status.streams.iter().find(|stream| percent(stream) >= FULL_PERCENT) {
        let text = format!("{} is at {} % of its bytes", full.name, percent(full));
        return Finding::new("streams", Level::Doubtful, &text)
            .help("raise its max_bytes (`nats stream edit`)");
    }
    match (there.len(), missing.as_slice()) {
        (count, []) => Finding::new("streams", Level::Good, &format!("all {count} are there")),
        (0, _) => Finding::new("streams", Level::Doubtful, "none is there yet")
            .help("the first scheduler or worker makes them"),
        (_, missing) => {
            let text = format!("missing: {}", missing.join(", "));
            Finding::new("streams", Level::Wrong, &text).help(
                "the next scheduler that starts makes them, if `partitions` is as it was when the cluster was set up",
            )
        }
    }
}

/// How much of what a stream may hold it does hold.
fn percent(stream: &nats::StreamStatus) -> u64 {
    stream.max_bytes.and_then(|most| stream.bytes.saturating_mul(100).checked_div(most)).unwrap_or(0)
}

/// Jobs that nobody asks for: those of a queue without workers, and those of servers that no worker ever had.
fn queue(status: &nats::Status) -> Vec<Finding> {
    let Some(jobs) = status.streams.iter().find(|stream| stream.name == subject::JOBS_STREAM) else {
        return Vec::new();
    };
    let is_stuck = |consumer: &&nats::ConsumerStatus| {
        consumer.pending > 0 && consumer.waiting == 0 && consumer.ack_pending == 0
    };
    let mut findings: Vec<_> = jobs.consumers.iter().filter(is_stuck).map(unserved).collect();
    let known =
        |consumer: &nats::ConsumerStatus| consumer.pending.saturating_add(consumer.ack_pending as u64);
    let unknown = jobs.messages.saturating_sub(jobs.consumers.iter().map(known).sum());
    if unknown > 0 {
        let text = format!("{} for servers that no worker has ever served", waiting(unknown));
        findings.push(Finding::new("queue", Level::Doubtful, &text).help("`longshore runs show` says which"));
    }
    findings
}

fn waiting(jobs: u64) -> String {
    if jobs == 1 { "one job waits".to_owned() } else { format!("{jobs} jobs wait") }
}

fn unserved(consumer: &nats::ConsumerStatus) -> Finding {
    // Its name is the class and the server: `std-crm`.
    let server = consumer.name.split_once('-').map_or(consumer.name.as_str(), |(_, server)| server);
    let text = format!("{} for `{server}`, and no worker asks", waiting(consumer.pending));
    let help = format!("start a worker whose servers file has `{server}`");
    Finding::new("queue", Level::Doubtful, &text).help(&help)
}

/// Redis and the workers.
pub(super) fn redis(seen: &RedisSeen, partitions: u16) -> Vec<Finding> {
    let status = &seen.status;
    let used = status.memory_bytes / (1024 * 1024);
    let memory = match status.memory_limit_bytes {
        Some(limit) => format!("{used} of {} MiB", limit / (1024 * 1024)),
        None => format!("{used} MiB, no limit"),
    };
    let whole = format!("Redis {}, {memory}, {}", status.version, status.policy);
    let is_full =
        status.memory_limit_bytes.is_some_and(|limit| status.memory_bytes > limit / 100 * FULL_PERCENT);
    let mut findings = vec![if status.disk_failing {
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
    let led = status.keys.leases;
    findings.push(if led < u64::from(partitions) {
        let level = if status.keys.schedulers == 0 { Level::Unknown } else { Level::Doubtful };
        Finding::new("partitions", level, &format!("{led} of {partitions} are led"))
    } else {
        Finding::new("partitions", Level::Good, &format!("all {partitions} are led"))
    });
    findings.push(match seen.workers.as_slice() {
        [] => Finding::new("workers", Level::Doubtful, "none is there")
            .help("start one with `longshore worker`"),
        workers => {
            let mut servers: Vec<&str> =
                workers.iter().flat_map(|worker| worker.servers.iter().map(ServerName::as_str)).collect();
            servers.sort_unstable();
            servers.dedup();
            let text = format!("{}, serving {}", count(workers.len() as u64, "worker"), servers.join(", "));
            Finding::new("workers", Level::Good, &text)
        }
    });
    findings
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

/// What all findings come to. Somebody who cannot be reached outweighs the rest.
pub(super) fn exit(failures: [Option<&Failure>; 2], findings: &[Finding]) -> Exit {
    let is_away = |failure: &&Failure| failure.exit != Exit::Error;
    match failures.into_iter().flatten().find(is_away) {
        Some(failure) => failure.exit,
        None if findings.iter().any(|finding| finding.level == Level::Wrong) => Exit::Error,
        None => Exit::Success,
    }
}

#[cfg(test)]
mod tests {
    use longshore_backend::nats::{AccountStatus, ConsumerStatus, Status, StreamStatus};

    use super::*;

    fn stream(name: &str, bytes: u64, consumers: Vec<ConsumerStatus>) -> StreamStatus {
        StreamStatus {
            name: name.to_owned(),
            messages: 1,
            bytes,
            max_bytes: Some(100),
            max_messages: None,
            refuses_when_full: true,
            has_leader: true,
            replicas_away: Vec::new(),
            settings: String::new(),
            consumers,
        }
    }

    fn status(streams: Vec<StreamStatus>) -> Status {
        let (version, server) = ("2.15.1".to_owned(), "n".to_owned());
        let account = AccountStatus::default();
        Status { version, server, cluster: None, round_trip: Duration::from_millis(1), account, streams }
    }

    fn all(partitions: u16) -> Vec<StreamStatus> {
        let logs =
            (0..partitions).map(|number| stream(&subject::log_stream(Partition(number)), 1, Vec::new()));
        let others = ["LS_JOBS", "LS_BLOBS", "LS_SUBMIT", "LS_DLQ", "KV_LS_WORKFLOWS"];
        logs.chain(others.map(|name| stream(name, 1, Vec::new()))).collect()
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
    fn streams_are_all_there_or_none_yet() {
        let judged = |streams: Vec<StreamStatus>| {
            let finding = super::streams(&status(streams), 2);
            (finding.level, finding.text)
        };
        assert_eq!(judged(all(2)), (Level::Good, "all 7 are there".to_owned()));
        assert_eq!(judged(Vec::new()), (Level::Doubtful, "none is there yet".to_owned()));
        assert_eq!(judged(all(1)), (Level::Wrong, "missing: LS_LOG_01".to_owned()));
        assert_eq!(judged(all(3)).0, Level::Wrong);
        let mut full = all(2);
        full[0].bytes = 71;
        assert_eq!(judged(full), (Level::Doubtful, "LS_LOG_00 is at 71 % of its bytes".to_owned()));
    }

    #[test]
    fn jobs_that_nobody_asks_for_are_told_with_their_server() {
        let told = |pending, waiting| {
            let consumer = ConsumerStatus { name: "std-crm".to_owned(), pending, ack_pending: 0, waiting };
            let findings = queue(&status(vec![stream("LS_JOBS", 1, vec![consumer])]));
            findings.into_iter().map(|finding| finding.text).collect::<Vec<_>>()
        };
        assert_eq!(told(1, 0), ["one job waits for `crm`, and no worker asks"]);
        assert_eq!(told(1, 1), [""; 0]);
        assert_eq!(told(0, 1), ["one job waits for servers that no worker has ever served"]);
    }

    #[test]
    fn what_cannot_be_reached_decides_the_exit_code() {
        let unreachable = Failure::new(Exit::Unreachable, "gone");
        let wrong = Finding::new("x", Level::Wrong, "y");
        let doubtful = Finding::new("x", Level::Doubtful, "y");
        assert_eq!(exit([Some(&unreachable), None], &[]), Exit::Unreachable);
        assert_eq!(exit([None, None], &[wrong]), Exit::Error);
        assert_eq!(exit([None, None], &[doubtful]), Exit::Success);
    }
}
