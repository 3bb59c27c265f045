//! `longshore workflows`: the workflows that are registered in the cluster.

use longshore_ports::WorkflowVersion;
use longshore_proto::WorkflowName;
use serde::Serialize;

use super::submit::unknown;
use crate::args::{WorkflowsDeleteArgs, WorkflowsListArgs, WorkflowsPushArgs, WorkflowsShowArgs};
use crate::cluster::{Client, RegisteredText};
use crate::config::Config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{FAINT, Output, PLAIN, ShrinkingColumn, StyledLine, Truncation, aligned_within};
use crate::workflow_file::WorkflowFile;

/// Schema name of a registered workflow in JSON.
const REGISTERED_SCHEMA: &str = "longshore.registered-workflow";

/// Schema name of a workflow with its text in JSON.
const WORKFLOW_SCHEMA: &str = "longshore.workflow";

#[derive(Serialize)]
struct WorkflowDocument<'a> {
    #[serde(flatten)]
    shown: &'a WorkflowVersion,
    versions: &'a [WorkflowVersion],
    text: &'a str,
}

/// Registers workflows. All are checked before the first is registered.
pub(super) async fn push(args: WorkflowsPushArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let files = args.workflows.iter().map(|path| WorkflowFile::load(path, output));
    let files: Vec<WorkflowFile> = files.collect::<Result<_, _>>().inspect_err(|_| {
        if args.workflows.len() > 1 {
            output.message("none of the workflows was registered");
        }
    })?;
    let client = Client::connect(config, args.cluster.verbose, output).await?;
    let mut registered = Vec::with_capacity(files.len());
    for file in files {
        registered.push(client.push(&file.text).await?);
    }
    print(&registered, args.json, output)?;
    Ok(Exit::Success)
}

/// Lists the current versions.
pub(super) async fn list(args: WorkflowsListArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let client = Client::connect(config, args.cluster.verbose, output).await?;
    let workflows = client.workflows().await?;
    if workflows.is_empty() && !args.json {
        output.message(&format!("no workflows are registered in the namespace `{}`", config.namespace));
    }
    print(&workflows, args.json, output)?;
    Ok(Exit::Success)
}

/// Shows the text of a workflow.
pub(super) async fn show(args: WorkflowsShowArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let name: WorkflowName =
        args.name.parse().map_err(|error| Failure::new(Exit::Usage, format!("{error}")))?;
    let client = Client::connect(config, args.cluster.verbose, output).await?;
    let version = args.version.filter(|version| !version.is_empty());
    let RegisteredText { version: shown, versions, text } =
        match client.workflow(&name, version.as_deref()).await {
            // The message about an unknown version is printed as it is; the one about an unknown name gets a suggestion.
            Err(Failure { exit: Exit::NotFound, .. }) if version.is_none() => {
                return Err(unknown(&client, config, &name).await);
            }
            found => found?,
        };
    let (shown, text) = (&shown, text.as_str());
    if args.json {
        output.document(WORKFLOW_SCHEMA, &WorkflowDocument { shown, versions: &versions, text })?;
    } else {
        let (version, count) = (shown.digest.short(), versions.len());
        output.message(&format!(
            "{name}, version {version} of {}; versions: {count}",
            output.message_times.shown(shown.at)
        ));
        output.text(text.trim_end())?;
    }
    Ok(Exit::Success)
}

/// Removes workflows from the registry. The others are removed even if one is unknown.
pub(super) async fn delete(
    args: WorkflowsDeleteArgs,
    config: &Config,
    output: &Output,
) -> Result<Exit, Failure> {
    let client = Client::connect(config, args.cluster.verbose, output).await?;
    let mut exit = Exit::Success;
    for name in &args.names {
        match client.unregister(name).await {
            Ok(versions) => output.message(&format!("{name} is no longer registered; versions: {versions}")),
            Err(failure) if failure.exit == Exit::NotFound => {
                let failure = unknown(&client, config, name).await;
                output.failure(&failure);
                exit = failure.exit;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(exit)
}

fn print(workflows: &[WorkflowVersion], json: bool, output: &Output) -> Result<(), Failure> {
    if json {
        return workflows.iter().try_for_each(|workflow| output.document(REGISTERED_SCHEMA, workflow));
    }
    if workflows.is_empty() {
        return Ok(());
    }
    let mut rows =
        vec![["WORKFLOW", "VERSION", "REGISTERED"].map(|title| StyledLine::of(FAINT, title)).to_vec()];
    rows.extend(workflows.iter().map(|workflow| {
        vec![
            StyledLine::of(PLAIN, workflow.name.as_str()),
            StyledLine::of(PLAIN, &workflow.digest.short()),
            StyledLine::of(FAINT, &output.result_times.shown(workflow.at)),
        ]
    }));
    let name = ShrinkingColumn::new(0, 16, Truncation::Middle);
    output.lines(aligned_within(rows, output.table_room(), &[name]))
}
