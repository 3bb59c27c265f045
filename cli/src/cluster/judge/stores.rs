//! Judges the stores that processes cannot use. Each reason is one finding, with all stores and processes that have it.

use std::collections::{BTreeMap, BTreeSet};

use longshore_proto::Partition;

use crate::finding::{Finding, FindingLevel};

/// Prefix of run ids.
const RUN_ID_PREFIX: &str = "run_";

/// Number of reasons that are listed.
const MAX_REASONS: usize = 20;

/// The stores and processes with the same reason.
#[derive(Default)]
struct StoreFault<'a> {
    /// Names of stores in the order of the reports. The name of a store of a partition has no number.
    stores: Vec<&'a str>,
    /// The partitions of stores that belong to a partition, by the name of the store.
    partitions: BTreeMap<&'a str, BTreeSet<u16>>,
    /// The processes that report the reason.
    nodes: Vec<&'a str>,
}

/// Returns a finding for each reason why processes cannot use a store, with the stores and the processes.
pub(super) fn problems(reports: &[(&str, &[String])]) -> Vec<Finding> {
    let mut faults: Vec<(String, StoreFault<'_>)> = Vec::new();
    // If all streams answer, the reason why data is not stored is not an unavailable stream.
    let do_streams_answer = !reports.iter().flat_map(|(_, problems)| *problems).any(|problem| {
        ["nats: ", "LS_", "KV_LS_", "NATS account: "].iter().any(|store| problem.starts_with(store))
    });
    for (node, problems) in reports {
        for problem in *problems {
            let (store, reason) = problem.split_once(": ").unwrap_or(("store", problem));
            let (name, partition) = split_partition(store);
            let reason = without_partition_numbers(&common_reason(store, partition, reason));
            let index = faults.iter().position(|(known, _)| *known == reason).unwrap_or(faults.len());
            if index == faults.len() {
                faults.push((reason, StoreFault::default()));
            }
            if let Some((_, fault)) = faults.get_mut(index) {
                fault.add(node, name, partition);
            }
        }
    }
    faults.iter().take(MAX_REASONS).map(|(reason, fault)| finding(fault, reason, do_streams_answer)).collect()
}

fn finding(fault: &StoreFault<'_>, reason: &str, do_streams_answer: bool) -> Finding {
    let problem = format!("{}: {reason}", fault.store_names());
    let text = format!("{problem} (reported by {})", fault.nodes.join(", "));
    Finding::new("stores", FindingLevel::Wrong, &text)
        .maybe_help(remedy(&problem, do_streams_answer))
        .lacking_permission(lacks_permission(&problem))
}

impl<'a> StoreFault<'a> {
    fn add(&mut self, node: &'a str, name: &'a str, partition: Option<u16>) {
        if !self.nodes.contains(&node) {
            self.nodes.push(node);
        }
        if !self.stores.contains(&name) {
            self.stores.push(name);
        }
        if let Some(partition) = partition {
            self.partitions.entry(name).or_default().insert(partition);
        }
    }

    /// Returns the names of the stores: `LS_JOBS, checkpoints of partitions 00-03, 07`.
    fn store_names(&self) -> String {
        let shown = |name: &&str| match self.partitions.get(name) {
            None => (*name).to_owned(),
            Some(partitions) => {
                let plural = if partitions.len() > 1 && name.ends_with(' ') { "s" } else { "" };
                let separator = if name.ends_with(' ') { " " } else { "" };
                format!("{}{plural}{separator}{}", name.trim_end(), ranges(partitions))
            }
        };
        self.stores.iter().map(shown).collect::<Vec<_>>().join(", ")
    }
}

/// Splits the name of a store into the name and the number of its partition: `appends to log 03`, `LS_LOG_03`.
fn split_partition(store: &str) -> (&str, Option<u16>) {
    let name = store.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = store.get(name.len()..).and_then(|digits| digits.parse().ok());
    match number {
        Some(number) if name.ends_with([' ', '_']) => (name, Some(number)),
        _ => (store, None),
    }
}

/// Returns a reason without the parts that differ between equal problems: the duration, the run, and the partition.
fn common_reason(store: &str, partition: Option<u16>, reason: &str) -> String {
    let reason = reason.split(" (for ").next().unwrap_or(reason);
    // Names of streams are no words of a sentence, as other names are.
    let is_stream = !store.contains(' ') && store.contains("LS_");
    let reason = reason.replace(&format!("stream {store}"), "it");
    let reason = if is_stream { reason.replace(store, "it") } else { reason };
    let words = reason.split(' ').map(|word| if word.starts_with(RUN_ID_PREFIX) { "a run" } else { word });
    let reason = words.collect::<Vec<_>>().join(" ");
    let Some(partition) = partition.map(Partition) else { return reason };
    let own = [
        (format!("{{p{partition}}}"), "{p..}"),
        (format!("LS_LOG_{partition}"), "its log"),
        (format!("partition {partition}"), "its partition"),
        (format!("log {partition}"), "its log"),
    ];
    own.iter().fold(reason, |reason, (name, general)| reason.replace(name, general))
}

/// Returns a reason in which partitions have no numbers. A process reports the last request that failed for a store of all
/// partitions, which is about one of them.
fn without_partition_numbers(reason: &str) -> String {
    let mut parts = reason.split("partition ");
    let mut general = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        general.push_str(if rest.len() < part.len() { "a partition" } else { "partition " });
        general.push_str(rest);
    }
    general
}

