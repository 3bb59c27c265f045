//! `longshore runs`: the runs of a cluster or of a data directory.
//!
//! A cluster shows its last checkpoints, about a tenth of a second behind its logs. A data directory is shown as of the end
//! of its logs; see [`data_dir`].

mod cancel;
mod cancel_local;
mod cancelled;
mod data_dir;
mod large_values;
mod page;
mod run_count;
mod source;
mod value;

use longshore_ports::{RunCursor, RunPage, RunQuery};
use longshore_proto::RunStatus;

pub(super) use self::cancel::cancel;
pub(super) use self::data_dir::DirectoryRuns;
pub(super) use self::source::{RunSource, RunUse, data_directory, find_cluster_run, find_local_run};
pub(super) use self::value::output;

use self::run_count::run_count;
use self::source::query;
use super::result::RUN_SCHEMA;
use crate::args::{RunsListArgs, RunsShowArgs};
use crate::config::Config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Schema name of a line of `runs list` in JSON.
const SUMMARY_SCHEMA: &str = "longshore.run-summary";

/// Lists runs, newest first.
pub(super) async fn list(args: RunsListArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let source = RunSource::choose(&args.source, config, output).await?;
    if matches!(source, RunSource::Cluster(_)) && args.statuses.contains(&RunStatus::Interrupted) {
        let message = "a run of a cluster is never interrupted: another scheduler or worker continues it";
        return Err(
            Failure::new(Exit::Usage, message).help("runs of a data directory are listed with --data")
        );
    }
    let query = RunQuery {
        statuses: args.statuses.clone(),
        indeterminate: args.indeterminate,
        after: args.after,
        limit: args.limit.into(),
        ..query(&args.filter)
    };
    let found = source.runs(query).await;
    source.close().await;
    let RunPage { runs, next, incomplete } = found?;
    if let Some(cause) = &incomplete {
        output.warning(&format!("the list may lack runs and changes: {cause}"));
    }
    if args.json {
        runs.iter().try_for_each(|summary| output.document(SUMMARY_SCHEMA, summary))?;
    } else if runs.is_empty() {
        output.message("no such runs");
    } else {
        output.lines(page::list(&runs, output.symbols, &output.result_times, output.table_room()))?;
    }
    if let Some(next) = next {
        output.message(&continuation_hint(runs.len(), args.after.is_some(), next));
    }
    Ok(if incomplete.is_some() && runs.is_empty() { Exit::Full } else { Exit::Success })
}

/// Returns the message that the list was cut at its limit, with the options that show more.
fn continuation_hint(shown: usize, is_continued: bool, next: RunCursor) -> String {
    let which = if is_continued { "next" } else { "newest" };
    let runs = if shown == 1 { "run".to_owned() } else { run_count(shown) };
    format!("showing the {which} {runs}: --limit shows more, and the list continues with --after {next}")
}

/// Shows a run in full.
pub(super) async fn show(args: RunsShowArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let source = RunSource::choose(&args.source, config, output).await?;
    let view = match &source {
        RunSource::DataDir(local) => find_local_run(local, &args.run).await,
        RunSource::Cluster(client) => match find_cluster_run(client, &args.run, RunUse::Show).await {
            Ok(run) => client.get(run).await,
            Err(failure) => Err(failure),
        },
    };
    source.close().await;
    let mut view = view?;
    large_values::by_size(&mut view);
    if args.json {
        output.document(RUN_SCHEMA, &view)?;
    } else {
        output.whole_lines(page::show(&view, output.symbols, &output.result_times, output.table_room()))?;
    }
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hint_names_one_run_in_the_singular() {
        let cursor = || "1-run_00_01kbgq5v8m3n4p5q6r7s8t9v0w".parse::<RunCursor>().expect("a cursor");
        assert!(continuation_hint(1, false, cursor()).starts_with("showing the newest run: "));
        assert!(continuation_hint(2, true, cursor()).starts_with("showing the next 2 runs: "));
    }
}
