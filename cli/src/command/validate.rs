//! `longshore validate`: what is wrong with workflows, without running them.
//!
//! Three circles: the text by itself; the servers it names, if there is a servers file; the tools it names, if the
//! servers may be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures::future::join_all;
use longshore_proto::{ServerName, WorkflowRef};
use longshore_worker::mcp::{CallFault, Tool};
use longshore_workflow::{Diagnostics, Plan, StepKind, compile};
use serde::Serialize;

use super::servers::{lacks, with_pool};
use crate::args::ValidateArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input_text;
use crate::output::Output;
use crate::servers_file::{Problem, ServersFile};
use crate::workflow_file;

/// What was found out about one file.
#[derive(Serialize)]
struct Validation {
    file: PathBuf,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<WorkflowRef>,
    /// What is wrong with the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<Diagnostics>,
    /// Steps that cannot be carried out with these servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<Problem>,
    #[serde(skip)]
    text: String,
}

/// Checks files; all of them, whatever is wrong with the first.
pub(super) async fn validate(args: ValidateArgs, output: &Output) -> Result<Exit, Failure> {
    let servers = ServersFile::find(args.servers.mcp_config.as_deref(), output)?;
    let servers = if args.online { servers.required()? } else { servers };
    let (mut files, mut exit) = (Vec::new(), Exit::Success);
    for path in &args.workflows {
        match input_text::read(path, "workflow") {
            Ok(text) => files.push((path.as_path(), compile(&text), text)),
            Err(failure) => {
                output.failure(&failure);
                exit = failure.exit;
            }
        }
    }
    let tools = if args.online {
        ask(&servers, files.iter().flat_map(|(_, plan, _)| plan)).await?
    } else {
        Tools::new()
    };
    for (path, compiled, text) in files {
        let validation = check(path, compiled, text, &servers, &tools);
        if !validation.valid && exit == Exit::Success {
            exit = Exit::Invalid;
        }
        if args.json {
            output.document("longshore.validation", &validation)?;
        } else {
            show(&validation, output)?;
        }
    }
    Ok(exit)
}

fn check(
    path: &Path,
    compiled: Result<Plan, Diagnostics>,
    text: String,
    servers: &ServersFile,
    tools: &Tools,
) -> Validation {
    let file = path.to_owned();
    match compiled {
        Err(problems) => Validation {
            file,
            valid: false,
            workflow: None,
            problems: Some(problems),
            steps: Vec::new(),
            text,
        },
        Ok(plan) => {
            // Without a servers file nobody has said which servers there are.
            let mut steps = if servers.exists() { servers.problems(&plan) } else { Vec::new() };
            steps.extend(missing_tools(&plan, tools));
            let workflow = Some(plan.reference());
            Validation { file, valid: steps.is_empty(), workflow, problems: None, steps, text }
        }
    }
}

fn show(validation: &Validation, output: &Output) -> Result<(), Failure> {
    let Validation { file, workflow, problems, steps, text, .. } = validation;
    if let Some(problems) = problems {
        output.failure(&workflow_file::refused(file, text, problems, output));
    }
    for Problem { step, call, message, help } in steps {
        let message = format!("{}: step `{step}` calls {call}: {message}", file.display());
        output.failure(&Failure::new(Exit::Invalid, message).maybe_help(help.clone()));
    }
    if validation.valid
        && let Some(workflow) = workflow
    {
        output.result(&format!("{}: `{}` is valid", file.display(), workflow.name))?;
    }
    Ok(())
}

/// The tools of each server that was asked, or why it did not say.
type Tools = BTreeMap<ServerName, Result<Vec<Tool>, CallFault>>;

/// Asks every server that one of the plans calls, all at the same time.
async fn ask<'p>(servers: &ServersFile, plans: impl Iterator<Item = &'p Plan>) -> Result<Tools, Failure> {
    let calls = plans.flat_map(|plan| &plan.steps).filter_map(|step| match &step.kind {
        StepKind::Call(call) => Some(&call.server),
        StepKind::Set(_) | StepKind::Parallel { .. } => None,
    });
    let wanted: BTreeSet<&ServerName> = calls.collect();
    with_pool(servers, async |pool, names| {
        let wanted = names.into_iter().filter(|name| wanted.contains(name));
        let asked = join_all(wanted.map(async |server| {
            let tools = pool.tools(&server).await;
            (server, tools)
        }));
        Ok(asked.await.into_iter().collect())
    })
    .await
}

/// Steps whose tool its server does not have, or whose server does not answer.
fn missing_tools(plan: &Plan, tools: &Tools) -> Vec<Problem> {
    let mut problems = Vec::new();
    for step in &plan.steps {
        let StepKind::Call(call) = &step.kind else { continue };
        let (message, help) = match tools.get(&call.server) {
            None => continue,
            Some(Err(CallFault { fault, .. })) => {
                (format!("the server `{}` cannot be asked: {fault}", call.server), None)
            }
            Some(Ok(tools)) => match lacks(tools, call.tool.as_str()) {
                None => continue,
                Some(help) => {
                    (format!("the server `{}` has no tool `{}`", call.server, call.tool), Some(help))
                }
            },
        };
        let (step, call) = (step.path.to_string(), format!("{}/{}", call.server, call.tool));
        problems.push(Problem { step, call, message, help });
    }
    problems
}
