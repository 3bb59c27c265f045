//! `longshore validate`: what is wrong with workflows, without running them.
//!
//! Three circles: the text by itself; the servers it names, if there is a servers file; the tools it names and what
//! it passes to them, if the servers may be asked.

mod beside;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures::future::join_all;
use longshore_proto::{ServerName, WorkflowRef};
use longshore_worker::mcp::{CallFault, ToolList};
use longshore_workflow::{Diagnostics, Plan, WrittenCall, compile_and_warn, written_calls};
use serde::Serialize;

use self::beside::Beside;
use super::servers::with_pool;
use crate::args::ValidateArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input_text;
use crate::output::Output;
use crate::servers_file::{ServersFile, ServersSource, TrustedServers};
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

/// A text that could be read, with what the compiler says of it.
struct Compiled {
    text: String,
    /// A plan with the warnings about it, or everything that is wrong.
    outcome: Result<(Plan, Diagnostics), Diagnostics>,
    /// The calls, also of a text with errors.
    calls: Vec<WrittenCall>,
}

impl Compiled {
    fn of(text: String) -> Self {
        let (outcome, calls) = (compile_and_warn(&text), written_calls(&text));
        Self { text, outcome, calls }
    }
}

/// Checks files; all of them, whatever is wrong with the first.
pub(super) async fn validate(args: ValidateArgs, output: &Output) -> Result<Exit, Failure> {
    let servers = ServersFile::find(&ServersSource::given(args.servers.mcp_config.as_deref()), output)?;
    let read = |path: &Path| input_text::read_or_stdin(path, "workflow").map(Compiled::of);
    let files: Vec<_> = args.workflows.iter().map(|path| (path, read(path))).collect();
    let (servers, tools) = if args.online {
        let trusted = servers.required()?.trusted(output, |line| output.message(line))?;
        let calls = files.iter().flat_map(|(_, read)| read.as_ref()).flat_map(|file| &file.calls);
        let tools = ask(&trusted, calls.map(|call| &call.server).collect()).await?;
        (trusted.into_file(), tools)
    } else {
        (servers, Tools::new())
    };
    let mut exit = Exit::Success;
    for (path, read) in files {
        let (validation, failure) = match read {
            Err(failure) => (Validation::unread(path, &failure), Some(failure)),
            Ok(compiled) => (Validation::of(path, compiled, &servers, &tools), None),
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

    fn of(path: &Path, compiled: Compiled, servers: &ServersFile, tools: &Tools) -> Self {
        let Compiled { text, outcome, calls } = compiled;
        let beside = Beside { servers, tools };
        let (workflow, problems, warnings) = match outcome {
            // What such a text passes to the tools is not certain, so it is not compared with them.
            Err(problems) => {
                let found = Diagnostics::from_findings(&text, beside.findings(&calls, None));
                (None, Some(problems.merge(found)), Diagnostics::default())
            }
            Ok((plan, warnings)) => {
                let found = Diagnostics::from_findings(&text, beside.findings(&calls, Some(&plan)));
                let (problems, warnings) = warnings.merge(found).split_by_severity();
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

/// Asks the servers of the file among these, all at the same time.
async fn ask(servers: &TrustedServers, wanted: BTreeSet<&ServerName>) -> Result<Tools, Failure> {
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
