//! What there is to see in a data directory: rows of the last checkpoint, and what the log has beyond it.
//!
//! A row of a run that has ended says all there is; of the others the log knows more. Both are read beside whoever
//! works in the directory, and nothing is changed.

use std::collections::BTreeMap;
use std::path::Path;

use longshore_machine::{NoValue, RunValue};
use longshore_ports::{RunCursor, RunPage, RunQuery};
use longshore_proto::{Payload, RunId, RunStatus, RunSummary, RunView};

use crate::embedded::{self, Looked};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// A data directory that is looked at.
pub(in super::super) struct Look {
    looked: Looked,
}

impl Look {
    /// Looks at a directory as it is now.
    pub(super) async fn at(dir: &Path, output: &Output) -> Result<Self, Failure> {
        let looked = Looked::at(dir).await?;
        for (partition, error) in &looked.survey.unreadable {
            output.warning(&format!(
                "runs of partition {partition} are shown as of the last checkpoint, because its log cannot be followed: {error}"
            ));
        }
        Ok(Self { looked })
    }

    /// A page of runs, newest first.
    pub(super) async fn runs(&self, query: &RunQuery) -> Result<RunPage, Failure> {
        let fresh = self.looked.survey.runs();
        let mut stored = self.looked.backend.checkpoints.runs(as_stored(query)).await?;
        stored.runs.iter_mut().for_each(|run| self.looked.survey.mark(run));
        Ok(merged(stored, fresh, query))
    }

    /// A run in full, if there is one.
    pub(super) async fn run(&self, run: RunId) -> Result<Option<RunView>, Failure> {
        if let Some(view) = self.looked.survey.run(run) {
            return Ok(Some(view));
        }
        let mut view = embedded::stored(&self.looked.backend, run).await?;
        if let Some(view) = &mut view {
            self.looked.survey.mark(&mut view.summary);
        }
        Ok(view)
    }

    /// A value of a run, or the address of a large one.
    pub(super) async fn value(&self, run: RunId, wanted: &RunValue) -> Result<Payload, Failure> {
        let none = |error: NoValue| Failure::new(Exit::NotFound, error.to_string());
        if let Some(state) = self.looked.survey.state(run) {
            return state.value(wanted).map_err(none);
        }
        let state = embedded::stored_state(&self.looked.backend, run).await?;
        let gone = || Failure::new(Exit::NotFound, format!("the run {run} is not kept any more"));
        state.ok_or_else(gone)?.value(wanted).map_err(none)
    }

    /// A run as its stored row has it.
    pub(in super::super) async fn stored(&self, run: RunId) -> Result<Option<RunView>, Failure> {
        embedded::stored(&self.looked.backend, run).await
    }

    /// The directory.
    pub(in super::super) fn looked(&self) -> &Looked {
        &self.looked
    }

    /// Lets go of the directory.
    pub(in super::super) async fn close(self) {
        self.looked.close().await;
    }
}

/// A query for stored rows: no row says that a run is interrupted, and any that has not ended may be.
fn as_stored(query: &RunQuery) -> RunQuery {
    let mut query = query.clone();
    if query.statuses.contains(&RunStatus::Interrupted) {
        query.statuses.extend(LIVE);
    }
    query
}

/// The statuses of runs that have not ended, as they are stored.
const LIVE: [RunStatus; 3] = [RunStatus::Running, RunStatus::Failing, RunStatus::Cancelling];

/// A stored page that fits a query, with what the log knows better. May have fewer runs than asked for although there are more.
fn merged(stored: RunPage, fresh: Vec<RunSummary>, query: &RunQuery) -> RunPage {
    let RunPage { runs: rows, next, .. } = stored;
    let mut fresh: BTreeMap<RunId, RunSummary> = fresh.into_iter().map(|one| (one.run, one)).collect();
    let mut merged = Vec::new();
    for row in rows {
        // Nothing is newer than an end. The rows were read last, so they may have one that was not seen before.
        if row.status.is_terminal() {
            fresh.remove(&row.run);
        }
        if !fresh.contains_key(&row.run) && query.matches(&row) {
            merged.push(row);
        }
    }
    // What lies behind the end of the stored page belongs to the next one.
    let is_here = |one: &RunSummary| query.matches(one) && next.is_none_or(|next| RunCursor::of(one) >= next);
    merged.extend(fresh.into_values().filter(is_here));
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
        let page = merged(RunPage { runs: runs(rows), ..RunPage::default() }, runs(fresh), &query);
        assert_eq!(page.runs, runs(expected), "{rows} with {fresh}");
        let is_cut = page.runs.len() == limit;
        assert_eq!(page.next, page.runs.last().filter(|_| is_cut).map(RunCursor::of));
    }

    #[test]
    fn what_lies_behind_a_stored_page_is_left_to_the_next() {
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
