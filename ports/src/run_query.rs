//! Queries for lists of runs, and the pages that answer them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use longshore_proto::{Namespace, RunId, RunStatus, RunSummary, Timestamp, WorkflowName};
use serde::{Deserialize, Serialize};

/// The largest number of runs on a page. Their summaries fit into one NATS message.
pub const PAGE_LIMIT: usize = 1_000;

/// The largest number of runs that a store scans for a page. It bounds the cost of a filter that few runs match to some
/// dozens of milliseconds. The page then ends early, and its cursor is the position to continue from.
pub const SCAN_LIMIT: usize = 10_000;

/// A query for a list of runs. The default query matches all runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunQuery {
    /// Namespace of the runs. `None` matches all.
    pub namespace: Option<Namespace>,
    /// Statuses of the runs. Empty matches all.
    pub statuses: Vec<RunStatus>,
    /// Workflow of the runs, in any version. `None` matches all.
    pub workflow: Option<WorkflowName>,
    /// Time of the earliest submit.
    pub since: Option<Timestamp>,
    /// Labels that the workflow has to have.
    pub labels: BTreeMap<String, String>,
    /// Matches only runs with an indeterminate step.
    pub indeterminate: bool,
    /// Position in the list after which the page begins.
    pub after: Option<RunCursor>,
    /// Number of runs on the page, at most [`PAGE_LIMIT`]. Zero means [`PAGE_LIMIT`].
    pub limit: usize,
}

impl RunQuery {
    /// Returns the largest number of runs on the page.
    pub fn page_limit(&self) -> usize {
        if self.limit == 0 { PAGE_LIMIT } else { self.limit.min(PAGE_LIMIT) }
    }

    /// Returns true if the query matches a run. Does not consider `limit`.
    pub fn matches(&self, run: &RunSummary) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == run.namespace)
            && (self.statuses.is_empty() || self.statuses.contains(&run.status))
            && self.workflow.as_ref().is_none_or(|workflow| *workflow == run.workflow.name)
            && self.since.is_none_or(|since| run.submitted_at >= since)
            && self.labels.iter().all(|(name, value)| run.labels.get(name) == Some(value))
            && (!self.indeterminate || run.indeterminate > 0)
            && self.after.is_none_or(|after| RunCursor::of(run) < after)
    }
}

/// A position in the list of runs, directly after a run. Runs are listed newest first, and by id where the times are equal,
/// so a later position is the lesser cursor.
///
/// The text form is `<milliseconds>-<run>`, which needs no quotes in a shell. A cursor stays valid when its run expires.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RunCursor {
    /// Time of the run's submit.
    pub submitted_at: Timestamp,
    /// Id of the run.
    pub run: RunId,
}

impl RunCursor {
    /// Returns the position after a run.
    pub const fn of(run: &RunSummary) -> Self {
        Self { submitted_at: run.submitted_at, run: run.run }
    }
}

impl fmt::Display for RunCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.submitted_at.as_millis(), self.run)
    }
}

/// The error of a text that is not a cursor.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("it is not a page cursor; use the one that the list before ended with")]
pub struct CursorError;

impl FromStr for RunCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (millis, run) = text.split_once('-').ok_or(CursorError)?;
        let submitted_at = Timestamp::from_millis(millis.parse().map_err(|_| CursorError)?);
        Ok(Self { submitted_at, run: run.parse().map_err(|_| CursorError)? })
    }
}

impl Serialize for RunCursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunCursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A page of a list of runs, newest first.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct RunPage {
    /// Runs of the page. May be fewer than the limit, or none, although the list continues at `next`.
    pub runs: Vec<RunSummary>,
    /// Position at which the next page begins. `None` at the end of the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<RunCursor>,
    /// Reason why the newest changes are missing, while the store takes no checkpoints. Stores leave it `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
}

impl RunPage {
    /// Shortens the page to `count` runs.
    pub fn truncate(&mut self, count: usize) {
        if self.runs.len() > count {
            self.runs.truncate(count);
            self.next = self.runs.last().map(RunCursor::of).or(self.next);
        }
    }
}

/// Builder of a page from the runs that an adapter scans in the order of the list.
pub struct RunPageBuilder<'q> {
    query: &'q RunQuery,
    page: RunPage,
    scanned: usize,
    last: Option<RunCursor>,
}

impl<'q> RunPageBuilder<'q> {
    /// Creates an empty page for a query.
    pub fn new(query: &'q RunQuery) -> Self {
        Self { query, page: RunPage::default(), scanned: 0, last: None }
    }

    /// Returns true if the store has to scan further runs, if there are any.
    pub fn is_open(&self) -> bool {
        self.page.next.is_none()
    }

    /// Adds a scanned run if it matches. `run` is `None` if the store found already that it does not.
    pub fn visit(&mut self, position: RunCursor, run: Option<RunSummary>) {
        if !self.is_open() {
            return;
        }
        self.scanned += 1;
        if let Some(run) = run.filter(|run| self.query.matches(run)) {
            if self.page.runs.len() == self.query.page_limit() {
                // This run does not fit any more, so there is a next page.
                self.page.next = self.page.runs.last().map(RunCursor::of);
                return;
            }
            self.page.runs.push(run);
        }
        self.last = Some(position);
        if self.scanned >= SCAN_LIMIT {
            self.page.next = self.last;
        }
    }

    /// Returns the page.
    pub fn build(self) -> RunPage {
        self.page
    }
}

#[cfg(test)]
mod tests {
    use longshore_proto::Partition;

    use super::*;

    #[test]
    fn cursor_round_trips_as_text() {
        let at = Timestamp::from_millis(1_795_187_471_000);
        let cursor = RunCursor { submitted_at: at, run: RunId::new(Partition(7), at, 9) };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in ["", "-", "1795187471000", "x-run_00_01kbgq5v8m3n4p5q6r7s8t9v0w", "7-run_00"] {
            assert_eq!(wrong.parse::<RunCursor>(), Err(CursorError), "{wrong}");
        }
    }
}
