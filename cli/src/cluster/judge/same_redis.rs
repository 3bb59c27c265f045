//! Judges whether all schedulers use the Redis of this command.

use crate::cluster::redis_data::RedisIdentity;
use crate::cluster::redis_identity::ADVICE;
use crate::cluster::snapshot::SchedulerSnapshot;
use crate::finding::{Finding, FindingLevel};

/// Returns a finding if schedulers use different ones. Without `own`, they are compared with each other only.
pub(super) fn finding(own: Option<&RedisIdentity>, schedulers: &[SchedulerSnapshot]) -> Option<Finding> {
    let reported: Vec<_> = schedulers
        .iter()
        .filter_map(|scheduler| Some((scheduler.node.as_str(), scheduler.redis.as_ref()?)))
        .collect();
    let (user, expected) = match own {
        Some(own) => ("this command", own),
        None => reported.first().map(|(node, redis)| (*node, *redis))?,
    };
    let others: Vec<_> = reported
        .iter()
        .filter(|(_, redis)| redis.data != expected.data)
        .map(|(node, redis)| format!("{node} uses {redis}"))
        .collect();
    if others.is_empty() {
        return None;
    }
    let text = format!(
        "{user} uses {expected}, and {}: partitions could have two leaders, and calls with an `idempotency-key` could be made twice",
        others.join(", ")
    );
    Some(Finding::new("same Redis", FindingLevel::Wrong, &text).help(ADVICE))
}

/// Returns true if a scheduler reports other data at the same address, as it does for some seconds after that Redis was emptied.
pub(super) fn may_be_just_emptied(own: Option<&RedisIdentity>, schedulers: &[SchedulerSnapshot]) -> bool {
    let reported = schedulers.iter().filter_map(|scheduler| scheduler.redis.as_ref());
    own.is_some_and(|own| {
        reported.into_iter().any(|redis| redis.data != own.data && redis.address == own.address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(data: &str) -> RedisIdentity {
        RedisIdentity { data: data.to_owned(), address: format!("{data}.example:6379") }
    }

    fn scheduler(node: &str, data: Option<&str>) -> SchedulerSnapshot {
        SchedulerSnapshot {
            id: String::new(),
            version: String::new(),
            node: node.to_owned(),
            partitions: Vec::new(),
            takeovers: Vec::new(),
            problems: Vec::new(),
            atomic_batches: None,
            redis: data.map(redis),
        }
    }

    #[test]
    fn only_different_data_is_a_finding_and_names_both() {
        let (one, older, other) =
            (scheduler("a", Some("one")), scheduler("o", None), scheduler("b", Some("two")));
        assert_eq!(finding(Some(&redis("one")), &[one.clone(), older.clone()]), None);
        assert_eq!(finding(None, &[one.clone(), older]), None);
        let alias = RedisIdentity { address: "alias.example:6379".to_owned(), ..redis("one") };
        assert_eq!(finding(Some(&alias), std::slice::from_ref(&one)), None, "another address of the same");
        assert!(!may_be_just_emptied(Some(&redis("one")), &[one.clone(), other.clone()]));
        let emptied = RedisIdentity { data: "new".to_owned(), ..redis("one") };
        assert!(may_be_just_emptied(Some(&emptied), std::slice::from_ref(&one)));
        for own in [Some(&redis("one")), None] {
            let text = finding(own, &[one.clone(), other.clone()]).map(|finding| finding.text);
            let text = text.unwrap_or_default();
            assert!(text.contains("one.example") && text.contains("b uses two.example"), "{text}");
        }
    }
}
