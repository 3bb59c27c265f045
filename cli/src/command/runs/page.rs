//! Output of `runs list` and `runs show` for people.

mod cells;
mod list;
mod show;
mod steps;

pub(super) use self::list::list;
pub(super) use self::show::show;

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
