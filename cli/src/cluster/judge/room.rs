//! Judges the streams: their existence, their servers, and the room in them and in the account.

use longshore_nats::{AccountStatus, DEAD_LETTER_TRIM_PERCENT, NatsStatus, StreamStatus};
use longshore_ports::ADMISSION_LIMIT_PERCENT;
use longshore_proto::{Partition, subject};

use super::FULL_PERCENT;
use crate::cluster::probes::is_full;
use crate::finding::{Finding, FindingLevel};

/// Fullness of the logs, in per cent, at which it becomes doubtful: well before submits are refused, because logs only grow.
const LOGS_DOUBTFUL_PERCENT: u64 = 50;

/// Judges the streams and the account.
pub(super) fn streams(status: &NatsStatus, partitions: u16) -> Vec<Finding> {
    let mut findings = vec![presence(status, partitions)];
    findings.extend(copies(&status.streams));
    findings.push(logs(status.logs_percent));
    findings.push(room(&status.streams, status.logs_percent));
    findings.push(account(status.account));
    findings
}

fn presence(status: &NatsStatus, partitions: u16) -> Finding {
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
        let text = format!("there are {found} logs, but `partitions` is {partitions}");
        return Finding::new("streams", FindingLevel::Wrong, &text)
            .help("give every process the same `partitions`");
    }
    match (there.len(), missing.as_slice()) {
        (count, []) => Finding::new("streams", FindingLevel::Good, &format!("all {count} exist")),
        (0, _) => Finding::new("streams", FindingLevel::Wrong, "none exists").help(
            "the first scheduler that starts creates them; if this cluster has run before, NATS has lost its data",
        ),
        (_, missing) => {
            let text = format!("missing: {}", missing.join(", "));
            Finding::new("streams", FindingLevel::Wrong, &text).help(
                "a scheduler that runs or starts creates them within seconds, if `partitions` is unchanged since the cluster was set up",
            )
        }
    }
}

