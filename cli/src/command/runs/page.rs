//! Output of `runs list` and `runs show` for people.

mod list;
mod show;
mod steps;

use longshore_proto::{RunSummary, Timestamp};

pub(super) use self::list::list;
pub(super) use self::show::show;
use crate::output::{BAD, Elapsed, StyledLine};

/// Returns the fault of a run with the step that failed, in one line.
fn error(summary: &RunSummary) -> StyledLine {
    match (&summary.failed_step, &summary.error) {
        (Some(step), Some(fault)) => StyledLine::of(BAD, &format!("{step}: {fault}")),
        (None, Some(fault)) => StyledLine::of(BAD, &fault.to_string()),
        (_, None) => StyledLine::default(),
    }
}

/// Returns the time between two moments, or no text if one of them is missing.
fn between(from: Option<Timestamp>, until: Option<Timestamp>) -> String {
    match (from, until) {
        (Some(from), Some(until)) => Elapsed(until.since(from)).to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod sample {
    //! A failed run for the tests of the pages.

    use longshore_proto::RunView;
    use serde_json::json;

    use crate::output::{StyledLine, TableRoom};

    /// Room in which nothing is cut.
    pub(super) const WHOLE: TableRoom = TableRoom { columns: None, ellipsis: "…" };

    /// Returns a run of three steps, whose second step failed.
    pub(super) fn view() -> RunView {
        let fault = json!({ "class": "tool_error", "message": "row 7 has no number" });
        serde_json::from_value(json!({
            "run": "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w",
            "namespace": "default",
            "workflow": { "name": "sales-report", "digest": "ab".repeat(32) },
            "status": "failed",
            "submitted_at": 1_795_187_471_000_u64,
            "finished_at": 1_795_187_473_000_u64,
            "error": fault,
            "failed_step": "check_west",
            "inputs": { "region": "west" },
            "steps": [
                { "path": "check", "does": "parallel", "depth": 0, "status": "failed",
                  "started_at": 1_795_187_471_000_u64, "finished_at": 1_795_187_473_000_u64 },
                { "path": "check_west", "does": "tables/validate", "depth": 1, "status": "failed", "error": fault,
                  "arguments": { "file": "west.csv" }, "started_at": 1_795_187_471_000_u64, "finished_at": 1_795_187_473_000_u64,
                  "attempts": [{ "number": 1, "started_at": 1_795_187_471_500_u64,
                                 "took_ms": 1000, "fault": fault, "sent": "answered", "worker": "worker-1-7",
                                 "process": { "pid": 4711, "connection": 2 } }] },
                { "path": "report", "does": "tables/write", "depth": 0, "status": "skipped",
                  "skipped_because": "`check` failed" },
            ],
        }))
        .expect("a run")
    }

    /// Returns lines without their styles.
    pub(super) fn texts(lines: &[StyledLine]) -> Vec<String> {
        lines.iter().map(StyledLine::text).collect()
    }
}
