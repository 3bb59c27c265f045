//! A run as a tree of steps, within the rows and columns there are.

use longshore_proto::{Fault, RunView, StepStatus, StepView, Timestamp};

use super::fit::fit;
use crate::output::{DOUBTFUL, Elapsed, FAINT, Line, PLAIN, STRONG, Size, Symbols, aligned};

/// Runs as lines of a terminal. Runs that have ended take one line; the others share what is left.
pub(super) fn frame<'a>(
    runs: impl Iterator<Item = &'a RunView>,
    now: Timestamp,
    symbols: Symbols,
    size: Size,
) -> Vec<Line> {
    let mut runs: Vec<&RunView> = runs.collect();
    let alone = runs.len() == 1;
    runs.sort_by_key(|view| view.summary.status.is_terminal());
    // The cursor stands in the last row.
    let mut rows = size.rows.saturating_sub(1);
    let mut lines = Vec::new();
    for (place, view) in runs.iter().enumerate() {
        let after = runs.len() - place - 1;
        if rows < 2 && after > 0 {
            lines.push(Line::of(FAINT, &format!("and {} more runs", after + 1)));
            break;
        }
        lines.push(heading(view, now, symbols));
        rows = rows.saturating_sub(1);
        if alone || !view.summary.status.is_terminal() {
            if let Some(reason) = view.summary.cancel_reason.as_ref().filter(|_| rows > after) {
                lines.push(Line::of(DOUBTFUL, &format!("  reason: {reason}")));
                rows = rows.saturating_sub(1);
            }
            let mut steps = steps(view, now, symbols, rows / (after + 1));
            rows = rows.saturating_sub(steps.len());
            lines.append(&mut steps);
        }
    }
    lines.into_iter().map(|line| line.cut(size.columns, symbols.ellipsis())).collect()
}

/// `▸ sales-report  running  1.2s  run_00_...`
fn heading(view: &RunView, now: Timestamp, symbols: Symbols) -> Line {
    let summary = &view.summary;
    let (sign, style) = symbols.run(summary.status);
    let took = Elapsed(summary.finished_at.unwrap_or(now).since(summary.submitted_at));
    Line::of(style, sign)
        .with(STRONG, &format!(" {}", summary.workflow.name))
        .with(style, &format!("  {}", summary.status))
        .with(PLAIN, &format!("  {took}"))
        .with(FAINT, &format!("  {}", summary.run))
}

fn steps(view: &RunView, now: Timestamp, symbols: Symbols, rows: usize) -> Vec<Line> {
    if rows == 0 {
        return Vec::new();
    }
    let fitting = fit(&view.steps, rows, |step| 1 + below(step, symbols).count());
    let table = aligned(fitting.shown.iter().map(|step| cells(step, now, symbols)).collect());
    let mut lines = Vec::new();
    for (step, line) in fitting.shown.iter().zip(table) {
        lines.push(line);
        lines.extend(below(step, symbols));
    }
    let more = |rest: String| Line::of(FAINT, &format!("  {} {rest}", symbols.ellipsis()));
    lines.extend(fitting.rest.map(more));
    lines
}

/// The line of a step, in columns.
fn cells(step: &StepView, now: Timestamp, symbols: Symbols) -> Vec<Line> {
    let (sign, style) = symbols.step(step.status);
    let waits = step.status == StepStatus::Pending;
    let name = indented(step, 0)
        .with(style, sign)
        .with(if waits { FAINT } else { PLAIN }, &format!(" {}", step.path));
    let took = step
        .started_at
        .map(|began| format!("{:>6}", Elapsed(step.finished_at.unwrap_or(now).since(began))))
        .unwrap_or_default();
    let does = Line::of(FAINT, &step.caption()).with(PLAIN, &note(step));
    vec![name, Line::of(style, step.status.as_str()), Line::of(PLAIN, &took), does]
}

/// What stands below the line of a step: what went wrong, and what a call that is out waits for, which is the last thing
/// to be cut off where the terminal is narrow.
fn below(step: &StepView, symbols: Symbols) -> impl Iterator<Item = Line> {
    let is_out = step.status == StepStatus::Running;
    let waits =
        step.waiting_for.as_ref().filter(|_| is_out).map(|what| (DOUBTFUL, format!("waits for {what}")));
    let style = if step.status == StepStatus::Retrying { DOUBTFUL } else { symbols.step(step.status).1 };
    let wrong = trouble(step).map(|fault| (style, fault.to_string()));
    waits.into_iter().chain(wrong).map(|(style, text)| indented(step, 2).with(style, &text))
}

