//! `longshore runs`: what is kept about runs, read beside whoever works in the data directory.
//!
//! What is shown is as of the end of the log; how that comes about is in [`look`].

mod look;
mod page;

use longshore_backend::RunQuery;
use longshore_proto::{RunId, RunSummary, RunView};

use self::look::Look;

use super::result::RUN_SCHEMA;
use crate::args::{RunsListArgs, RunsShowArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::which_run::which_run;

/// What a line of a list is called in JSON.
const SUMMARY_SCHEMA: &str = "longshore.run-summary";

/// Lists runs, newest first.
pub(super) async fn list(args: RunsListArgs, output: &Output) -> Result<Exit, Failure> {
    let look = Look::at(&args.data.data, output).await?;
    let query = RunQuery { statuses: args.statuses, limit: args.limit.into(), ..RunQuery::default() };
    let found = look.runs(query).await;
    look.close().await;
    let runs = found?;
    if args.json {
        runs.iter().try_for_each(|summary| output.document(SUMMARY_SCHEMA, summary))?;
    } else if runs.is_empty() {
        output.message("no such runs");
    } else {
        output.lines(page::list(&runs, output.symbols))?;
    }
    Ok(Exit::Success)
}

/// Shows a run in full.
pub(super) async fn show(args: RunsShowArgs, output: &Output) -> Result<Exit, Failure> {
    let look = Look::at(&args.data.data, output).await?;
    let found = find(&look, &args.run).await;
    look.close().await;
    let view = found?;
    if args.json {
        output.document(RUN_SCHEMA, &view)?;
    } else {
        output.lines(page::show(&view, output.symbols))?;
    }
    Ok(Exit::Success)
}

/// The run that a text means: its whole id, or what tells it from the newest ones.
async fn find(look: &Look, text: &str) -> Result<RunView, Failure> {
    let run: RunId = match text.parse() {
        Ok(run) => run,
        Err(_) => {
            let newest = look.runs(RunQuery::default()).await?;
            which_run(text, newest.iter().map(|summary: &RunSummary| summary.run))?
        }
    };
    look.run(run).await?.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no run {run}"))
            .help("`longshore runs list` shows what there is")
    })
}
