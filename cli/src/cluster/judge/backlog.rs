//! Judges the jobs in the queue, by their servers and the workers that are running.

use std::time::Duration;

use longshore_nats::{Backlog, ServerBacklog};
use longshore_ports::WorkerEntry;

use crate::finding::{Finding, FindingLevel};
use crate::output::Elapsed;

/// Age at which a waiting job becomes doubtful, although a worker serves its server.
const WAIT_DOUBTFUL: Duration = Duration::from_secs(300);

/// Number of servers that are named.
const MAX_SERVERS: usize = 10;

/// Name of the check.
const NAME: &str = "queue";

/// Judges the jobs in the queue. `workers` is `None` while Redis does not answer.
pub(super) fn queue(backlog: &Result<Backlog, String>, workers: Option<&[WorkerEntry]>) -> Vec<Finding> {
    let backlog = match backlog {
        Ok(backlog) => backlog,
        Err(reason) => {
            let text = format!("cannot read the queue: {reason}");
            return vec![Finding::new(NAME, FindingLevel::Unknown, &text)];
        }
    };
    let mut findings: Vec<_> =
        backlog.servers.iter().filter_map(|server| of_server(server, workers)).take(MAX_SERVERS).collect();
    if backlog.unlisted > 0 {
        let text = format!("{} for servers that are not listed", jobs(backlog.unlisted));
        findings.push(
            Finding::new(NAME, FindingLevel::Doubtful, &text)
                .help("`longshore runs show` names the server of a run"),
        );
    }
    if findings.is_empty() {
        let waiting: u64 = backlog.servers.iter().map(|server| server.jobs).sum();
        let text = match waiting {
            0 => "empty".to_owned(),
            1 => "one job is waiting or delivered".to_owned(),
            _ => format!("{waiting} jobs are waiting or delivered"),
        };
        let text = match backlog.acknowledged.len() {
            0 => text,
            kept => format!("{text}; NATS has kept messages of jobs that are done: {kept}"),
        };
        findings.push(Finding::new(NAME, FindingLevel::Good, &text));
    }
    findings
}

fn of_server(backlog: &ServerBacklog, workers: Option<&[WorkerEntry]>) -> Option<Finding> {
    let ServerBacklog { server, oldest, .. } = backlog;
    let what = format!("{} for `{server}`, the oldest for {}", jobs(backlog.jobs), Elapsed(*oldest));
    let is_served = match workers {
        Some(workers) => {
            workers.iter().any(|worker| worker.servers.iter().any(|name| name.as_str() == server))
        }
        None if backlog.pulls > 0 || backlog.out > 0 => true,
        None => {
            let text = format!("{what}; without Redis it is not known whether a worker serves it");
            return Some(Finding::new(NAME, FindingLevel::Unknown, &text));
        }
    };
    // A worker that is not listed pulls. A job may still count as delivered to one that has ended.
    if !is_served && backlog.pulls == 0 {
        let text = format!("{what}, and no running worker serves it");
        let help = format!("start a worker whose servers file has `{server}`");
        return Some(Finding::new(NAME, FindingLevel::Doubtful, &text).help(&help));
    }
    let is_late = *oldest >= WAIT_DOUBTFUL;
    is_late.then(|| {
        Finding::new(NAME, FindingLevel::Doubtful, &what)
            .help("start more workers for it, or check their logs")
    })
}

fn jobs(count: u64) -> String {
    if count == 1 { "one job waits".to_owned() } else { format!("{count} jobs wait") }
}

#[cfg(test)]
mod tests {
    use longshore_proto::Timestamp;

    use super::*;

    fn waiting(oldest: u64, pulls: u64) -> Result<Backlog, String> {
        let (server, oldest) = ("crm".to_owned(), Duration::from_secs(oldest));
        let crm = ServerBacklog { server, jobs: 1, out: 0, pulls, has_consumer: pulls > 0, oldest };
        Ok(Backlog { servers: vec![crm], ..Backlog::default() })
    }

    fn worker(server: &str) -> WorkerEntry {
        WorkerEntry {
            worker: "w".parse().expect("a name"),
            version: "1".to_owned(),
            started_at: Timestamp::default(),
            slots: 1,
            servers: vec![server.parse().expect("a server")],
            problems: Vec::new(),
        }
    }

    fn judged(backlog: Result<Backlog, String>, workers: Option<&[WorkerEntry]>) -> (FindingLevel, String) {
        let mut findings = queue(&backlog, workers);
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings.pop().map(|finding| (finding.level, finding.text)).expect("one")
    }

    #[test]
    fn jobs_are_judged_by_the_running_workers() {
        let unserved = "one job waits for `crm`, the oldest for 9.0s, and no running worker serves it";
        assert_eq!(
            judged(waiting(9, 0), Some(&[worker("erp")])),
            (FindingLevel::Doubtful, unserved.to_owned())
        );
        let mut out_to_an_ended_worker = waiting(9, 0);
        out_to_an_ended_worker.iter_mut().for_each(|backlog| backlog.servers[0].out = 1);
        assert_eq!(judged(out_to_an_ended_worker, Some(&[worker("erp")])).0, FindingLevel::Doubtful);
        assert_eq!(judged(waiting(9, 1), Some(&[worker("crm")])).0, FindingLevel::Good);
        assert_eq!(judged(waiting(301, 1), Some(&[worker("crm")])).0, FindingLevel::Doubtful);
        let kept = Backlog { acknowledged: vec![1, 4], ..Backlog::default() };
        let text = "empty; NATS has kept messages of jobs that are done: 2";
        assert_eq!(judged(Ok(kept), Some(&[])), (FindingLevel::Good, text.to_owned()));
        assert_eq!(judged(Ok(Backlog::default()), Some(&[])), (FindingLevel::Good, "empty".to_owned()));
    }

    #[test]
    fn without_data_the_finding_is_unknown() {
        let (level, text) = judged(waiting(9, 0), None);
        assert_eq!(level, FindingLevel::Unknown);
        assert!(text.ends_with("without Redis it is not known whether a worker serves it"), "{text}");
        let (level, text) = judged(Err("no answer".to_owned()), Some(&[]));
        assert_eq!((level, text.as_str()), (FindingLevel::Unknown, "cannot read the queue: no answer"));
    }
}
