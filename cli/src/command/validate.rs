//! `longshore validate`: what is wrong with workflows, without running them.
//!
//! Three circles: the text by itself; the servers it names, if there is a servers file; the tools it names and what
//! it passes to them, if the servers may be asked.

mod arguments;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures::future::join_all;
use longshore_proto::{ServerName, WorkflowRef, closest};
use longshore_worker::mcp::{CallFault, ToolList};
use longshore_workflow::{
    CallMistake, CallStep, Diagnostics, Finding, Plan, Step, StepKind, compile_and_warn,
};
use serde::Serialize;

use super::servers::{lacks, with_pool};
use crate::args::ValidateArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input_text;
use crate::output::{Output, one_line};
use crate::servers_file::{Problem, ServersFile, ServersSource, TrustedServers};
use crate::workflow_file;

/// What was found out about one file.
#[derive(Serialize)]
struct Validation {
    file: PathBuf,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<WorkflowRef>,
    /// What is wrong with the text, or with its calls beside these servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<Diagnostics>,
    /// Warnings: parts of the file that are allowed and probably not meant.
    #[serde(skip_serializing_if = "Diagnostics::is_empty")]
    warnings: Diagnostics,
    /// Why the file cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    text: String,
}

/// A file, as far as it could be read.
type Read = Result<(String, Compiled), Failure>;

/// A plan with the warnings about it, or everything that is wrong.
type Compiled = Result<(Plan, Diagnostics), Diagnostics>;

/// Checks files; all of them, whatever is wrong with the first.
pub(super) async fn validate(args: ValidateArgs, output: &Output) -> Result<Exit, Failure> {
    let servers = ServersFile::find(&ServersSource::given(args.servers.mcp_config.as_deref()), output)?;
    let read = |path: &Path| -> Read {
        let text = input_text::read_or_stdin(path, "workflow")?;
        let compiled = compile_and_warn(&text);
        Ok((text, compiled))
    };
    let files: Vec<(&PathBuf, Read)> = args.workflows.iter().map(|path| (path, read(path))).collect();
    let (servers, tools) = if args.online {
        let trusted = servers.required()?.trusted(output, |line| output.message(line))?;
        let plans = files.iter().filter_map(|(_, read)| Some(&read.as_ref().ok()?.1.as_ref().ok()?.0));
        let tools = ask(&trusted, plans).await?;
        (trusted.into_file(), tools)
    } else {
        (servers, Tools::new())
    };
    let mut exit = Exit::Success;
    for (path, read) in files {
        let (validation, failure) = match read {
            Err(failure) => (Validation::unread(path, &failure), Some(failure)),
            Ok((text, compiled)) => (Validation::of(path, text, compiled, &servers, &tools), None),
        };
        if !validation.valid {
            exit = Exit::Invalid;
        }
        if args.json {
            output.document("longshore.validation", &validation)?;
        } else if let Some(failure) = failure {
            output.failure(&failure);
        } else {
            show(&validation, output)?;
        }
    }
    Ok(exit)
}

impl Validation {
    fn unread(path: &Path, failure: &Failure) -> Self {
        let (file, error) = (path.to_owned(), Some(failure.message.clone()));
        let warnings = Diagnostics::default();
        Self { file, valid: false, workflow: None, problems: None, warnings, error, text: String::new() }
    }

    fn of(path: &Path, text: String, compiled: Compiled, servers: &ServersFile, tools: &Tools) -> Self {
        let (workflow, problems, warnings) = match compiled {
            Err(problems) => (None, Some(problems), Diagnostics::default()),
            Ok((plan, warnings)) => {
                let found = Diagnostics::of_findings(&text, findings(&plan, servers, tools));
                let (problems, warnings) = warnings.split(found);
                (Some(plan.reference()), problems, warnings)
            }
        };
        let (file, valid) = (path.to_owned(), problems.is_none());
        Self { file, valid, workflow, problems, warnings, error: None, text }
    }
}

fn show(validation: &Validation, output: &Output) -> Result<(), Failure> {
    let Validation { file, workflow, problems, warnings, text, .. } = validation;
    workflow_file::warn(file, text, warnings, output);
    if let Some(problems) = problems {
        output.failure(&workflow_file::refused(file, text, problems, output));
    } else if let Some(workflow) = workflow {
        let count = match warnings.count() {
            (_, 0) => String::new(),
            (_, 1) => ", with one warning".to_owned(),
            (_, count) => format!(", with {count} warnings"),
        };
        output.text(&format!(
            "{}: `{}` is valid{count}",
            input_text::shown(file).display(),
            workflow.name
        ))?;
    }
    Ok(())
}

