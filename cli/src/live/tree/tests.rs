//! Tests of the tree.

use longshore_proto::{Attempt, CallActivity, CallUpdate, Progress, RunStatus};
use serde_json::json;

use super::super::sample::{BEGAN, attempt, run, step, unreported};
use super::*;

fn check(runs: &[RunView], symbols: Symbols, size: (usize, usize), expected: &[&str]) {
    let (size, activities) = (TerminalSize { columns: size.0, rows: size.1 }, Activities::default());
    let context = FrameContext {
        now: Timestamp::from_millis(BEGAN + 3_000),
        symbols,
        size,
        is_last: false,
        activities: &activities,
    };
    let lines = frame(runs.iter(), context);
    let texts: Vec<_> = lines.iter().map(StyledLine::text).collect();
    assert_eq!(texts, expected);
    assert!(lines.len() < size.rows && lines.iter().all(|line| line.width() <= size.columns));
}

/// Returns the last frame of a run.
fn last_frame(run: &RunView) -> Vec<String> {
    let size = TerminalSize { columns: 40, rows: 5 };
    let context = FrameContext {
        now: Timestamp::from_millis(BEGAN + 3_000),
        symbols: Symbols::Ascii,
        size,
        is_last: true,
        activities: &Activities::default(),
    };
    frame(std::iter::once(run), context).iter().map(StyledLine::text).collect()
}

fn sample() -> RunView {
    run(
        "running",
        vec![
            step("files", "succeeded", json!({ "attempts": [] })),
            step("check", "running", json!({ "does": "parallel" })),
            step(
                "check_north",
                "running",
                json!({ "depth": 1, "attempts": [attempt(1, "timeout", "no answer")] }),
            ),
            step(
                "check_east",
                "retrying",
                json!({
                    "depth": 1,
                    "attempts": [attempt(1, "unavailable", "it went\naway")],
                    "waiting_for": "its next attempt",
                    "next_attempt_at": BEGAN + 5_300, "attempt_limit": 4,
                }),
            ),
            step(
                "check_west",
                "failed",
                json!({ "depth": 1, "error": { "class": "tool_error", "message": "row 7: \u{1b}[31mno number" } }),
            ),
            step("report", "pending", json!({})),
        ],
    )
}

#[test]
fn a_run_is_a_tree_of_steps() {
    check(
        &[sample()],
        Symbols::Unicode,
        (100, 24),
        &[
            "▸ sales-report  running  3.0s  run_00_01kbgq5v8m3n4p5q6r7s8t9v0w",
            "  ✓ files          succeeded   250ms  tables/read",
            "  ▸ check          running      2.0s  parallel  1/3",
            "    ▸ check_north  running      2.0s  tables/read  attempt 2",
            "    ↻ check_east   retrying     2.0s  tables/read  attempt 2/4 in 2.3s",
            "      unavailable: it went away",
            "    ✗ check_west   failed      250ms  tables/read",
            "      tool_error: row 7: \\u001b[31mno number",
            "  · report         pending            tables/read",
        ],
    );
}

#[test]
fn attempts_are_counted_by_their_numbers() {
    let interrupted = |number: u32| json!([unreported(number), unreported(number)]);
    let twice = json!([unreported(1), attempt(1, "timeout", "x"), attempt(2, "timeout", "y")]);
    let steps = vec![
        step("a", "running", json!({ "attempts": interrupted(1), "attempt_limit": 2 })),
        step("b", "running", json!({ "attempts": interrupted(2), "attempt_limit": 2 })),
        step("c", "cancelled", json!({ "attempts": interrupted(1) })),
        step("d", "failed", json!({ "attempts": twice })),
    ];
    check(
        &[run("running", steps)],
        Symbols::Ascii,
        (80, 24),
        &[
            "> sales-report  running  3.0s  run_00_01kbgq5v8m3n4p5q6r7s8t9v0w",
            "  > a  running      2.0s  tables/read  attempt 1/2",
            "  > b  running      2.0s  tables/read  attempt 2/2",
            "  o c  cancelled   250ms  tables/read  1 attempt",
            "  x d  failed      250ms  tables/read  2 attempts",
        ],
    );
}

