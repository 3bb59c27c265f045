//! `longshore resume`: continues interrupted runs of a data directory.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use longshore_ports::RunCursor;
use longshore_proto::{Digest, Partition, RunId, RunStatus, RunView};
use longshore_workflow::{Plan, load};

use super::result;
use crate::args::ResumeArgs;
use crate::embedded::{Holder, OpenDataDir, PartitionSurvey};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::{OnInterrupt, follow};
use crate::live::LiveView;
use crate::node;
use crate::output::{Output, printable};
use crate::servers_file::{ServersFile, ServersSource};
use crate::signals::Signals;
use crate::which_run::which_run;

/// Continues interrupted runs, and waits for their ends.
pub(super) async fn resume(args: ResumeArgs, output: &Output) -> Result<Exit, Failure> {
    let work = args.work;
    let servers =
        ServersFile::find_for_use(&ServersSource::given(work.servers.mcp_config.as_deref()), output)?;
    let data = work.data.data;
    if matches!(data.try_exists(), Ok(false)) {
        // Opening the directory for work would create it, and a mistyped name would look like a directory without runs.
        return Err(absent(&data));
    }
    let servers = servers.trusted(output, |line| output.message(line))?;
    output.show(&data.display().to_string());
    let mut opened = OpenDataDir::open(&data, node::name()?).await?;
    let (chosen, ended) = match choose(&mut opened, &args.runs, &servers, output).await {
        Ok(chosen) => chosen,
        Err(failure) => return Err(opened.closed_after(failure).await),
    };
    for view in &ended {
        result::ended_before(view, &data, work.json, output)?;
    }
    let exit_of_ended = Exit::worst(ended.iter().map(|view| view.summary.status));
    if chosen.is_empty() {
        opened.close().await;
        if ended.is_empty() {
            let data = data.display();
            output.message(&format!(
                "nothing to resume: every run in {data} has ended, or a process executes it"
            ));
        }
        return Ok(exit_of_ended);
    }
    for view in &chosen {
        output.message(&progress(view));
    }
    let mut signals = Signals::listen()?;
    let mut live = LiveView::new(output, chosen.len() > 1);
    let chosen_runs: BTreeSet<RunId> = chosen.iter().map(|view| view.summary.run).collect();
    opened.execute_only(&chosen_runs, &[]);
    let watches = chosen_runs.iter().map(|run| (*run, opened.watch(*run))).collect();
    let mut process = opened.start(servers.config(), work.slots);
    for view in chosen {
        live.show_resumed(Arc::new(view));
    }
    let followed = follow(&mut process, &mut signals, output, live, watches, OnInterrupt::Drain).await;
    let exit = result::print(followed, &data, work.servers.mcp_config.as_deref(), work.json, output);
    process.end(signals.next()).await;
    exit.map(|exit| if exit == Exit::Success { exit_of_ended } else { exit })
}

/// Returns the failure for a data directory that does not exist. It names the absolute path, because the current folder of a
/// cron job is easily mistaken.
fn absent(data: &Path) -> Failure {
    let looked_for = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let message =
        format!("there is no data directory {}, so there is nothing to resume", looked_for.display());
    Failure::new(Exit::NotFound, message)
        .help("run this in the folder of the runs, or name the directory with --data or LONGSHORE_DATA")
}

