//! Judges the leaders of partitions and the ages of their checkpoints.

use std::time::Duration;

use longshore_nats::{BatchSetting, BatchStatus};
use longshore_proto::Partition;

use crate::cluster::partitions::PartitionSnapshot;
use crate::cluster::snapshot::SchedulerSnapshot;
use crate::finding::{Finding, FindingLevel};
use crate::output::Elapsed;

/// Ages of a checkpoint that are doubtful and wrong. A leader stores its state, or checks that it is still stored, every
/// five seconds.
const CHECKPOINT_DOUBTFUL: Duration = Duration::from_secs(30);
const CHECKPOINT_WRONG: Duration = Duration::from_secs(300);

/// Duration of a takeover that is wrong. A takeover takes seconds, and up to a minute after an outage of all NATS servers.
const TAKEOVER_WRONG: Duration = Duration::from_secs(60);

/// Judges the schedulers and the partitions.
pub(super) fn schedulers(seen: &[SchedulerSnapshot], partitions: &[PartitionSnapshot]) -> Vec<Finding> {
    let holds_a_lease = partitions.iter().any(|seen| seen.lease.is_some());
    let mut findings = vec![match seen.len() {
        0 if holds_a_lease => Finding::new("schedulers", FindingLevel::Wrong, "none answers, although they renew leases in Redis")
            .help("they have no connection to NATS, or an account of their own: `/readyz` of a scheduler shows the reason, such as a wrong password"),
        0 => Finding::new("schedulers", FindingLevel::Wrong, "none answers; no run is advanced")
            .help("start one with `longshore scheduler`"),
        1 => Finding::new("schedulers", FindingLevel::Good, "one answers"),
        several => Finding::new("schedulers", FindingLevel::Good, &format!("{several} answer")),
    }];
    findings.extend(atomic_batches(seen));
    if seen.is_empty() {
        let text = "no scheduler answers, so their leaders are not known";
        findings.push(Finding::new("partitions", FindingLevel::Unknown, text));
    } else {
        findings.push(leaders(partitions));
        findings.push(checkpoints(partitions));
    }
    findings
}

/// Returns the use of atomic batches by each scheduler that reports it.
fn atomic_batches(seen: &[SchedulerSnapshot]) -> Option<Finding> {
    let described = seen.iter().filter_map(|scheduler| {
        let BatchStatus { setting, used } = scheduler.atomic_batches?;
        let by = match (setting, used) {
            (BatchSetting::Auto, Some(_)) => "measured",
            (BatchSetting::Auto, None) => "no large group of jobs measured yet",
            (BatchSetting::Always | BatchSetting::Never, _) => "set by `nats.batch`",
        };
        let used = if used == Some(true) { "used" } else { "not used" };
        Some(format!("{used} by {} ({by})", scheduler.node))
    });
    let described: Vec<_> = described.collect();
    (!described.is_empty()).then(|| Finding::new("atomic batches", FindingLevel::Good, &described.join(", ")))
}

fn leaders(partitions: &[PartitionSnapshot]) -> Finding {
    const NAME: &str = "partitions";
    let named = |some: &dyn Fn(&PartitionSnapshot) -> bool| {
        let numbers = partitions.iter().filter(|seen| some(seen));
        numbers.map(|seen| Partition(seen.partition).to_string()).collect::<Vec<_>>().join(", ")
    };
    let unled = named(&|seen| seen.leaders.is_empty() && seen.lease.is_none());
    let wrong = TAKEOVER_WRONG.as_millis();
    let not_taken_over = named(&|seen| {
        seen.leaders.is_empty()
            && seen.takeover_pending_ms.is_some_and(|pending| u128::from(pending) >= wrong)
    });
    let being_taken_over = named(&|seen| seen.leaders.is_empty());
    let led_twice = named(&|seen| seen.leaders.len() > 1);
    let not_by_holder =
        named(&|seen| seen.lease.as_ref().is_some_and(|holder| !seen.leaders.contains(holder)));
    if !unled.is_empty() {
        Finding::new(NAME, FindingLevel::Wrong, &format!("no scheduler leads {unled}"))
            .help("a scheduler takes them over within 8 seconds, or within a minute after an outage of all NATS servers; if not, its log has the reason")
    } else if !not_taken_over.is_empty() {
        let text = format!("not taken over for more than {}: {not_taken_over}", Elapsed(TAKEOVER_WRONG));
        Finding::new(NAME, FindingLevel::Wrong, &text)
            .help("the log of the holder of the lease has the reason; a long log without a checkpoint takes minutes")
    } else if !being_taken_over.is_empty() {
        Finding::new(NAME, FindingLevel::Doubtful, &format!("being taken over: {being_taken_over}"))
            .help("this takes seconds, or up to a minute after an outage of all NATS servers; if it lasts, the log of the holder of the lease has the reason")
    } else if !led_twice.is_empty() {
        Finding::new(
            NAME,
            FindingLevel::Doubtful,
            &format!("two schedulers report that they lead {led_twice}"),
        )
        .help("the log decides, and the older leader steps down within seconds")
    } else if !not_by_holder.is_empty() {
        let text = format!("the leader does not hold the lease: {not_by_holder}");
        Finding::new(NAME, FindingLevel::Doubtful, &text)
            .help("they are being taken over, which takes seconds")
    } else {
        let text = match partitions.len() {
            1 => "the only one has a leader".to_owned(),
            several => format!("all {several} have a leader"),
        };
        Finding::new(NAME, FindingLevel::Good, &text)
    }
}