#[test]
fn reason_of_a_waiting_step_fits_a_terminal_of_80_columns() {
    let waits =
        json!({ "does": "payments/charge", "waiting_for": "a worker that serves `payments`: none does" });
    check(
        &[run("running", vec![step("charge", "running", waits)])],
        Symbols::Ascii,
        (80, 24),
        &[
            "> sales-report  running  3.0s  run_00_01kbgq5v8m3n4p5q6r7s8t9v0w",
            "  > charge  running    2.0s  payments/charge",
            "    waits for a worker that serves `payments`: none does",
        ],
    );
}

#[test]
fn cancelled_run_is_shown_with_its_reason() {
    let mut run = run("cancelled", vec![step("files", "cancelled", json!({}))]);
    run.summary.cancel_reason = Some("wrong file\nof ours".to_owned());
    check(
        &[run],
        Symbols::Ascii,
        (80, 24),
        &[
            "o sales-report  cancelled  5.0s  run_00_01kbgq5v8m3n4p5q6r7s8t9v0w",
            "  reason: wrong file of ours",
            "  o files  cancelled   250ms  tables/read",
        ],
    );
}

#[test]
fn tree_in_ascii_has_the_same_content() {
    check(
        &[sample()],
        Symbols::Ascii,
        (60, 24),
        &[
            "> sales-report  running  3.0s  run_00_01kbgq5v8m3n4p5q6r7...",
            "  + files          succeeded   250ms  tables/read",
            "  > check          running      2.0s  parallel  1/3",
            "    > check_north  running      2.0s  tables/read  attempt 2",
            "    ~ check_east   retrying     2.0s  t...ad  attempt 2/4...",
            "      unavailable: it went away",
            "    x check_west   failed      250ms  tables/read",
            "      tool_error: row 7: \\u001b[31mno number",
            "  . report         pending            tables/read",
        ],
    );
}

#[test]
fn terminal_of_few_rows_shows_failed_and_running_steps() {
    check(
        &[sample()],
        Symbols::Unicode,
        (50, 6),
        &[
            "▸ sales-report  running  3.0s  run_00_01kbgq5v8m3…",
            "  ▸ check         running    2.0s  parallel  1/3",
            "    ✗ check_west  failed    250ms  tables/read",
            "      tool_error: row 7: \\u001b[31mno number",
            "  … and 4 more: 1 pending, 1 retrying, 1 running,…",
        ],
    );
}

#[test]
fn the_last_frame_shows_every_step() {
    let steps = (0..200).map(|n| step(&format!("s{n}"), "succeeded", json!({}))).collect();
    let ended = run("succeeded", steps);
    let lines = last_frame(&ended);
    assert_eq!(lines.len(), 1 + 200);
}

#[test]
fn ended_runs_take_one_row() {
    let ended = run("succeeded", vec![step("files", "succeeded", json!({}))]);
    let mut going = run("running", vec![step("files", "running", json!({}))]);
    check(
        &[ended.clone(), going.clone(), ended.clone()],
        Symbols::Ascii,
        (60, 24),
        &[
            "> sales-report  running  3.0s  run_00_01kbgq5v8m3n4p5q6r7...",
            "  > files  running    2.0s  tables/read",
            "+ sales-report  succeeded  5.0s  run_00_01kbgq5v8m3n4p5q6...",
            "+ sales-report  succeeded  5.0s  run_00_01kbgq5v8m3n4p5q6...",
        ],
    );
    going.summary.status = RunStatus::Cancelling;
    check(
        &[going, ended.clone(), ended.clone(), ended],
        Symbols::Ascii,
        (60, 4),
        &[
            "o sales-report  cancelling  3.0s  run_00_01kbgq5v8m3n4p5q...",
            "+ sales-report  succeeded  5.0s  run_00_01kbgq5v8m3n4p5q6...",
            "and 2 more runs",
        ],
    );
}