/// Judges the replicas of the streams: streams without a leader, and streams with unavailable servers.
fn copies(streams: &[StreamStatus]) -> Option<Finding> {
    const NAME: &str = "copies of streams";
    let named = |some: fn(&&StreamStatus) -> bool| {
        streams.iter().filter(some).map(|stream| stream.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let leaderless = named(|stream| !stream.has_leader);
    let lacking = named(|stream| !stream.replicas_away.is_empty());
    if !leaderless.is_empty() {
        let text = format!("without a leader, so nothing is stored: {leaderless}");
        Some(
            Finding::new(NAME, FindingLevel::Wrong, &text)
                .help("start the NATS servers that are unavailable"),
        )
    } else if lacking.is_empty() {
        None
    } else {
        let text = format!("some of their servers are unavailable: {lacking}");
        Some(
            Finding::new(NAME, FindingLevel::Doubtful, &text)
                .help("start the NATS servers that are unavailable"),
        )
    }
}

/// Judges the room in the logs, which decides whether submits are admitted.
fn logs(percent: u64) -> Finding {
    const NAME: &str = "room in the logs";
    let level = match percent {
        ADMISSION_LIMIT_PERCENT.. => FindingLevel::Wrong,
        LOGS_DOUBTFUL_PERCENT.. => FindingLevel::Doubtful,
        _ => FindingLevel::Good,
    };
    let now = if level == FindingLevel::Wrong { "are refused" } else { "are admitted" };
    let text = format!("{percent} % used; submits {now} (the limit is {ADMISSION_LIMIT_PERCENT} %)");
    if level == FindingLevel::Good {
        return Finding::new(NAME, level, &text);
    }
    Finding::new(NAME, level, &text).help(
        "raise `max_file` of the NATS account, and `max_bytes` of a log's stream if you have set one: logs are not trimmed, so \
         this room does not come back when runs end",
    )
}

/// Judges the room in the other streams.
fn room(streams: &[StreamStatus], logs_percent: u64) -> Finding {
    const NAME: &str = "room in streams";
    let mut nearly_full: Vec<_> = streams.iter().filter(|stream| percent(stream) >= FULL_PERCENT).collect();
    nearly_full.sort_by_key(|stream| std::cmp::Reverse(percent(stream)));
    if nearly_full.is_empty() {
        return Finding::new(
            NAME,
            FindingLevel::Good,
            &format!("all are below {FULL_PERCENT} % of their limits"),
        );
    }
    let each = nearly_full.iter().map(|stream| match (stream.name.as_str(), percent(stream)) {
        (name, percent) if stream.refuses_when_full => format!("{name} is at {percent} %"),
        (name @ subject::DEAD_LETTER_STREAM, percent) => format!(
            "{name} is at {percent} % (from {DEAD_LETTER_TRIM_PERCENT} % on, the oldest refused submits of the namespace with \
             the most are removed before their 30 days)"
        ),
        (name, percent) => format!("{name} is at {percent} % and drops its oldest messages"),
    });
    let text = each.collect::<Vec<_>>().join(", ");
    let is_refusing = nearly_full.iter().any(|stream| stream.refuses_when_full && refuses(stream));
    let level = if is_refusing { FindingLevel::Wrong } else { FindingLevel::Doubtful };
    let mut advice: Vec<_> = nearly_full.iter().map(|stream| remedy(&stream.name, logs_percent)).collect();
    advice.dedup();
    Finding::new(NAME, level, &text).help(&advice.join("; "))
}

/// Returns advice on how to make room in a stream. A larger `max_bytes` is the last resort, because it takes room from the
/// logs.
fn remedy(stream: &str, logs_percent: u64) -> &'static str {
    match stream {
        subject::SUBMIT_STREAM if logs_percent >= ADMISSION_LIMIT_PERCENT => {
            "submits wait because the logs are too full to admit them: make room in the logs"
        }
        subject::SUBMIT_STREAM => "submits wait: start more schedulers, or check their logs",
        subject::DEAD_LETTER_STREAM => {
            "fix what is refused (`longshore dlq list`), and remove what is no longer needed (`longshore dlq drop`)"
        }
        subject::JOBS_STREAM => "jobs wait: start more workers, or check their logs",
        _ => {
            "raise `max_file` of the NATS account, which changes the sizes of streams when a scheduler starts, or its `max_bytes` if you set it"
        }
    }
}

/// Returns true if a stream has no room for the next message.
fn refuses(stream: &StreamStatus) -> bool {
    stream.max_bytes.is_some_and(|limit| is_full(stream.bytes, limit))
        || stream.max_messages.is_some_and(|limit| stream.messages >= limit)
}

/// Returns the fullness of a stream in per cent, by bytes or by messages, whichever is more.
fn percent(stream: &StreamStatus) -> u64 {
    let of = |count: u64, most: Option<u64>| {
        most.and_then(|most| count.saturating_mul(100).checked_div(most)).unwrap_or(0)
    };
    of(stream.bytes, stream.max_bytes).max(of(stream.messages, stream.max_messages))
}

fn account(account: AccountStatus) -> Finding {
    const NAME: &str = "room in the account";
    let mebibytes = |bytes: u64| bytes / (1024 * 1024);
    let Some(limit) = account.max_bytes.filter(|limit| *limit > 0) else {
        let text = format!("{} MiB are stored, no limit", mebibytes(account.bytes));
        return Finding::new(NAME, FindingLevel::Good, &text);
    };
    let percent = account.bytes.saturating_mul(100) / limit;
    let text = format!("{} of {} MiB are stored, {percent} %", mebibytes(account.bytes), mebibytes(limit));
    let level = if is_full(account.bytes, limit) {
        FindingLevel::Wrong
    } else if percent >= FULL_PERCENT {
        FindingLevel::Doubtful
    } else {
        return Finding::new(NAME, FindingLevel::Good, &text);
    };
    Finding::new(NAME, level, &text)
        .help("raise `max_file` of the NATS account: when it is full, results cannot be stored either")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{all, status};
    use super::*;

    fn judged(finding: Finding) -> (FindingLevel, String) {
        (finding.level, finding.text)
    }

    #[test]
    fn all_streams_must_exist() {
        let judge = |streams| judged(presence(&status(streams), 2));
        assert_eq!(judge(all(2)), (FindingLevel::Good, "all 7 exist".to_owned()));
        assert_eq!(judge(Vec::new()), (FindingLevel::Wrong, "none exists".to_owned()));
        assert_eq!(judge(all(1)), (FindingLevel::Wrong, "missing: LS_LOG_01".to_owned()));
        assert_eq!(judge(all(3)).0, FindingLevel::Wrong);
    }

    #[test]
    fn streams_need_a_leader_and_should_have_all_replicas() {
        let mut streams = all(1);
        assert_eq!(copies(&streams), None);
        streams[0].replicas_away = vec!["n2".to_owned()];
        let (level, text) = copies(&streams).map(judged).expect("a finding");
        assert_eq!(
            (level, text.as_str()),
            (FindingLevel::Doubtful, "some of their servers are unavailable: LS_LOG_00")
        );
        streams[0].has_leader = false;
        assert_eq!(copies(&streams).map(|finding| finding.level), Some(FindingLevel::Wrong));
    }

    #[test]
    fn nearly_full_stream_is_doubtful_and_full_one_wrong() {
        let mut streams = all(1);
        assert_eq!(room(&streams, 0).level, FindingLevel::Good);
        streams[0].bytes = 71;
        assert_eq!(judged(room(&streams, 0)), (FindingLevel::Doubtful, "LS_LOG_00 is at 71 %".to_owned()));
        streams[0].bytes = 100;
        assert_eq!(room(&streams, 0).level, FindingLevel::Wrong);
    }

    #[test]
    fn dead_letters_that_are_dropped_early_are_doubtful() {
        let mut streams = all(1);
        for stream in streams.iter_mut().filter(|stream| stream.name == subject::DEAD_LETTER_STREAM) {
            (stream.bytes, stream.refuses_when_full) = (100, false);
        }
        let found = room(&streams, 0);
        assert!(
            found.text.starts_with("LS_DLQ is at 100 % (from 80 % on, the oldest refused"),
            "{}",
            found.text
        );
        assert_eq!(found.level, FindingLevel::Doubtful);
        assert!(found.help.is_some_and(|help| help.contains("longshore dlq list")));
    }

    #[test]
    fn logs_are_doubtful_before_submits_are_refused() {
        for (percent, level) in [
            (0, FindingLevel::Good),
            (49, FindingLevel::Good),
            (50, FindingLevel::Doubtful),
            (69, FindingLevel::Doubtful),
            (70, FindingLevel::Wrong),
        ] {
            assert_eq!(logs(percent).level, level, "{percent}");
        }
    }

    #[test]
    fn advice_for_waiting_submits_names_the_logs_only_if_they_are_too_full() {
        let mut streams = all(1);
        for stream in streams.iter_mut().filter(|stream| stream.name == "LS_SUBMIT") {
            stream.bytes = 99;
        }
        let help = |percent| room(&streams, percent).help.expect("advice");
        assert!(help(70).contains("the logs are too full"), "{}", help(70));
        assert!(help(69).contains("start more schedulers"), "{}", help(69));
    }

    #[test]
    fn account_is_judged_by_its_limit() {
        let level = |bytes, max_bytes| account(AccountStatus { bytes, max_bytes }).level;
        assert_eq!(level(1 << 40, None), FindingLevel::Good);
        assert_eq!(level(69, Some(100)), FindingLevel::Good);
        assert_eq!(level(70, Some(100)), FindingLevel::Doubtful);
        assert_eq!(level(100, Some(100)), FindingLevel::Wrong);
    }
}
