//! What there is to see in a data directory: rows of the last checkpoint, and what the log has beyond it.
//!
//! A row of a run that has ended says all there is; of the others the log knows more. Both are read beside whoever
//! works in the directory, and nothing is changed.

use std::collections::BTreeMap;
use std::path::Path;

use longshore_backend::RunQuery;
use longshore_proto::{RunId, RunSummary, RunView};
use longshore_scheduler::{Observed, Run};

use crate::embedded::Looked;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// A data directory that is looked at.
pub(super) struct Look {
    looked: Looked,
}

impl Look {
    /// Looks at a directory as it is now.
    pub(super) async fn at(dir: &Path, output: &Output) -> Result<Self, Failure> {
        let (looked, blind) = Looked::at(dir).await?;
        if let Some(error) = blind {
            output.warning(&format!(
                "shown as of the last checkpoint, because the log cannot be followed: {error}"
            ));
        }
        Ok(Self { looked })
    }

    /// Runs, newest first.
    pub(super) async fn runs(&self, query: RunQuery) -> Result<Vec<RunSummary>, Failure> {
        let fresh = self.looked.observed.as_ref().map(Observed::runs).unwrap_or_default();
        // Rows that the log takes out of the list must not leave it shorter than was asked for.
        let wide = RunQuery { limit: 0, ..query.clone() };
        let rows = self.looked.backend.checkpoints.runs(wide).await?;
        Ok(merged(rows, fresh, &query))
    }

    /// A run in full, if there is one.
    pub(super) async fn run(&self, run: RunId) -> Result<Option<RunView>, Failure> {
        if let Some(view) = self.looked.observed.as_ref().and_then(|observed| observed.run(run)) {
            return Ok(Some(view));
        }
        let Some(row) = self.looked.backend.checkpoints.run(run).await? else { return Ok(None) };
        let run = Run::read(&row.state).map_err(|error| {
            Failure::new(Exit::Error, format!("the state of {run} cannot be read: {error}"))
        })?;
        Ok(Some(run.view()))
    }

    /// Lets go of the directory.
    pub(super) async fn close(self) {
        self.looked.store.close().await;
    }
}

/// Rows that fit a query, with what the log knows better.
fn merged(rows: Vec<RunSummary>, fresh: Vec<RunSummary>, query: &RunQuery) -> Vec<RunSummary> {
    let mut fresh: BTreeMap<RunId, RunSummary> = fresh.into_iter().map(|one| (one.run, one)).collect();
    let mut merged = Vec::new();
    for row in rows {
        // Nothing is newer than an end. The rows were read last, so they may have one that was not seen before.
        if row.status.is_terminal() {
            fresh.remove(&row.run);
        }
        if !fresh.contains_key(&row.run) {
            merged.push(row);
        }
    }
    let fits = |one: &RunSummary| {
        (query.statuses.is_empty() || query.statuses.contains(&one.status))
            && query.namespace.as_ref().is_none_or(|namespace| *namespace == one.namespace)
    };
    merged.extend(fresh.into_values().filter(fits));
    merged.sort_by_key(|one| std::cmp::Reverse((one.submitted_at, one.run)));
    if query.limit > 0 {
        merged.truncate(query.limit);
    }
    merged
}

#[cfg(test)]
mod tests {
    use longshore_proto::{RunStatus, Timestamp};
    use serde_json::json;

    use super::*;

    /// A run by the last letter of its id, which is later the further the letter is in the alphabet.
    fn run(letter: char, status: RunStatus) -> RunSummary {
        let id = format!("run_00_01kbgq5v8m3n4p5q6r7s8t9v0{letter}");
        let at = u64::from(u32::from(letter));
        let mut run: RunSummary = serde_json::from_value(json!({
            "run": id, "namespace": "default", "workflow": { "name": "w", "digest": "ab".repeat(32) },
            "status": "running", "submitted_at": at,
        }))
        .expect("a run");
        run.status = status;
        run.finished_at = status.is_terminal().then(|| Timestamp::from_millis(at));
        run
    }

    fn check(rows: &str, fresh: &str, statuses: &[RunStatus], limit: usize, expected: &str) {
        let status = |sign| if sign == '+' { RunStatus::Succeeded } else { RunStatus::Running };
        let runs = |text: &str| {
            let runs = text.split_whitespace().filter_map(|word| {
                let mut word = word.chars();
                Some(run(word.next()?, status(word.next()?)))
            });
            runs.collect::<Vec<_>>()
        };
        let query = RunQuery { statuses: statuses.to_vec(), limit, ..RunQuery::default() };
        assert_eq!(merged(runs(rows), runs(fresh), &query), runs(expected), "{rows} with {fresh}");
    }

    #[test]
    fn the_log_knows_better_until_a_run_has_ended() {
        use RunStatus::{Running, Succeeded};
        check("b+ a+", "", &[], 9, "b+ a+");
        check("", "a> b>", &[], 9, "b> a>");
        check("b> a+", "b+ c>", &[], 9, "c> b+ a+");
        check("b+ a+", "b>", &[], 9, "b+ a+");
        check("b> a+", "b+ c>", &[], 2, "c> b+");
        check("b>", "b+ c>", &[Running], 9, "c>");
        check("a+", "b+ c>", &[Succeeded], 9, "b+ a+");
    }
}