fn checkpoints(partitions: &[PartitionSnapshot]) -> Finding {
    const NAME: &str = "checkpoints";
    let led = partitions.iter().filter(|seen| !seen.leaders.is_empty());
    let Some(oldest) = led.max_by_key(|seen| seen.checkpoint_age_ms.unwrap_or(u64::MAX)) else {
        return Finding::new(NAME, FindingLevel::Unknown, "no partition has a leader");
    };
    let partition = Partition(oldest.partition);
    let Some(millis) = oldest.checkpoint_age_ms else {
        let text = format!("the leader of partition {partition} has not stored its state yet");
        return Finding::new(NAME, FindingLevel::Doubtful, &text).help("check again in some seconds");
    };
    let age = Duration::from_millis(millis);
    let text = format!("the oldest was stored {} ago, that of partition {partition}", Elapsed(age));
    let level = match age {
        age if age < CHECKPOINT_DOUBTFUL => return Finding::new(NAME, FindingLevel::Good, &text),
        age if age < CHECKPOINT_WRONG => FindingLevel::Doubtful,
        _ => FindingLevel::Wrong,
    };
    Finding::new(NAME, level, &text)
        .help("Redis does not accept them: a takeover has to replay the log since then")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(leaders: &[&str], lease: Option<&str>, checkpoint_age_ms: Option<u64>) -> PartitionSnapshot {
        let leaders = leaders.iter().map(|leader| (*leader).to_owned()).collect();
        PartitionSnapshot {
            partition: 3,
            leaders,
            lease: lease.map(str::to_owned),
            checkpoint_age_ms,
            ..PartitionSnapshot::default()
        }
    }

    #[test]
    fn leases_and_reported_leaders_are_compared() {
        let judged = |seen: PartitionSnapshot| {
            let finding = leaders(&[seen]);
            (finding.level, finding.text)
        };
        assert_eq!(
            judged(led(&["a"], Some("a"), None)),
            (FindingLevel::Good, "the only one has a leader".to_owned())
        );
        assert_eq!(judged(led(&["a"], None, None)).0, FindingLevel::Good, "without Redis, the log decides");
        for (pending, level) in [(59_000, FindingLevel::Doubtful), (60_000, FindingLevel::Wrong)] {
            let seen = PartitionSnapshot { takeover_pending_ms: Some(pending), ..led(&[], Some("a"), None) };
            assert_eq!(judged(seen).0, level, "{pending}");
        }
        assert_eq!(judged(led(&[], None, None)), (FindingLevel::Wrong, "no scheduler leads 03".to_owned()));
        assert_eq!(
            judged(led(&[], Some("a"), None)),
            (FindingLevel::Doubtful, "being taken over: 03".to_owned())
        );
        assert_eq!(judged(led(&["a", "b"], Some("a"), None)).0, FindingLevel::Doubtful);
        assert_eq!(judged(led(&["b"], Some("a"), None)).0, FindingLevel::Doubtful);
    }

    #[test]
    fn use_of_atomic_batches_is_shown_with_its_reason() {
        let scheduler = |node: &str, setting, used| SchedulerSnapshot {
            id: String::new(),
            version: String::new(),
            node: node.to_owned(),
            partitions: Vec::new(),
            takeovers: Vec::new(),
            problems: Vec::new(),
            atomic_batches: Some(BatchStatus { setting, used }),
            redis: None,
        };
        let seen = [
            scheduler("a", BatchSetting::Auto, Some(true)),
            scheduler("b", BatchSetting::Auto, None),
            scheduler("c", BatchSetting::Never, Some(false)),
        ];
        let text = atomic_batches(&seen).map(|finding| finding.text).unwrap_or_default();
        let expected = "used by a (measured), not used by b (no large group of jobs measured yet), \
                        not used by c (set by `nats.batch`)";
        assert_eq!(text, expected);
        let older = SchedulerSnapshot { atomic_batches: None, ..scheduler("d", BatchSetting::Auto, None) };
        assert_eq!(atomic_batches(&[older]), None);
    }

    #[test]
    fn old_checkpoints_are_doubtful_and_very_old_ones_wrong() {
        let level = |age| checkpoints(&[led(&["a"], None, Some(1)), led(&["a"], None, age)]).level;
        assert_eq!(level(Some(5_000)), FindingLevel::Good);
        assert_eq!(level(Some(31_000)), FindingLevel::Doubtful);
        assert_eq!(level(Some(301_000)), FindingLevel::Wrong);
        assert_eq!(level(None), FindingLevel::Doubtful);
    }
}
