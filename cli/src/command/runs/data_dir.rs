//! Runs of a data directory: the stored rows of the last checkpoint, and newer states from the log.
//!
//! The stored row of an ended run is complete; for other runs the log is newer. Nothing is changed, and other processes may
//! work in the directory at the same time.

use std::collections::BTreeMap;
use std::path::Path;

use longshore_machine::{NoValue, RunValue};
use longshore_ports::{RunCursor, RunPage, RunQuery};
use longshore_proto::{Payload, RunId, RunStatus, RunSummary, RunView};
use longshore_scheduler::fill_outputs;

use crate::embedded::{self, ReadOnlyDataDir};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// The runs of a data directory, as of the moment it was opened.
pub(in super::super) struct DirectoryRuns {
    directory: ReadOnlyDataDir,
}

impl DirectoryRuns {
    /// Reads a directory as it is now.
    pub(super) async fn read(dir: &Path, output: &Output) -> Result<Self, Failure> {
        let directory = ReadOnlyDataDir::open(dir).await?;
        for (partition, error) in &directory.survey.unreadable {
            output.warning(&format!(
                "runs of partition {partition} are shown as of the last checkpoint, because its log cannot be read: {error}"
            ));
        }
        Ok(Self { directory })
    }

    /// Returns a page of runs, newest first.
    pub(super) async fn runs(&self, query: &RunQuery) -> Result<RunPage, Failure> {
        let newer = self.directory.survey.runs();
        let mut stored = self.directory.backend.checkpoints.runs(as_stored(query)).await?;
        stored.runs.iter_mut().for_each(|run| self.directory.survey.mark_interrupted(run));
        Ok(merged(stored, newer, query))
    }

    /// Returns a run in full, if it exists.
    pub(super) async fn run(&self, run: RunId) -> Result<Option<RunView>, Failure> {
        if let Some(mut view) = self.directory.survey.run(run) {
            fill_outputs(&mut view, &*self.directory.backend.blobs, u64::MAX).await?;
            return Ok(Some(view));
        }
        let mut view = embedded::stored(&self.directory.backend, run).await?;
        if let Some(view) = &mut view {
            self.directory.survey.mark_interrupted(&mut view.summary);
        }
        Ok(view)
    }

    /// Returns a value of a run, or the digest of a large one.
    pub(super) async fn value(&self, run: RunId, wanted: &RunValue) -> Result<Payload, Failure> {
        let none = |error: NoValue| Failure::new(Exit::NotFound, error.to_string());
        if let Some(state) = self.directory.survey.state(run) {
            return state.value(wanted).map_err(none);
        }
        let state = embedded::stored_state(&self.directory.backend, run).await?;
        let gone = || Failure::new(Exit::NotFound, format!("the run {run} is no longer stored"));
        state.ok_or_else(gone)?.value(wanted).map_err(none)
    }

    /// Returns a run as its stored row has it.
    pub(in super::super) async fn stored(&self, run: RunId) -> Result<Option<RunView>, Failure> {
        embedded::stored(&self.directory.backend, run).await
    }

    /// Returns the opened directory.
    pub(in super::super) fn directory(&self) -> &ReadOnlyDataDir {
        &self.directory
    }

    /// Closes the directory.
    pub(in super::super) async fn close(self) {
        self.directory.close().await;
    }
}

/// Returns the query for stored rows. No row has the status `interrupted`, but each run that has not ended may be
/// interrupted.
fn as_stored(query: &RunQuery) -> RunQuery {
    let mut query = query.clone();
    if query.statuses.contains(&RunStatus::Interrupted) {
        query.statuses.extend(LIVE);
    }
    query
}

/// The statuses of stored runs that have not ended.
const LIVE: [RunStatus; 3] = [RunStatus::Running, RunStatus::Failing, RunStatus::Cancelling];

/// Merges a page of stored rows with the newer states from the log, and keeps what matches the query. The page may have
/// fewer runs than were asked for although there are more.
fn merged(stored: RunPage, newer: Vec<RunSummary>, query: &RunQuery) -> RunPage {
    let RunPage { runs: rows, next, .. } = stored;
    let mut newer: BTreeMap<RunId, RunSummary> = newer.into_iter().map(|one| (one.run, one)).collect();
    let mut merged = Vec::new();
    for row in rows {
        // A run that has ended does not change any more. The rows were read after the log, so a row may be newer than the
        // log's state.
        if row.status.is_terminal() {
            newer.remove(&row.run);
        }
        if !newer.contains_key(&row.run) && query.matches(&row) {
            merged.push(row);
        }
    }
    // Runs behind the end of the stored page belong to the next page.
    let is_here = |one: &RunSummary| query.matches(one) && next.is_none_or(|next| RunCursor::of(one) >= next);
    merged.extend(newer.into_values().filter(is_here));
    merged.sort_by_key(|one| std::cmp::Reverse(RunCursor::of(one)));
    let mut page = RunPage { runs: merged, next, ..RunPage::default() };
    page.truncate(query.page_limit());
    page
}

#[cfg(test)]
mod tests {
    use longshore_proto::{RunStatus, Timestamp};
    use serde_json::json;

    use super::*;

    /// Returns a run by the last letter of its id; later letters are newer runs.
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

    fn check(rows: &str, newer: &str, statuses: &[RunStatus], limit: usize, expected: &str) {
        let status = |sign| if sign == '+' { RunStatus::Succeeded } else { RunStatus::Running };
        let runs = |text: &str| {
            let runs = text.split_whitespace().filter_map(|word| {
                let mut word = word.chars();
                Some(run(word.next()?, status(word.next()?)))
            });
            runs.collect::<Vec<_>>()
        };
        let query = RunQuery { statuses: statuses.to_vec(), limit, ..RunQuery::default() };
        let page = merged(RunPage { runs: runs(rows), ..RunPage::default() }, runs(newer), &query);
        assert_eq!(page.runs, runs(expected), "{rows} with {newer}");
        let is_cut = page.runs.len() == limit;
        assert_eq!(page.next, page.runs.last().filter(|_| is_cut).map(RunCursor::of));
    }

    #[test]
    fn runs_behind_a_stored_page_are_left_to_the_next_page() {
        let [a, b, c, d] = ['a', 'b', 'c', 'd'].map(|letter| run(letter, RunStatus::Running));
        let stored =
            RunPage { runs: vec![d.clone(), c.clone()], next: Some(RunCursor::of(&c)), ..RunPage::default() };
        let query = RunQuery { limit: 2, ..RunQuery::default() };
        let first = merged(stored, vec![a.clone(), b.clone()], &query);
        assert_eq!((first.runs, first.next), (vec![d, c.clone()], Some(RunCursor::of(&c))));
        let query = RunQuery { after: first.next, ..query };
        let second = merged(RunPage::default(), vec![a.clone(), b.clone(), c], &query);
        assert_eq!(second, RunPage { runs: vec![b, a], ..RunPage::default() });
    }

    #[test]
    fn log_has_precedence_over_stored_row_until_the_run_has_ended() {
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
