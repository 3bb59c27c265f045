//! Which runs to list, and the page of them that a store returns.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use longshore_proto::{Namespace, RunId, RunStatus, RunSummary, Timestamp, WorkflowName};
use serde::{Deserialize, Serialize};

/// The most runs of one page. Their summaries fit into one message of a broker.
pub const PAGE_LIMIT: usize = 1_000;

/// The most runs that a store looks at for one page, so that a filter that few runs match costs some dozens of milliseconds
/// and not the time of reading all runs. The page then ends early, and its cursor says where to continue.
pub const SCAN_LIMIT: usize = 10_000;

/// Which runs to list. An empty query lists the newest of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunQuery {
    /// Only this namespace.
    pub namespace: Option<Namespace>,
    /// Only runs in one of these; empty means any.
    pub statuses: Vec<RunStatus>,
    /// Only runs of this workflow, whatever its version.
    pub workflow: Option<WorkflowName>,
    /// Only runs that were submitted at this moment or later.
    pub since: Option<Timestamp>,
    /// Only runs whose workflow has all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only runs that follow this place of the list.
    pub after: Option<RunCursor>,
    /// At most this many, and never more than [`PAGE_LIMIT`]; zero means that.
    pub limit: usize,
}

impl RunQuery {
    /// Number of runs that a page may have.
    pub fn page_limit(&self) -> usize {
        if self.limit == 0 { PAGE_LIMIT } else { self.limit.min(PAGE_LIMIT) }
    }

    /// Returns whether the query asks for this run, apart from the number of runs.
    pub fn matches(&self, run: &RunSummary) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == run.namespace)
            && (self.statuses.is_empty() || self.statuses.contains(&run.status))
            && self.workflow.as_ref().is_none_or(|workflow| *workflow == run.workflow.name)
            && self.since.is_none_or(|since| run.submitted_at >= since)
            && self.labels.iter().all(|(name, value)| run.labels.get(name) == Some(value))
            && self.after.is_none_or(|after| RunCursor::of(run) < after)
    }
}

/// A place in the list of runs: directly behind this run. Runs are listed newest first, and by their ids where the moments
/// are equal, so that a later place is the lesser cursor.
///
/// Its text is `<milliseconds>-<run>`, which needs no quotes in a shell. It holds all there is to know, so it stays good when
/// the run is no longer kept.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RunCursor {
    /// When the run was submitted.
    pub submitted_at: Timestamp,
    /// The run.
    pub run: RunId,
}

impl RunCursor {
    /// The place behind a run.
    pub const fn of(run: &RunSummary) -> Self {
        Self { submitted_at: run.submitted_at, run: run.run }
    }
}

impl fmt::Display for RunCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.submitted_at.as_millis(), self.run)
    }
}

/// The text is not a cursor.
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

/// Some runs of a list, newest first.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct RunPage {
    /// The runs. May be fewer than asked for, and none, although there are more: see `next`.
    pub runs: Vec<RunSummary>,
    /// Where the next page begins; `None` at the end of the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<RunCursor>,
    /// Why the newest changes are missing, if the store takes no checkpoints now. Stores themselves leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
}

impl RunPage {
    /// Ends the page after so many runs.
    pub fn truncate(&mut self, count: usize) {
        if self.runs.len() > count {
            self.runs.truncate(count);
            self.next = self.runs.last().map(RunCursor::of).or(self.next);
        }
    }
}

/// Collects a page from runs that an adapter looks at in the order of the list.
pub struct RunPageBuilder<'q> {
    query: &'q RunQuery,
    page: RunPage,
    looked_at: usize,
    last: Option<RunCursor>,
}

impl<'q> RunPageBuilder<'q> {
    /// An empty page for a query.
    pub fn new(query: &'q RunQuery) -> Self {
        Self { query, page: RunPage::default(), looked_at: 0, last: None }
    }

    /// Returns whether the store has to look at further runs, if there are any.
    pub fn is_open(&self) -> bool {
        self.page.next.is_none()
    }

    /// Notes a run that the store has looked at, with its summary unless the store knows already that it does not match.
    pub fn visit(&mut self, place: RunCursor, run: Option<RunSummary>) {
        if !self.is_open() {
            return;
        }
        self.looked_at += 1;
        if let Some(run) = run.filter(|run| self.query.matches(run)) {
            if self.page.runs.len() == self.query.page_limit() {
                // One more than fits: only now is it known that another page has something.
                self.page.next = self.page.runs.last().map(RunCursor::of);
                return;
            }
            self.page.runs.push(run);
        }
        self.last = Some(place);
        if self.looked_at >= SCAN_LIMIT {
            self.page.next = self.last;
        }
    }

    /// The page of the runs that were noted.
    pub fn build(self) -> RunPage {
        self.page
    }
}

#[cfg(test)]
mod tests {
    use longshore_proto::Partition;

    use super::*;

    #[test]
    fn a_cursor_is_read_back_from_its_text() {
        let at = Timestamp::from_millis(1_795_187_471_000);
        let cursor = RunCursor { submitted_at: at, run: RunId::new(Partition(7), at, 9) };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in ["", "-", "1795187471000", "x-run_00_01kbgq5v8m3n4p5q6r7s8t9v0w", "7-run_00"] {
            assert_eq!(wrong.parse::<RunCursor>(), Err(CursorError), "{wrong}");
        }
    }
}
