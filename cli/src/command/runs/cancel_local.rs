//! `longshore runs cancel` in a data directory.
//!
//! A run that a process executes is cancelled by an entry in its log, which that process reads. An interrupted run is ended
//! by this process: it takes over the partition for a moment, and makes no call.

use std::collections::BTreeMap;
use std::path::Path;

use longshore_ports::{RunPage, RunQuery};
use longshore_proto::{Partition, RunId, RunStatus, RunSummary, RunView, Signal};

use super::super::result::status_participle;
use super::cancelled::{CancelOutcome, CancelReport};
use super::data_dir::DirectoryRuns;
use super::run_count::{RUNS_PER_CANCEL, run_count};
use super::source::{RunSource, data_directory, find_local_run, query, suggest_cluster};
use crate::args::RunsCancelArgs;
use crate::confirm::confirm;
use crate::embedded::OpenDataDir;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::node;
use crate::output::Output;

/// Statuses of runs that can be cancelled.
const STOPPABLE: [RunStatus; 3] = [RunStatus::Running, RunStatus::Failing, RunStatus::Interrupted];

/// Cancels runs of a data directory. For a run that has already ended a message is printed, and that is success.
pub(super) async fn cancel_local(args: RunsCancelArgs, output: &Output) -> Result<Exit, Failure> {
    let data = data_directory(&args.source);
    let local = DirectoryRuns::read(&data, output).await.map_err(suggest_cluster)?;
    let report = CancelReport { output, json: args.json };
    let (chosen, exit) = if args.runs.is_empty() {
        let chosen = matching_runs(&args, local).await?;
        if chosen.is_empty() {
            output.message("no such runs");
            return Ok(Exit::Success);
        }
        let what = run_count(chosen.len());
        if !args.yes && !confirm("cancel", &what, &data.display().to_string(), output).await? {
            output.message("nothing was cancelled");
            return Ok(Exit::Error);
        }
        (chosen, Exit::Success)
    } else {
        given_runs(&args, local, report).await?
    };
    cancel(&data, &chosen, &args.signal(), report).await?;
    Ok(exit)
}

/// Returns the runs that are given by their ids and have not ended, and the exit code of the last one that is unknown.
async fn given_runs(
    args: &RunsCancelArgs,
    local: DirectoryRuns,
    report: CancelReport<'_>,
) -> Result<(Vec<RunId>, Exit), Failure> {
    let (mut chosen, mut exit) = (Vec::new(), Exit::Success);
    for text in &args.runs {
        match find_local_run(&local, text).await {
            Ok(view) if view.summary.status.is_terminal() => {
                report.print(view.summary.run, CancelOutcome::Ended, &has_ended(&view))?;
            }
            Ok(view) => chosen.push(view.summary.run),
            Err(failure) => {
                report.failed(text, &failure)?;
                exit = failure.exit;
            }
        }
    }
    local.close().await;
    Ok((chosen, exit))
}

fn has_ended(view: &RunView) -> String {
    let RunSummary { run, status, .. } = view.summary;
    format!("the run {run} has already ended: it has {}", status_participle(status))
}

/// Returns the runs that match the options.
async fn matching_runs(args: &RunsCancelArgs, local: DirectoryRuns) -> Result<Vec<RunId>, Failure> {
    let statuses = if args.statuses.is_empty() { STOPPABLE.to_vec() } else { args.statuses.clone() };
    let mut query = RunQuery { statuses, ..query(&args.filter) };
    let source = RunSource::DataDir(Box::new(local));
    let mut chosen = Vec::new();
    let listed = loop {
        match source.runs(query.clone()).await {
            Ok(RunPage { runs, next, .. }) => {
                chosen.extend(runs.iter().map(|summary| summary.run));
                query.after = next;
                if next.is_none() || chosen.len() >= RUNS_PER_CANCEL {
                    break Ok(chosen);
                }
            }
            Err(failure) => break Err(failure),
        }
    };
    source.close().await;
    listed
}

async fn cancel(
    data: &Path,
    chosen: &[RunId],
    signal: &Signal,
    report: CancelReport<'_>,
) -> Result<(), Failure> {
    if chosen.is_empty() {
        return Ok(());
    }
    let mut by_partition: BTreeMap<Partition, Vec<RunId>> = BTreeMap::new();
    for run in chosen {
        by_partition.entry(run.partition()).or_default().push(*run);
    }
    let mut opened = OpenDataDir::open(data, node::name()?).await?;
    let cancelled = async {
        for (partition, runs) in &by_partition {
            cancel_in(&mut opened, *partition, runs, signal, report).await?;
        }
        Ok(())
    };
    let cancelled = cancelled.await;
    opened.close().await;
    cancelled
}

/// Cancels runs of one partition.
async fn cancel_in(
    opened: &mut OpenDataDir,
    partition: Partition,
    runs: &[RunId],
    signal: &Signal,
    report: CancelReport<'_>,
) -> Result<(), Failure> {
    if !opened.cancel_interrupted(partition, runs, signal).await? {
        opened.signal(runs, signal).await?;
        for run in runs {
            let message = format!("cancelling {run}; `longshore watch {run}` follows it to its end");
            report.print(run, CancelOutcome::Cancelling, &message)?;
        }
        return Ok(());
    }
    for run in runs {
        let view = opened.stored(*run).await?;
        let (outcome, message) = match view {
            Some(view) if view.summary.status == RunStatus::Cancelled => {
                (CancelOutcome::Cancelled, format!("cancelled {run}"))
            }
            Some(view) if view.summary.status.is_terminal() => (CancelOutcome::Ended, has_ended(&view)),
            _ => {
                let rest = format!("which `longshore resume {run}` does");
                let message = format!("cancelling {run}: it has steps to execute before it ends, {rest}");
                (CancelOutcome::Cancelling, message)
            }
        };
        report.print(run, outcome, &message)?;
    }
    Ok(())
}
