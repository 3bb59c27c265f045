//! The report of `longshore doctor` as text.

use std::time::Duration;

use longshore_proto::{Partition, ServerName};

use super::{DoctorReport, SettingLine};
use crate::cluster::{BacklogSnapshot, PartitionSnapshot, StreamSnapshot};
use crate::finding::Finding;
use crate::output::{Elapsed, FAINT, PLAIN, STRONG, StyledLine, Symbols, aligned};

/// Returns the lines of the report.
pub(super) fn page(report: &DoctorReport<'_>, symbols: Symbols) -> Vec<StyledLine> {
    let file = report.file.as_deref().unwrap_or("no file");
    let mut lines = vec![StyledLine::of(STRONG, "configuration").with(FAINT, &format!("  {file}"))];
    lines.extend(aligned(report.settings.iter().map(setting).collect()));
    lines.extend([StyledLine::default(), StyledLine::of(STRONG, "checks")]);
    lines.extend(report.checks.iter().flat_map(|finding| check(finding, symbols)));
    let is_led = |seen: &PartitionSnapshot| !seen.leaders.is_empty() || seen.lease.is_some();
    if report.partitions.iter().any(is_led) {
        lines.push(StyledLine::default());
        lines.extend(aligned(partitions(report.partitions)));
    }
    if !report.backlog.is_empty() {
        lines.push(StyledLine::default());
        lines.extend(aligned(backlog(report.backlog)));
    }
    if !report.streams.is_empty() {
        lines.push(StyledLine::default());
        lines.extend(aligned(streams(report.streams)));
    }
    if !report.workers.is_empty() || !report.schedulers.is_empty() {
        lines.push(StyledLine::default());
        lines.extend(aligned(processes(report)));
    }
    lines
}

fn setting(setting: &SettingLine<'_>) -> Vec<StyledLine> {
    vec![
        StyledLine::of(PLAIN, &format!("  {}", setting.name)),
        setting.value.map_or_else(|| StyledLine::of(FAINT, "-"), |value| StyledLine::of(PLAIN, value)),
        StyledLine::of(FAINT, &setting.origin),
    ]
}

fn check(finding: &Finding, symbols: Symbols) -> Vec<StyledLine> {
    let (sign, style) = finding.level.sign(symbols);
    let line = StyledLine::of(style, &format!("  {sign} {}: ", finding.name)).with(PLAIN, &finding.text);
    let help = finding.help.as_ref().map(|help| StyledLine::of(FAINT, &format!("      {help}")));
    std::iter::once(line).chain(help).collect()
}

fn heading<const N: usize>(titles: [&str; N]) -> Vec<StyledLine> {
    titles.map(|title| StyledLine::of(FAINT, title)).to_vec()
}

fn partitions(partitions: &[PartitionSnapshot]) -> Vec<Vec<StyledLine>> {
    let mut rows = vec![heading(["PARTITION", "LEADER", "LEASE", "CHECKPOINT", "LOG"])];
    for seen in partitions {
        let leaders = if seen.leaders.is_empty() { "-".to_owned() } else { seen.leaders.join(", ") };
        let lease = seen.lease.clone().unwrap_or_else(|| "-".to_owned());
        let ago = |millis| format!("{} ago", Elapsed(Duration::from_millis(millis)));
        let checkpoint = seen.checkpoint_age_ms.map_or_else(|| "-".to_owned(), ago);
        let log = seen.log_bytes.map_or_else(|| "-".to_owned(), |bytes| stored(bytes, seen.log_max_bytes));
        let cells = [Partition(seen.partition).to_string(), leaders, lease, checkpoint, log];
        rows.push(cells.map(|cell| StyledLine::of(PLAIN, &cell)).to_vec());
    }
    rows
}

fn backlog(backlog: &[BacklogSnapshot]) -> Vec<Vec<StyledLine>> {
    let mut rows = vec![heading(["SERVER", "JOBS", "OUT", "OLDEST"])];
    for seen in backlog {
        let oldest = Elapsed(Duration::from_millis(seen.oldest_ms)).to_string();
        let cells = [seen.server.clone(), seen.jobs.to_string(), seen.out.to_string(), oldest];
        rows.push(cells.map(|cell| StyledLine::of(PLAIN, &cell)).to_vec());
    }
    rows
}

/// Returns a size, with its share of the limit.
fn stored(bytes: u64, limit: Option<u64>) -> String {
    match limit.filter(|limit| *limit > 0) {
        Some(limit) => format!("{bytes} of {limit} ({} %)", bytes.saturating_mul(100) / limit),
        None => bytes.to_string(),
    }
}