/// The tools of each server that was asked, or why it did not say.
type Tools = BTreeMap<ServerName, Result<ToolList, CallFault>>;

/// Asks every server that one of the plans calls, all at the same time.
async fn ask<'p>(servers: &TrustedServers, plans: impl Iterator<Item = &'p Plan>) -> Result<Tools, Failure> {
    let calls = plans.flat_map(|plan| &plan.steps).filter_map(|step| match &step.kind {
        StepKind::Call(call) => Some(&call.server),
        StepKind::Set(_) | StepKind::Parallel { .. } => None,
    });
    let wanted: BTreeSet<&ServerName> = calls.collect();
    with_pool(servers, async |pool, names| {
        let wanted = names.into_iter().filter(|name| wanted.contains(name));
        let asked = join_all(wanted.map(async |server| {
            let tools = pool.tools_unmasked(&server).await;
            (server, tools)
        }));
        Ok(asked.await.into_iter().collect())
    })
    .await
}

/// What keeps the calls of a plan from being carried out, or from being taken by their tools.
fn findings(plan: &Plan, servers: &ServersFile, tools: &Tools) -> Vec<Finding> {
    let calls = plan.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Call(call) => Some((step, call.as_ref())),
        StepKind::Set(_) | StepKind::Parallel { .. } => None,
    });
    // The names of arguments and tools are those of the servers.
    let hide = |text: String| servers.without_secrets(text);
    calls
        .flat_map(|(step, call)| {
            // What is wrong with the server itself is reported alone.
            let is_usable = servers.lack(&call.server).is_none();
            let unbound = is_usable.then(|| servers.unbound_secrets(plan, step.path.as_str(), call));
            let unbound = unbound.into_iter().flatten().map(|Problem { message, help, .. }| Finding {
                step: step.path.clone(),
                mistake: CallMistake::UnboundSecret,
                message,
                help,
            });
            of_call(step, call, servers, tools).into_iter().chain(unbound)
        })
        .map(|finding| Finding { message: hide(finding.message), help: finding.help.map(hide), ..finding })
        .collect()
}

fn of_call(step: &Step, call: &CallStep, servers: &ServersFile, tools: &Tools) -> Vec<Finding> {
    let finding = |mistake, message, help| Finding { step: step.path.clone(), mistake, message, help };
    // Without a servers file nobody has said which servers there are.
    if servers.exists()
        && let Some((message, help)) = servers.lack(&call.server)
    {
        let is_there = servers
            .unusable()
            .map(|(name, _)| name)
            .chain(servers.disabled())
            .any(|name| *name == call.server);
        let mistake = if is_there { CallMistake::UnusableServer } else { CallMistake::UnknownServer };
        return vec![finding(mistake, message, help)];
    }
    match tools.get(&call.server) {
        None => Vec::new(),
        Some(Err(CallFault { fault, .. })) => {
            let message =
                format!("the server `{}` cannot be asked: {}", call.server, one_line(&fault.to_string()));
            let help = Some("`longshore servers list` says how each server does".to_owned());
            vec![finding(CallMistake::UnusableServer, message, help)]
        }
        Some(Ok(list)) => match list.tools.iter().find(|tool| tool.name == call.tool) {
            Some(tool) => arguments::mistakes(
                &format!("{}/{}", call.server, call.tool),
                &call.with.entries(),
                &tool.input_schema,
            )
            .into_iter()
            .map(|arguments::Mistake { mistake, message, help }| finding(mistake, message, Some(help)))
            .collect(),
            None => {
                let (mistake, message) = lacking(call, list);
                vec![finding(mistake, message, lacks(&list.tools, call.tool.as_str()))]
            }
        },
    }
}

/// The mistake of a call whose tool is not listed. A server that changes its list may add the tool later, unless the name looks
/// like a misspelt one of those that it lists.
fn lacking(call: &CallStep, list: &ToolList) -> (CallMistake, String) {
    let CallStep { server, tool, .. } = call;
    let names = list.tools.iter().map(|tool| tool.name.as_str());
    let is_left_out = list.left_out.contains_key(tool.as_str());
    if list.changes && !is_left_out && closest(tool.as_str(), names).is_none() {
        let message = format!(
            "the server `{server}` does not list the tool `{tool}` now, and declares that its list changes while it runs"
        );
        return (CallMistake::UnlistedTool, message);
    }
    (CallMistake::UnknownTool, format!("the server `{server}` has no tool `{tool}`"))
}