fn indented(step: &StepView, more: usize) -> Line {
    Line::of(PLAIN, &" ".repeat(2 + 2 * usize::from(step.depth) + more))
}

/// What there is to say beside status and time.
fn note(step: &StepView) -> String {
    let mut note = String::new();
    match (step.attempts.len(), step.status) {
        (0, _) | (1, StepStatus::Succeeded | StepStatus::Failed) => {}
        (made, StepStatus::Running) => note.push_str(&format!("  attempt {}", made + 1)),
        (1, _) => note.push_str("  1 attempt"),
        (made, _) => note.push_str(&format!("  {made} attempts")),
    }
    if let Some(what) = step.waiting_for.as_ref().filter(|_| step.status == StepStatus::Retrying) {
        note.push_str(&format!("  waits for {what}"));
    }
    note
}

/// What went wrong: for good, or with the last attempt if there will be another one.
fn trouble(step: &StepView) -> Option<&Fault> {
    match step.status {
        StepStatus::Retrying => step.attempts.last().and_then(|attempt| attempt.fault.as_ref()),
        _ => step.error.as_ref(),
    }
}

#[cfg(test)]
mod tests {
    use longshore_proto::RunStatus;
    use serde_json::json;

    use super::super::sample::{BEGAN, attempt, run, step};
    use super::*;

    fn check(runs: &[RunView], symbols: Symbols, size: (usize, usize), expected: &[&str]) {
        let size = Size { columns: size.0, rows: size.1 };
        let lines = frame(runs.iter(), Timestamp::from_millis(BEGAN + 3_000), symbols, size);
        let texts: Vec<_> = lines.iter().map(Line::text).collect();
        assert_eq!(texts, expected);
        assert!(lines.len() < size.rows && lines.iter().all(|line| line.width() <= size.columns));
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
                "  ▸ check          running      2.0s  parallel",
                "    ▸ check_north  running      2.0s  tables/read  attempt 2",
                "    ↻ check_east   retrying     2.0s  tables/read  1 attempt  waits for its next attempt",
                "      unavailable: it went away",
                "    ✗ check_west   failed      250ms  tables/read",
                "      tool_error: row 7: \\u001b[31mno number",
                "  · report         pending            tables/read",
            ],
        );
    }

    #[test]
    fn a_step_that_waits_says_for_what_in_a_terminal_of_the_usual_width() {
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
    fn a_cancelled_run_says_why() {
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
    fn ascii_says_the_same() {
        check(
            &[sample()],
            Symbols::Ascii,
            (60, 24),
            &[
                "> sales-report  running  3.0s  run_00_01kbgq5v8m3n4p5q6r7...",
                "  + files          succeeded   250ms  tables/read",
                "  > check          running      2.0s  parallel",
                "    > check_north  running      2.0s  tables/read  attempt 2",
                "    ~ check_east   retrying     2.0s  tables/read  1 atte...",
                "      unavailable: it went away",
                "    x check_west   failed      250ms  tables/read",
                "      tool_error: row 7: \\u001b[31mno number",
                "  . report         pending            tables/read",
            ],
        );
    }

    #[test]
    fn a_low_terminal_shows_where_the_work_is() {
        check(
            &[sample()],
            Symbols::Unicode,
            (50, 6),
            &[
                "▸ sales-report  running  3.0s  run_00_01kbgq5v8m3…",
                "    ▸ check_north  running    2.0s  tables/read  …",
                "    ✗ check_west   failed    250ms  tables/read",
                "      tool_error: row 7: \\u001b[31mno number",
                "  … and 4 more: 1 pending, 1 retrying, 1 running,…",
            ],
        );
    }

    #[test]
    fn the_last_frame_shows_every_step() {
        let steps = (0..200).map(|n| step(&format!("s{n}"), "succeeded", json!({}))).collect();
        let size = Size { columns: 80, rows: usize::MAX };
        let ended = run("succeeded", steps);
        let lines = frame(std::iter::once(&ended), Timestamp::from_millis(BEGAN), Symbols::Ascii, size);
        assert_eq!(lines.len(), 1 + 200);
    }

    #[test]
    fn runs_that_have_ended_make_room_for_the_others() {
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
}