/// Returns the runs to follow, all of whose steps can be executed here, and the runs that were named and have already ended.
async fn choose(
    opened: &mut OpenDataDir,
    wanted: &[String],
    servers: &ServersFile,
    output: &Output,
) -> Result<(Vec<RunView>, Vec<RunView>), Failure> {
    let survey = opened.survey().await?;
    for (partition, error) in &survey.unreadable {
        output.warning(&format!("runs of partition {partition} cannot be resumed: {error}"));
    }
    let (wanted_runs, ended) = if wanted.is_empty() {
        (survey.interrupted(), Vec::new())
    } else {
        find_named(opened, &survey, wanted).await?
    };
    let wanted_runs: BTreeSet<RunId> = wanted_runs.into_iter().collect();
    let mut partitions: BTreeSet<Partition> = wanted_runs.iter().map(RunId::partition).collect();
    if wanted.is_empty() {
        // The checkpoints of ended partitions are brought up to date as well, so that new runs can use those partitions.
        partitions.extend(survey.ended());
    }
    for partition in partitions {
        if !opened.take_over(partition).await? {
            let held = wanted_runs.iter().find(|run| run.partition() == partition);
            match held {
                Some(run) if !wanted.is_empty() => return Err(in_use(*run, survey.holder(*run))),
                Some(run) => output.message(&in_use(*run, survey.holder(*run)).message),
                None => {}
            }
        }
    }
    let mut chosen = opened.interrupted_runs();
    chosen.retain(|view| wanted_runs.contains(&view.summary.run));
    let mut plans: BTreeMap<Digest, Plan> = BTreeMap::new();
    for view in &chosen {
        let digest = view.summary.workflow.digest;
        if let Entry::Vacant(vacant) = plans.entry(digest) {
            vacant.insert(plan(opened, view).await?);
        }
    }
    for plan in plans.values() {
        ServersFile::refuse(&format!("a run of the workflow `{}`", plan.name), &servers.problems(plan))?;
    }
    Ok((chosen, ended))
}

/// Returns the interrupted runs and the ended runs that the command line names.
async fn find_named(
    opened: &OpenDataDir,
    survey: &PartitionSurvey,
    wanted: &[String],
) -> Result<(Vec<RunId>, Vec<RunView>), Failure> {
    let mut known = survey.runs();
    let fresh: BTreeSet<RunId> = known.iter().map(|run| run.run).collect();
    known.extend(opened.newest().await?.runs.into_iter().filter(|run| !fresh.contains(&run.run)));
    known.sort_by_key(|run| Reverse(RunCursor::of(run)));
    let (mut interrupted, mut ended) = (Vec::new(), Vec::new());
    for text in wanted {
        let run = match text.parse() {
            Ok(run) => run,
            Err(_) => which_run(text, known.iter().map(|run| run.run))?,
        };
        let view = match survey.run(run) {
            Some(view) => Some(view),
            None => opened.stored(run).await?,
        };
        let view = view.ok_or_else(|| {
            Failure::new(Exit::NotFound, format!("there is no run {run}"))
                .help("`longshore runs list --status interrupted` shows those that can be resumed")
        })?;
        match view.summary.status {
            RunStatus::Interrupted => interrupted.push(run),
            status if status.is_terminal() => ended.push(view),
            _ => return Err(in_use(run, survey.holder(run))),
        }
    }
    Ok((interrupted, ended))
}

/// Returns the failure for a run whose partition another process holds, for this run or another one.
fn in_use(run: RunId, holder: Option<&Holder>) -> Failure {
    let process = match holder.and_then(|holder| holder.pid) {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    };
    let (message, help) = match holder {
        Some(holder) if !holder.moves(run) => (
            format!(
                "the run {run} cannot be resumed now: {process} executes another run of the same partition"
            ),
            format!("resume it when that process has ended; `longshore runs cancel {run}` ends it at once"),
        ),
        _ => (
            format!("{process} already executes the run {run}"),
            format!("`longshore watch {run}` follows it"),
        ),
    };
    Failure::new(Exit::Error, message).help(help)
}

/// Returns the plan that a run was submitted with.
async fn plan(opened: &OpenDataDir, view: &RunView) -> Result<Plan, Failure> {
    let (run, workflow) = (view.summary.run, &view.summary.workflow);
    let broken = |why: String| Failure::new(Exit::Error, format!("the run {run} cannot be resumed: {why}"));
    let bytes = opened.text(workflow.digest).await?;
    let bytes =
        bytes.ok_or_else(|| broken(format!("the text of its workflow `{}` is missing", workflow.name)))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| broken(format!("the text of its workflow is not UTF-8: {error}")))?;
    load(&text).map_err(|problems| {
        broken(format!("its workflow `{}` does not compile with this version", workflow.name))
            .findings(printable(&problems.to_string()))
            .help("resume it with the version of longshore that it was submitted with")
    })
}

/// Returns the message about a run that is resumed, with the number of steps that have ended.
fn progress(view: &RunView) -> String {
    let done = view.steps.iter().filter(|step| step.status.is_terminal()).count();
    let (run, name) = (view.summary.run, &view.summary.workflow.name);
    format!("resuming {run} of {name}: {done} of {} steps have ended", view.steps.len())
}
