//! `longshore validate`: checks workflows without running them.
//!
//! There are three levels of checks: the text; with a servers file, the servers that it names; with `--online`, the tools
//! that it names and their arguments.

mod calls;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures::future::join_all;
use longshore_proto::{ServerName, WorkflowRef};
use longshore_workflow::{Diagnostics, Plan, WrittenCall, compile_and_warn, written_calls};
use serde::Serialize;

use self::calls::{CallChecker, ToolLists};
use super::servers::with_pool;
use crate::args::ValidateArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input_text;
use crate::output::Output;
use crate::servers_file::{ServersFile, ServersSource, TrustedServers};
use crate::workflow_file;

/// The result for one file.
#[derive(Serialize)]
struct FileValidation {
    file: PathBuf,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    workflow: Option<WorkflowRef>,
    /// Problems of the text, or of its calls with these servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<Diagnostics>,
    /// Warnings: parts of the file that are allowed and probably not meant.
    #[serde(skip_serializing_if = "Diagnostics::is_empty")]
    warnings: Diagnostics,
    /// The reason why the file cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    text: String,
}

/// The text of a file with the results of the compiler.
struct Compilation {
    text: String,
    /// A plan with its warnings, or the problems of the text.
    outcome: Result<(Plan, Diagnostics), Diagnostics>,
    /// The calls, also of a text with errors.
    calls: Vec<WrittenCall>,
}

impl Compilation {
    fn of(text: String) -> Self {
        let (outcome, calls) = (compile_and_warn(&text), written_calls(&text));
        Self { text, outcome, calls }
    }
}

/// Checks all files, even if the first is invalid.
pub(super) async fn validate(args: ValidateArgs, output: &Output) -> Result<Exit, Failure> {
    let servers = ServersFile::find(&ServersSource::given(args.servers.mcp_config.as_deref()), output)?;
    let read = |path: &Path| input_text::read_or_stdin(path, "workflow").map(Compilation::of);
    let files: Vec<_> = args.workflows.iter().map(|path| (path, read(path))).collect();
    let (servers, tools) = if args.online {
        let trusted = servers.required()?.trusted(output, |line| output.message(line))?;
        let calls = files.iter().flat_map(|(_, read)| read.as_ref()).flat_map(|file| &file.calls);
        let tools = ask(&trusted, calls.map(|call| &call.server).collect()).await?;
        (trusted.into_file(), tools)
    } else {
        (servers, ToolLists::new())
    };
    let mut exit = Exit::Success;
    for (path, read) in files {
        let (validation, failure) = match read {
            Err(failure) => (FileValidation::unread(path, &failure), Some(failure)),
            Ok(compiled) => (FileValidation::of(path, compiled, &servers, &tools), None),
        };
        if !validation.valid {
            exit = Exit::Invalid;
        }
        if args.json {
            output.document_without_credentials("longshore.validation", &validation)?;
        } else if let Some(failure) = failure {
            output.failure(&failure);
        } else {
            show(&validation, output)?;
        }
    }
    Ok(exit)
}

impl FileValidation {
    fn unread(path: &Path, failure: &Failure) -> Self {
        let (file, error) = (path.to_owned(), Some(failure.message.clone()));
        let warnings = Diagnostics::default();
        Self { file, valid: false, workflow: None, problems: None, warnings, error, text: String::new() }
    }

    fn of(path: &Path, compiled: Compilation, servers: &ServersFile, tools: &ToolLists) -> Self {
        let Compilation { text, outcome, calls } = compiled;
        let checker = CallChecker { servers, tools };
        let (workflow, problems, warnings) = match outcome {
            // The arguments in a text with errors are not certain, so they are not checked.
            Err(problems) => {
                let found = Diagnostics::from_findings(&text, checker.findings(&calls, None));
                (None, Some(problems.merge(found)), Diagnostics::default())
            }
            Ok((plan, warnings)) => {
                let found = Diagnostics::from_findings(&text, checker.findings(&calls, Some(&plan)));
                let (problems, warnings) = warnings.merge(found).split_by_severity();
                (Some(plan.reference()), problems, warnings)
            }
        };
        let (file, valid) = (path.to_owned(), problems.is_none());
        Self { file, valid, workflow, problems, warnings, error: None, text }
    }
}

fn show(validation: &FileValidation, output: &Output) -> Result<(), Failure> {
    let FileValidation { file, workflow, problems, warnings, text, .. } = validation;
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

/// Requests the tools of those of these servers that are in the file, all at the same time.
async fn ask(servers: &TrustedServers, wanted: BTreeSet<&ServerName>) -> Result<ToolLists, Failure> {
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
