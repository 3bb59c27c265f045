//! `longshore run`: executes one workflow, from its file to its outputs.
//!
//! ```text
//! file ──► plan ──► inputs fit? ──► servers known? ──► data directory ──► submit ──► follow ──► outputs ──► end
//! ```
//!
//! Everything that can be refused is refused before anything is written.

use std::collections::BTreeSet;

use longshore_proto::RunId;
use longshore_scheduler::Intake;

use super::result;
use crate::args::RunArgs;
use crate::embedded::{self, OpenDataDir};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::{OnInterrupt, follow};
use crate::inputs;
use crate::live::LiveView;
use crate::node;
use crate::output::Output;
use crate::servers_file::{ServersFile, ServersSource};
use crate::signals::Signals;
use crate::workflow_file::WorkflowFile;

/// Runs a workflow and waits for its end.
pub(super) async fn run(args: RunArgs, output: &Output) -> Result<Exit, Failure> {
    let mut file = WorkflowFile::load_beside(&args.workflow, args.input_file.as_deref(), output)?;
    let inputs = inputs::gather(&file.plan, args.input_file.as_deref(), &args.inputs, output)?;
    file.warn_with_inputs(&args.workflow, &inputs, output);
    let WorkflowFile { text, plan, .. } = file;
    let work = args.work;
    let servers =
        ServersFile::find_for_use(&ServersSource::given(work.servers.mcp_config.as_deref()), output)?;
    ServersFile::refuse(&format!("the workflow `{}`", plan.name), &servers.problems(&plan))?;
    servers.refuse_secrets(&plan, &inputs, &embedded::namespace()?)?;
    let servers = servers.trusted(output, |line| output.message(line))?;

    let data = work.data.data;
    output.show(&data.display().to_string());
    output.show(&args.workflow.display().to_string());
    output.show(plan.name.as_str());
    plan.steps.iter().for_each(|step| output.show(step.path.as_str()));
    let (mut opened, partition, interrupted) = OpenDataDir::for_new_run(&data, node::name()?).await?;
    let run = Intake::draw_id_in(partition);
    opened.execute_only(&BTreeSet::new(), &[run]);
    let mut signals = Signals::listen()?;
    let mut process = opened.start(servers.config(), work.slots);
    let watch = process.watch(run);
    if let Err(failure) = process.submit(run, &text, inputs).await {
        process.end(signals.next()).await;
        return Err(failure);
    }
    if !output.is_live {
        output.message(&format!("{run} of {} submitted; its data is in {}", plan.name, data.display()));
    }
    report_interrupted(&interrupted, output);
    let live = LiveView::new(output, false);
    let runs = vec![(run, watch)];
    let followed = follow(&mut process, &mut signals, output, live, runs, OnInterrupt::Cancel).await;
    // The result is printed before the servers are closed, because some take seconds to close.
    let exit = result::print(followed, &data, work.servers.mcp_config.as_deref(), work.json, output);
    process.end(signals.next()).await;
    exit
}

/// Number of interrupted runs that a message names.
const MAX_NAMED_RUNS: usize = 5;

fn report_interrupted(others: &[RunId], output: &Output) {
    if others.is_empty() {
        return;
    }
    let named: Vec<_> = others.iter().take(MAX_NAMED_RUNS).map(ToString::to_string).collect();
    let more = if others.len() > MAX_NAMED_RUNS { ", ..." } else { "" };
    let (count, runs) = (others.len(), if others.len() == 1 { "run is" } else { "runs are" });
    let named = named.join(", ");
    output
        .message(&format!("{count} interrupted {runs} left unchanged for `longshore resume`: {named}{more}"));
}
