//! `longshore resume`: goes on with runs that were left behind.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use longshore_proto::{Digest, RunId, RunView};
use longshore_workflow::{Plan, compile};

use super::result;
use crate::args::ResumeArgs;
use crate::embedded::Opened;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::{OnInterrupt, follow};
use crate::live::Live;
use crate::node;
use crate::output::{Output, printable};
use crate::servers_file::{ServersFile, ServersSource};
use crate::signals::Signals;
use crate::which_run::which_run;

/// Goes on with interrupted runs, and waits for their ends.
pub(super) async fn resume(args: ResumeArgs, output: &Output) -> Result<Exit, Failure> {
    let work = args.work;
    let servers = ServersFile::find(&ServersSource::given(work.servers.mcp_config.as_deref()), output)?;
    let data = work.data.data;
    if matches!(data.try_exists(), Ok(false)) {
        // Opening for work would make it, and a mistyped name would look like one without runs.
        let message = format!("there is no data directory {}", data.display());
        return Err(Failure::new(Exit::NotFound, message).help("name it with --data or LONGSHORE_DATA"));
    }
    let servers = servers.trusted(output, |line| output.message(line))?;
    let mut opened = Opened::take_over(&data, node::name()?).await?;
    let chosen = match choose(&opened, &args.runs, &servers).await {
        Ok(chosen) => chosen,
        Err(failure) => {
            opened.close().await;
            return Err(failure);
        }
    };
    if chosen.is_empty() {
        opened.close().await;
        output.message(&format!("nothing to resume: every run in {} has ended", data.display()));
        return Ok(Exit::Success);
    }
    for view in &chosen {
        output.message(&progress(view));
    }
    let mut signals = Signals::listen()?;
    let mut live = Live::new(output, chosen.len() > 1);
    let chosen_runs: BTreeSet<RunId> = chosen.iter().map(|view| view.summary.run).collect();
    let others = opened.interrupted().into_iter().map(|view| view.summary.run);
    opened.leave_alone(others.filter(|run| !chosen_runs.contains(run)).collect::<Vec<_>>());
    let watches = chosen_runs.iter().map(|run| (*run, opened.watch(*run))).collect();
    let mut process = opened.start(servers.config(), work.slots);
    for view in chosen {
        live.begin_with(Arc::new(view));
    }
    let followed = follow(&mut process, &mut signals, output, live, watches, OnInterrupt::Drain).await;
    let exit = result::print(followed, &data, work.servers.mcp_config.as_deref(), work.json, output);
    process.end(signals.next()).await;
    exit
}

/// The runs to follow, all of whose steps can be carried out here.
async fn choose(opened: &Opened, wanted: &[String], servers: &ServersFile) -> Result<Vec<RunView>, Failure> {
    let mut interrupted = opened.interrupted();
    if !wanted.is_empty() {
        let known: Vec<_> = interrupted.iter().map(|view| view.summary.run).collect();
        let chosen: Vec<_> = wanted
            .iter()
            .map(|text| which_run(text, known.iter().copied()).map_err(not_interrupted))
            .collect::<Result<_, _>>()?;
        interrupted.retain(|view| chosen.contains(&view.summary.run));
    }
    let mut plans: BTreeMap<Digest, Plan> = BTreeMap::new();
    for view in &interrupted {
        let digest = view.summary.workflow.digest;
        if let Entry::Vacant(vacant) = plans.entry(digest) {
            vacant.insert(plan(opened, view).await?);
        }
    }
    for plan in plans.values() {
        ServersFile::refuse(&format!("a run of the workflow `{}`", plan.name), &servers.problems(plan))?;
    }
    Ok(interrupted)
}

/// The plan that a run is pinned to.
async fn plan(opened: &Opened, view: &RunView) -> Result<Plan, Failure> {
    let (run, workflow) = (view.summary.run, &view.summary.workflow);
    let broken = |why: String| Failure::new(Exit::Error, format!("the run {run} cannot go on: {why}"));
    let bytes = opened.text(workflow.digest).await?;
    let bytes =
        bytes.ok_or_else(|| broken(format!("the text of its workflow `{}` is gone", workflow.name)))?;
    let text =
        String::from_utf8(bytes).map_err(|error| broken(format!("its workflow is no text: {error}")))?;
    compile(&text).map_err(|problems| {
        broken(format!("its workflow `{}` does not compile with this version", workflow.name))
            .findings(printable(&problems.to_string()))
            .help("go on with the version of longshore that it was submitted with")
    })
}

fn not_interrupted(failure: Failure) -> Failure {
    let message = format!("{} among the interrupted ones", failure.message);
    Failure { message, ..failure }.help("`longshore runs list --status running` shows them")
}

/// How far a run has come.
fn progress(view: &RunView) -> String {
    let done = view.steps.iter().filter(|step| step.status.is_terminal()).count();
    let (run, name) = (view.summary.run, &view.summary.workflow.name);
    format!("resuming {run} of {name}: {done} of {} steps have ended", view.steps.len())
}