fn streams(streams: &[StreamSnapshot]) -> Vec<Vec<StyledLine>> {
    let mut rows = vec![heading(["STREAM", "MESSAGES", "BYTES", "PENDING", "OUT", "PULLS", "SETTINGS"])];
    for stream in streams {
        let numbers = [stream.messages.to_string(), stored(stream.bytes, stream.max_bytes)];
        let none = [String::new(), String::new(), String::new()];
        rows.push(row(&stream.name, numbers.into_iter().chain(none), &stream.settings));
        for consumer in &stream.consumers {
            let none = [String::new(), String::new()];
            let numbers = [
                consumer.pending.to_string(),
                consumer.ack_pending.to_string(),
                consumer.waiting.to_string(),
            ];
            rows.push(row(&format!("  {}", consumer.name), none.into_iter().chain(numbers), "consumer"));
        }
    }
    rows
}

fn row(name: &str, numbers: impl Iterator<Item = String>, last: &str) -> Vec<StyledLine> {
    let cells = numbers.map(|number| StyledLine::of(PLAIN, &number));
    std::iter::once(StyledLine::of(PLAIN, name)).chain(cells).chain([StyledLine::of(FAINT, last)]).collect()
}

fn processes(report: &DoctorReport<'_>) -> Vec<Vec<StyledLine>> {
    let mut rows = vec![heading(["PROCESS", "VERSION", "SLOTS", "SERVES"])];
    let cells = |texts: [&str; 4]| texts.map(|text| StyledLine::of(PLAIN, text)).to_vec();
    for scheduler in report.schedulers {
        let led = scheduler.partitions.iter().map(|led| Partition(led.partition).to_string());
        let led = led.collect::<Vec<_>>().join(", ");
        let serves =
            if led.is_empty() { "requests".to_owned() } else { format!("requests, partitions {led}") };
        // A scheduler without a report is named by the id of its service.
        let name = if scheduler.node.is_empty() { &scheduler.id } else { &scheduler.node };
        rows.push(cells([&format!("scheduler {name}"), &scheduler.version, "", &serves]));
    }
    for worker in report.workers {
        let servers: Vec<_> = worker.servers.iter().map(ServerName::as_str).collect();
        let (name, slots) = (format!("worker {}", worker.worker), worker.slots.to_string());
        rows.push(cells([&name, &worker.version, &slots, &servers.join(", ")]));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{PartitionReport, SchedulerSnapshot};
    use crate::finding::FindingLevel;

    #[test]
    fn report_shows_settings_with_origins_and_checks_with_advice() {
        let checks = [
            Finding::new("NATS", FindingLevel::Good, "nats-server 2.15.1"),
            Finding::new("workers", FindingLevel::Doubtful, "none is running").help("start one"),
        ];
        let schedulers = [SchedulerSnapshot {
            id: "abc".to_owned(),
            version: "0.1.0".to_owned(),
            node: "host-1".to_owned(),
            partitions: vec![PartitionReport { partition: 0, checkpoint_age_ms: Some(5) }],
            takeovers: Vec::new(),
            problems: Vec::new(),
            redis: None,
            atomic_batches: None,
        }];
        let partitions = [PartitionSnapshot {
            partition: 0,
            leaders: vec!["host-1".to_owned()],
            lease: Some("host-2".to_owned()),
            takeover_pending_ms: None,
            checkpoint_age_ms: Some(1_500),
            log_bytes: Some(50),
            log_max_bytes: Some(200),
        }];
        let backlog = [BacklogSnapshot { server: "crm".to_owned(), jobs: 3, out: 1, oldest_ms: 2_000 }];
        let settings = vec![
            SettingLine { name: "nats.url", value: Some("nats://a"), origin: "NATS_URL".to_owned() },
            SettingLine { name: "metrics.listen", value: None, origin: "default".to_owned() },
        ];
        let report = DoctorReport {
            longshore: "0.1.0",
            file: None,
            settings,
            checks: &checks,
            partitions: &partitions,
            backlog: &backlog,
            streams: &[],
            schedulers: &schedulers,
            workers: &[],
        };
        let texts: Vec<_> = page(&report, Symbols::Ascii).iter().map(StyledLine::text).collect();
        assert_eq!(
            texts,
            [
                "configuration  no file",
                "  nats.url        nats://a  NATS_URL",
                "  metrics.listen  -         default",
                "",
                "checks",
                "  + NATS: nats-server 2.15.1",
                "  ! workers: none is running",
                "      start one",
                "",
                "PARTITION  LEADER  LEASE   CHECKPOINT  LOG",
                "00         host-1  host-2  1.5s ago    50 of 200 (25 %)",
                "",
                "SERVER  JOBS  OUT  OLDEST",
                "crm     3     1    2.0s",
                "",
                "PROCESS           VERSION  SLOTS  SERVES",
                "scheduler host-1  0.1.0           requests, partitions 00",
            ]
        );
    }
}