#[test]
fn last_frame_has_faults_in_full_and_counts_tolerated_failures() {
    let fault = json!({ "class": "tool_error", "message": "row 7 has no number, which this table needs\n  at line 9" });
    let of_member = |member: Option<&str>| json!({ "class": "tool_error", "message": "`north`: row 7 has no number, which this table needs", "member": member });
    let run = run(
        "succeeded",
        vec![
            step("both", "failed", json!({ "does": "parallel", "error": of_member(Some("north")) })),
            step("north", "failed", json!({ "depth": 1, "name": "Check the north", "error": fault })),
            step("south", "succeeded", json!({ "depth": 1 })),
        ],
    );
    assert_eq!(
        last_frame(&run),
        [
            "+ sales-report  succeeded  5.0s  1 failed, tolerated  run_00_01kbgq5v8m3n4p5q6r7s8t9v0w",
            "  x both               failed      250ms  parallel  2/2",
            "    x Check the north  failed      250ms  tables/read  north",
            "      tool_error: row 7 has no number, which this table needs",
            "        at line 9",
            "    + south            succeeded   250ms  tables/read",
        ]
    );
}

#[test]
fn progress_is_at_the_end_of_the_row_of_its_call() {
    let running = run("running", vec![step("files", "running", json!({ "name": "All files" }))]);
    let (mut activities, step) = (Activities::default(), "files".parse().expect("a path"));
    let message = Some("page\u{1b}[2J 12, which has a long name".to_owned());
    let activity = CallActivity::Progress(Progress { done: 12.0, total: Some(32.0), message });
    activities
        .store(&running, CallUpdate { run: running.summary.run, step, attempt: Attempt::FIRST, activity });
    let context = FrameContext {
        now: Timestamp::from_millis(BEGAN + 3_000),
        symbols: Symbols::Ascii,
        size: TerminalSize { columns: 70, rows: 5 },
        is_last: false,
        activities: &activities,
    };
    let lines: Vec<_> = frame(std::iter::once(&running), context).iter().map(StyledLine::text).collect();
    assert_eq!(lines[1], r"  > All files  running    2.0s  tables/read  files  12/32 page\u001...");
}

#[test]
fn progress_fits_a_terminal_of_80_columns() {
    let more = json!({ "name": "A long job", "does": "demo/trigger-long-running-operation" });
    let running = run("running", vec![step("slow_operation", "running", more)]);
    let (mut activities, step) = (Activities::default(), "slow_operation".parse().expect("a path"));
    let activity = CallActivity::Progress(Progress { done: 4.0, total: Some(10.0), message: None });
    activities
        .store(&running, CallUpdate { run: running.summary.run, step, attempt: Attempt::FIRST, activity });
    let context = FrameContext {
        now: Timestamp::from_millis(BEGAN + 3_000),
        symbols: Symbols::Unicode,
        size: TerminalSize { columns: 80, rows: 5 },
        is_last: false,
        activities: &activities,
    };
    let lines: Vec<_> = frame(std::iter::once(&running), context).iter().map(StyledLine::text).collect();
    assert!(lines[1].ends_with("slow_operation  4/10"), "{lines:?}");
}

#[test]
fn fault_that_quotes_the_fault_of_another_step_is_shown() {
    let fault = |message: &str| json!({ "class": "tool_error", "message": message });
    let steps = vec![
        step("north", "failed", json!({ "error": fault("no row 7") })),
        step("south", "failed", json!({ "error": fault("`north`: no row 7") })),
    ];
    let frame = last_frame(&run("failed", steps));
    assert_eq!(frame.last().map(String::as_str), Some("    tool_error: `north`: no row 7"));
}
