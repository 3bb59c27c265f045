//! A doctor's report on a page.

use longshore_proto::ServerName;

use super::{Report, SettingLine};
use crate::cluster::StreamSeen;
use crate::finding::Finding;
use crate::output::{FAINT, Line, PLAIN, STRONG, Symbols, aligned};

/// The whole report.
pub(super) fn page(report: &Report<'_>, symbols: Symbols) -> Vec<Line> {
    let file = report.file.as_deref().unwrap_or("no file");
    let mut lines = vec![Line::of(STRONG, "configuration").with(FAINT, &format!("  {file}"))];
    lines.extend(aligned(report.settings.iter().map(setting).collect()));
    lines.extend([Line::default(), Line::of(STRONG, "checks")]);
    lines.extend(report.checks.iter().flat_map(|finding| check(finding, symbols)));
    if !report.streams.is_empty() {
        lines.push(Line::default());
        lines.extend(aligned(streams(report.streams)));
    }
    if !report.workers.is_empty() || !report.schedulers.is_empty() {
        lines.push(Line::default());
        lines.extend(aligned(processes(report)));
    }
    lines
}

fn setting(setting: &SettingLine<'_>) -> Vec<Line> {
    vec![
        Line::of(PLAIN, &format!("  {}", setting.name)),
        setting.value.map_or_else(|| Line::of(FAINT, "-"), |value| Line::of(PLAIN, value)),
        Line::of(FAINT, &setting.origin),
    ]
}

fn check(finding: &Finding, symbols: Symbols) -> Vec<Line> {
    let (sign, style) = finding.level.sign(symbols);
    let line = Line::of(style, &format!("  {sign} {}: ", finding.name)).with(PLAIN, &finding.text);
    let help = finding.help.as_ref().map(|help| Line::of(FAINT, &format!("      {help}")));
    std::iter::once(line).chain(help).collect()
}

fn heading<const N: usize>(titles: [&str; N]) -> Vec<Line> {
    titles.map(|title| Line::of(FAINT, title)).to_vec()
}

fn streams(streams: &[StreamSeen]) -> Vec<Vec<Line>> {
    let mut rows = vec![heading(["STREAM", "MESSAGES", "BYTES", "PENDING", "OUT", "PULLS", "SETTINGS"])];
    for stream in streams {
        let numbers = [stream.messages.to_string(), stream.bytes.to_string()];
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

fn row(name: &str, numbers: impl Iterator<Item = String>, last: &str) -> Vec<Line> {
    let cells = numbers.map(|number| Line::of(PLAIN, &number));
    std::iter::once(Line::of(PLAIN, name)).chain(cells).chain([Line::of(FAINT, last)]).collect()
}

fn processes(report: &Report<'_>) -> Vec<Vec<Line>> {
    let mut rows = vec![heading(["PROCESS", "VERSION", "SLOTS", "SERVES"])];
    let cells = |texts: [&str; 4]| texts.map(|text| Line::of(PLAIN, text)).to_vec();
    for scheduler in report.schedulers {
        rows.push(cells([&format!("scheduler {}", scheduler.id), &scheduler.version, "", "requests"]));
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
    use crate::cluster::SchedulerSeen;
    use crate::finding::Level;

    #[test]
    fn a_report_shows_settings_with_origins_and_checks_with_advice() {
        let checks = [
            Finding::new("NATS", Level::Good, "nats-server 2.15.1"),
            Finding::new("workers", Level::Doubtful, "none is there").help("start one"),
        ];
        let schedulers = [SchedulerSeen { id: "abc".to_owned(), version: "0.1.0".to_owned() }];
        let settings = vec![
            SettingLine { name: "nats.url", value: Some("nats://a"), origin: "NATS_URL".to_owned() },
            SettingLine { name: "metrics.listen", value: None, origin: "default".to_owned() },
        ];
        let report = Report {
            longshore: "0.1.0",
            file: None,
            settings,
            checks: &checks,
            streams: &[],
            schedulers: &schedulers,
            workers: &[],
        };
        let texts: Vec<_> = page(&report, Symbols::Ascii).iter().map(Line::text).collect();
        assert_eq!(
            texts,
            [
                "configuration  no file",
                "  nats.url        nats://a  NATS_URL",
                "  metrics.listen  -         default",
                "",
                "checks",
                "  + NATS: nats-server 2.15.1",
                "  ! workers: none is there",
                "      start one",
                "",
                "PROCESS        VERSION  SLOTS  SERVES",
                "scheduler abc  0.1.0           requests",
            ]
        );
    }
}