/// Returns numbers of partitions, with ranges where possible: `00-03, 07`.
fn ranges(partitions: &BTreeSet<u16>) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for number in partitions {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let shown = ranges.iter().map(|(first, last)| {
        let (first, end) = (Partition(*first), Partition(*last));
        if first == end { first.to_string() } else { format!("{first}-{end}") }
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Returns true if a problem is a missing permission, by the error texts of NATS and Redis.
fn lacks_permission(problem: &str) -> bool {
    let problem = problem.to_lowercase();
    [
        "noperm",
        "permission",
        "acl failure",
        "the user executing the script can't",
        "noauth",
        "not enabled for account",
        "refuses user or password",
        "refuses the user of this process",
    ]
    .iter()
    .any(|words| problem.contains(words))
}

/// Returns advice for a problem of a process. A server whose disk has failed still answers requests about its streams, but
/// does not acknowledge messages to them.
fn remedy(problem: &str, do_streams_answer: bool) -> Option<&'static str> {
    let is_denied = lacks_permission(problem);
    let problem = problem.to_lowercase();
    let names = |words: &[&str]| words.iter().any(|word| problem.contains(word));
    let is_not_stored = do_streams_answer && names(&["no answer", "not acknowledged"]);
    if names(&["refuses user or password", "refuses the user of this process"]) {
        Some(
            "give that process the present user and password: it tries again by itself, and only a changed address needs a restart",
        )
    } else if is_not_stored && names(&["appends to log", "queue of jobs", "large values"]) {
        Some(
            "NATS answers, but stores nothing. If its log has `no space left on device`, or another error of its disk, make \
             room and then restart nats-server: since 2.14 such a stream accepts no messages until the server is restarted",
        )
    } else if names(&["insufficient resources", "resource limits exceeded", ": full: "]) {
        Some("raise the limit of the NATS account (`max_file`) or of the stream (`max_bytes`)")
    } else if names(&["used memory > 'maxmemory'"]) {
        Some("raise `maxmemory` of Redis")
    } else if is_denied {
        Some("give the user of that process the permissions of deploy/")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Error text of Redis.
    const OOM: &str = "\"OOM\": command not allowed when used memory > 'maxmemory'.";

    fn texts(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.text.as_str()).collect()
    }

    #[test]
    fn same_reason_of_several_partitions_and_processes_is_one_finding() {
        let of_each = |numbers: &[u16], seconds: u16| -> Vec<String> {
            let problem = |number: &u16| {
                let partition = Partition(*number);
                format!(
                    "checkpoints of partition {partition}: commit {{p{partition}}}: {OOM} (for {seconds} s)"
                )
            };
            let claim = format!("claims: claim of run_00_{seconds}@1/it in Redis: {OOM} (for 1 s)");
            numbers.iter().map(problem).chain([claim]).collect()
        };
        let (a, b) = (of_each(&[0, 1, 3], 4), of_each(&[2, 7], 9));
        let findings = problems(&[("a", &a), ("b", &b)]);
        assert_eq!(
            texts(&findings),
            [
                format!("checkpoints of partitions 00-03, 07: commit {{p..}}: {OOM} (reported by a, b)"),
                format!("claims: claim of a run in Redis: {OOM} (reported by a, b)"),
            ]
        );
        assert!(
            findings
                .iter()
                .all(|finding| finding.help.as_ref().is_some_and(|help| help.contains("maxmemory")))
        );
        let unavailable = |name: &str| format!("{name}: look at stream {name}: timed out (for 3 s)");
        let streams = ["LS_LOG_00", "LS_LOG_01", "LS_JOBS", "KV_LS_WORKFLOWS"].map(unavailable);
        let findings = problems(&[("a", &streams), ("b", &streams)]);
        let stores = "LS_LOG_00-01, LS_JOBS, KV_LS_WORKFLOWS";
        assert_eq!(texts(&findings), [format!("{stores}: look at it: timed out (reported by a, b)")]);
    }

    #[test]
    fn same_reason_about_the_leases_of_several_partitions_is_one_finding() {
        let of = |partition: &str| {
            [format!("leases: hold the lease on partition {partition} in Redis at a:1: refused (for 3 s)")]
        };
        let findings = problems(&[("a", &of("06")), ("b", &of("01"))]);
        let text = "leases: hold the lease on a partition in Redis at a:1: refused (reported by a, b)";
        assert_eq!(texts(&findings), [text]);
    }

    #[test]
    fn a_policy_of_redis_gets_no_advice_about_nats() {
        let problem = "settings of redis: Redis has `maxmemory-policy allkeys-lru` and drops checkpoints and claims when its \
                       memory is full: set `maxmemory-policy noeviction`";
        let findings = problems(&[("a", &[problem.to_owned()])]);
        assert_eq!(findings[0].help, None, "the text has the remedy");
        let full = problems(&[("a", &["LS_LOG_00: full: 7 of 8 bytes are stored".to_owned()])]);
        assert!(full[0].help.as_ref().is_some_and(|help| help.contains("max_file")));
    }

    #[test]
    fn same_problem_of_several_schedulers_is_one_finding_with_advice() {
        let one = |problem: &str| [problem.to_owned()];
        let (a, b) =
            (one("appends to log 00: no answer (for 3 s)"), one("appends to log 00: no answer (for 5 s)"));
        let findings = problems(&[("a", &a), ("b", &b)]);
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!(finding.text, "appends to log 00: no answer (reported by a, b)");
        assert!(finding.help.as_ref().is_some_and(|help| help.contains("restart nats-server")));
        let frozen = one("LS_LOG_00: no answer");
        assert!(
            problems(&[("a", &a), ("a", &frozen)]).iter().all(|finding| finding.help.is_none()),
            "the whole server is unavailable"
        );
    }

    #[test]
    fn name_of_a_store_in_a_sentence_is_not_replaced() {
        let problem =
            "list of workers: add this process to the list of workers in Redis: timed out (for 3 s)";
        let findings = problems(&[("a", &[problem.to_owned()])]);
        let expected =
            "list of workers: add this process to the list of workers in Redis: timed out (reported by a)";
        assert_eq!(texts(&findings), [expected]);
    }

    #[test]
    fn missing_permission_is_distinguished_from_a_full_store() {
        let lacks = |problem: &str| {
            let problems = problems(&[("a", &[problem.to_owned()])]);
            problems.iter().all(|finding| finding.lacks_permission)
        };
        assert!(lacks("redis: write a key: NOPERM: this user has no permissions to run the 'set' command"));
        assert!(lacks("claims: claim: The user executing the script can't access at least one of the keys"));
        assert!(lacks(
            "nats: NATS refuses the user of this process, or its password (authorization violation)"
        ));
        assert!(lacks("redis: ping in Redis at a:1: Redis refuses user or password of this process (x)"));
        assert!(!lacks("redis: write a key: OOM: command not allowed when used memory > 'maxmemory'"));
    }
}
