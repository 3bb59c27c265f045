//! `longshore doctor`: the configuration with the origins of its settings, and the state of everything that a cluster needs.
//!
//! It changes nothing. The exit code says whether anything is wrong; doubtful findings count with `--strict`.

mod page;

use longshore_ports::WorkerEntry;
use serde::Serialize;

use crate::cluster::{
    self, BacklogSnapshot, ClusterExamination, PartitionSnapshot, SchedulerSnapshot, StreamSnapshot,
};
use crate::config::{Config, Setting};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding::{Finding, FindingLevel};
use crate::output::{Output, StyledLine};
use crate::servers_file::ServersFile;

/// Schema name of the report in JSON.
const SCHEMA: &str = "longshore.doctor";

/// The whole report.
#[derive(Serialize)]
struct DoctorReport<'a> {
    /// The version of this binary.
    longshore: &'static str,
    file: Option<String>,
    settings: Vec<SettingLine<'a>>,
    checks: &'a [Finding],
    partitions: &'a [PartitionSnapshot],
    backlog: &'a [BacklogSnapshot],
    streams: &'a [StreamSnapshot],
    schedulers: &'a [SchedulerSnapshot],
    workers: &'a [WorkerEntry],
}

#[derive(Serialize)]
struct SettingLine<'a> {
    name: &'static str,
    value: Option<&'a str>,
    origin: String,
}

/// Checks everything, and prints the report.
pub(super) async fn doctor(
    config: &Config,
    json: bool,
    is_strict: bool,
    output: &Output,
) -> Result<Exit, Failure> {
    let servers = servers(config, output);
    let mut examination = cluster::examine(config).await;
    examination.findings.push(servers);
    let ClusterExamination { findings, partitions, backlog, streams, schedulers, workers, unreachable } =
        &examination;
    let report = DoctorReport {
        longshore: env!("CARGO_PKG_VERSION"),
        file: config.file.as_ref().map(|path| path.display().to_string()),
        settings: config.settings.iter().map(line).collect(),
        checks: findings,
        partitions,
        backlog,
        streams,
        schedulers,
        workers,
    };
    if json {
        output.document_without_credentials(SCHEMA, &report)?;
    } else {
        let page = page::page(&report, output.symbols);
        output.wrapped_lines(page.into_iter().map(StyledLine::without_credentials).collect())?;
    }
    Ok(cluster::judged(*unreachable, findings, is_strict))
}

fn line(setting: &Setting) -> SettingLine<'_> {
    SettingLine {
        name: setting.key.name(),
        value: setting.shown.as_deref(),
        origin: setting.origin.to_string(),
    }
}

/// Checks the servers file that a worker started here would use.
fn servers(config: &Config, output: &Output) -> Finding {
    const NAME: &str = "servers file";
    let file = match ServersFile::find(&config.servers_source(), output) {
        Ok(file) => file,
        Err(failure) => return Finding::new(NAME, FindingLevel::Wrong, &failure.message),
    };
    if !file.exists() {
        return Finding::new(NAME, FindingLevel::Unknown, "none here; each worker has its own");
    }
    let names: Vec<_> = file.names().map(|name| name.as_str()).collect();
    let unusable: Vec<_> =
        file.unusable().map(|(name, why)| format!("`{name}`: {}", why.join("; "))).collect();
    if unusable.is_empty() {
        return Finding::new(NAME, FindingLevel::Good, &names.join(", "));
    }
    Finding::new(NAME, FindingLevel::Doubtful, &format!("cannot be used here: {}", unusable.join(", ")))
}
