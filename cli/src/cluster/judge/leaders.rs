//! What it means who leads which partition, and how long ago its state was stored.

use std::time::Duration;

use longshore_nats::{BatchSetting, BatchStatus};
use longshore_proto::Partition;

use crate::cluster::partitions::PartitionSeen;
use crate::cluster::snapshot::SchedulerSeen;
use crate::finding::{Finding, Level};
use crate::output::Elapsed;

/// How old a checkpoint may be: a leader stores its state, or looks whether it is still stored, every five seconds.
const CHECKPOINT_DOUBTFUL: Duration = Duration::from_secs(30);
const CHECKPOINT_WRONG: Duration = Duration::from_secs(300);

/// The schedulers and the partitions.
pub(super) fn schedulers(seen: &[SchedulerSeen], partitions: &[PartitionSeen]) -> Vec<Finding> {
    let mut findings = vec![match seen.len() {
        0 => Finding::new("schedulers", Level::Wrong, "none answers; nothing moves")
            .help("start one with `longshore scheduler`"),
        1 => Finding::new("schedulers", Level::Good, "one answers"),
        several => Finding::new("schedulers", Level::Good, &format!("{several} answer")),
    }];
    findings.extend(atomic_batches(seen));
    if seen.is_empty() {
        let text = "no scheduler answers, so it is not known who leads them";
        findings.push(Finding::new("partitions", Level::Unknown, text));
    } else {
        findings.push(leaders(partitions));
        findings.push(checkpoints(partitions));
    }
    findings
}

/// Returns the use of atomic batches by each scheduler that reports it.
fn atomic_batches(seen: &[SchedulerSeen]) -> Option<Finding> {
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
    (!described.is_empty()).then(|| Finding::new("atomic batches", Level::Good, &described.join(", ")))
}

fn leaders(partitions: &[PartitionSeen]) -> Finding {
    const NAME: &str = "partitions";
    let named = |some: &dyn Fn(&PartitionSeen) -> bool| {
        let numbers = partitions.iter().filter(|seen| some(seen));
        numbers.map(|seen| Partition(seen.partition).to_string()).collect::<Vec<_>>().join(", ")
    };
    let unled = named(&|seen| seen.leaders.is_empty() && seen.lease.is_none());
    let being_taken_over = named(&|seen| seen.leaders.is_empty());
    let led_twice = named(&|seen| seen.leaders.len() > 1);
    let not_by_holder =
        named(&|seen| seen.lease.as_ref().is_some_and(|holder| !seen.leaders.contains(holder)));
    if !unled.is_empty() {
        Finding::new(NAME, Level::Wrong, &format!("no scheduler leads {unled}"))
            .help("a scheduler takes them within 8 seconds, and within a minute after all NATS servers were away; if not, its log says why")
    } else if !being_taken_over.is_empty() {
        Finding::new(NAME, Level::Doubtful, &format!("being taken over: {being_taken_over}"))
            .help("this takes seconds, and up to a minute after all NATS servers were away; if it lasts, the log of the holder of the lease says why")
    } else if !led_twice.is_empty() {
        Finding::new(NAME, Level::Doubtful, &format!("two schedulers say that they lead {led_twice}"))
            .help("the log decides, and the older leader notices within seconds")
    } else if !not_by_holder.is_empty() {
        let text = format!("another scheduler has the lease than the one that leads: {not_by_holder}");
        Finding::new(NAME, Level::Doubtful, &text).help("they change hands; this takes seconds")
    } else {
        Finding::new(NAME, Level::Good, &format!("all {} are led", partitions.len()))
    }
}

fn checkpoints(partitions: &[PartitionSeen]) -> Finding {
    const NAME: &str = "checkpoints";
    let led = partitions.iter().filter(|seen| !seen.leaders.is_empty());
    let Some(oldest) = led.max_by_key(|seen| seen.checkpoint_age_ms.unwrap_or(u64::MAX)) else {
        return Finding::new(NAME, Level::Unknown, "no partition is led");
    };
    let partition = Partition(oldest.partition);
    let Some(millis) = oldest.checkpoint_age_ms else {
        let text = format!("the leader of partition {partition} has not stored its state yet");
        return Finding::new(NAME, Level::Doubtful, &text).help("look again in some seconds");
    };
    let age = Duration::from_millis(millis);
    let text = format!("the oldest is of {} ago, of partition {partition}", Elapsed(age));
    let level = match age {
        age if age < CHECKPOINT_DOUBTFUL => return Finding::new(NAME, Level::Good, &text),
        age if age < CHECKPOINT_WRONG => Level::Doubtful,
        _ => Level::Wrong,
    };
    Finding::new(NAME, level, &text)
        .help("Redis does not take them: a takeover has to replay that much of the log")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(leaders: &[&str], lease: Option<&str>, checkpoint_age_ms: Option<u64>) -> PartitionSeen {
        let leaders = leaders.iter().map(|leader| (*leader).to_owned()).collect();
        PartitionSeen {
            partition: 3,
            leaders,
            lease: lease.map(str::to_owned),
            checkpoint_age_ms,
            ..PartitionSeen::default()
        }
    }

    #[test]
    fn leases_and_the_words_of_schedulers_are_compared() {
        let judged = |seen: PartitionSeen| {
            let finding = leaders(&[seen]);
            (finding.level, finding.text)
        };
        assert_eq!(judged(led(&["a"], Some("a"), None)), (Level::Good, "all 1 are led".to_owned()));
        assert_eq!(judged(led(&["a"], None, None)).0, Level::Good, "Redis is away, and the log decides");
        assert_eq!(judged(led(&[], None, None)), (Level::Wrong, "no scheduler leads 03".to_owned()));
        assert_eq!(judged(led(&[], Some("a"), None)), (Level::Doubtful, "being taken over: 03".to_owned()));
        assert_eq!(judged(led(&["a", "b"], Some("a"), None)).0, Level::Doubtful);
        assert_eq!(judged(led(&["b"], Some("a"), None)).0, Level::Doubtful);
    }

    #[test]
    fn use_of_atomic_batches_is_shown_with_its_reason() {
        let scheduler = |node: &str, setting, used| SchedulerSeen {
            id: String::new(),
            version: String::new(),
            node: node.to_owned(),
            partitions: Vec::new(),
            problems: Vec::new(),
            atomic_batches: Some(BatchStatus { setting, used }),
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
        let older = SchedulerSeen { atomic_batches: None, ..scheduler("d", BatchSetting::Auto, None) };
        assert_eq!(atomic_batches(&[older]), None);
    }

    #[test]
    fn old_checkpoints_are_doubtful_and_then_wrong() {
        let level = |age| checkpoints(&[led(&["a"], None, Some(1)), led(&["a"], None, age)]).level;
        assert_eq!(level(Some(5_000)), Level::Good);
        assert_eq!(level(Some(31_000)), Level::Doubtful);
        assert_eq!(level(Some(301_000)), Level::Wrong);
        assert_eq!(level(None), Level::Doubtful);
    }
}
