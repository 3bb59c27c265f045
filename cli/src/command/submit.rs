//! `longshore submit`: submits a run of a workflow to the cluster.
//!
//! ```text
//!   file ──► plan ──► inputs fit? ──► push ──► submit (that version) ──► run id
//!   name ──► plan of the registered text ──┘
//! ```
//!
//! The submit is sent as a request, so that a refusal is answered with its reasons.

use std::path::Path;

use longshore_proto::{SubmitBody, WorkflowName};
use longshore_workflow::{Plan, compile};
use serde::Serialize;
use tokio::time::Instant;

use super::{result, watch};
use crate::args::SubmitArgs;
use crate::cluster::Client;
use crate::config::Config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::inputs;
use crate::output::Output;
use crate::suggest;
use crate::workflow_file::WorkflowFile;

/// Schema name of a submit in JSON.
const SUBMITTED_SCHEMA: &str = "longshore.submitted";

#[derive(Serialize)]
struct SubmittedDocument {
    run: String,
    workflow: String,
    digest: String,
    /// An earlier submit with the same id created the run.
    existed: bool,
}

/// Submits a run, and watches it with `--watch`.
pub(super) async fn submit(args: SubmitArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    // A file is read and checked before any question is asked or request is sent.
    let inputs = args.input_file.as_deref();
    let path = Path::new(&args.workflow);
    let load = || WorkflowFile::load_beside(path, inputs, output);
    let mut file = is_file(&args.workflow).then(load).transpose()?;
    let gather = |plan: &Plan| inputs::gather(plan, inputs, &args.inputs, output);
    let checked = file.as_ref().map(|file| gather(&file.plan)).transpose()?;
    if let (Some(file), Some(given)) = (&mut file, &checked) {
        file.warn_with_inputs(path, given, output);
    }
    let client = Client::connect(config, args.cluster.verbose, output).await?;
    // With an id and without a version, the submit means the run of that id, even if another version has become the current
    // one.
    let is_pinned = file.is_some() || args.id.is_none();
    let (plan, inputs) = match (file, checked) {
        (Some(WorkflowFile { text, plan, .. }), Some(inputs)) => {
            client.push(&text).await?;
            (plan, inputs)
        }
        _ => {
            let plan = registered(&client, config, &args.workflow).await?;
            let inputs = gather(&plan)?;
            (plan, inputs)
        }
    };
    let body = SubmitBody {
        namespace: None,
        workflow: Some(plan.name.to_string()),
        id: args.id,
        version: is_pinned.then(|| plan.digest.to_string()),
        inputs,
    };
    let submitted = client.submit(&body).await?;
    let run = submitted.run;
    if args.watch {
        let was = if submitted.existed { "was submitted before" } else { "submitted" };
        output.message(&format!("{run} of {} {was} to {}", plan.name, client.description()));
        let Some(view) = watch::to_end(&client, run, Some(Instant::now()), output).await? else {
            return Err(watch::stopped(run));
        };
        result::ended(&view, &watch::show_hint(run), args.json, output)?;
        return Ok(Exit::worst([view.summary.status]));
    }
    if args.json {
        let (workflow, existed) = (plan.name.to_string(), submitted.existed);
        let digest = submitted.digest.unwrap_or(plan.digest).to_string();
        output.document(
            SUBMITTED_SCHEMA,
            &SubmittedDocument { run: run.to_string(), workflow, digest, existed },
        )?;
    } else {
        output.result(&run.to_string())?;
    }
    Ok(Exit::Success)
}

/// Returns true if the text means a file or stdin: the file exists, or the text has a dot or a slash, which no workflow name has.
fn is_file(text: &str) -> bool {
    text == "-" || text.contains(['.', '/']) || Path::new(text).is_file()
}

/// Returns the plan of the current version of a registered workflow.
async fn registered(client: &Client, config: &Config, name: &str) -> Result<Plan, Failure> {
    let name: WorkflowName = name.parse().map_err(|error| {
        Failure::new(Exit::Usage, format!("{error}")).help("give a file, or a registered name")
    })?;
    let text = match client.workflow(&name, None).await {
        Ok(registered) => registered.text,
        Err(Failure { exit: Exit::NotFound, .. }) => return Err(unknown(client, config, &name).await),
        Err(failure) => return Err(failure),
    };
    compile(&text).map_err(|problems| {
        let why = format!("it does not compile with this version: {problems}");
        Failure::new(Exit::Error, format!("the workflow `{name}` cannot be used: {why}"))
    })
}

/// Returns the failure for a name that no workflow is registered under.
pub(super) async fn unknown(client: &Client, config: &Config, name: &WorkflowName) -> Failure {
    let known = client.workflows().await.unwrap_or_default();
    let names: Vec<&str> = known.iter().map(|workflow| workflow.name.as_str()).collect();
    let namespace = &config.namespace;
    Failure::new(Exit::NotFound, format!("no workflow `{name}` is registered in the namespace `{namespace}`"))
        .help(suggest::among(name.as_str(), &names))
}
