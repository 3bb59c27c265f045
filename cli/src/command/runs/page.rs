//! Runs on a page: what `runs list` and `runs show` print for people.

use anstyle::Style;
use longshore_proto::{
    AttemptRecord, Fault, RunStatus, RunSummary, RunView, StepStatus, StepView, Timestamp,
};
use serde_json::Value;

use crate::output::{
    BAD, DOUBTFUL, Elapsed, FAINT, Line, Loses, PLAIN, STRONG, ShrinkingColumn, Symbols, TableRoom, TimeForm,
    Times, aligned, aligned_within, fits, hanging,
};

/// A row for each run. The times become shorter where the terminal has no room for them.
pub(super) fn list(runs: &[RunSummary], symbols: Symbols, times: &Times, room: TableRoom) -> Vec<Line> {
    let column = ShrinkingColumn::new;
    let shrinking = [column(0, 8, Loses::Beginning), column(2, 7, Loses::Middle), column(5, 8, Loses::End)];
    let mut rows = list_rows(runs, symbols, times, TimeForm::Full);
    if !fits(&rows, room, &[]) {
        rows = list_rows(runs, symbols, times, TimeForm::Seconds);
    }
    if !fits(&rows, room, &shrinking) {
        rows = list_rows(runs, symbols, times, TimeForm::Minutes);
    }
    aligned_within(rows, room, &shrinking)
}

fn list_rows(runs: &[RunSummary], symbols: Symbols, times: &Times, form: TimeForm) -> Vec<Vec<Line>> {
    let heading = ["RUN", "STATUS", "WORKFLOW", "SUBMITTED", "TOOK", "ERROR"];
    let mut rows = vec![heading.map(|title| Line::of(FAINT, title)).to_vec()];
    rows.extend(runs.iter().map(|summary| {
        let (sign, style) = symbols.run(summary.status);
        vec![
            Line::of(PLAIN, &summary.run.to_string()),
            Line::of(style, &format!("{sign} {}", summary.status)),
            Line::of(PLAIN, summary.workflow.name.as_str()),
            Line::of(FAINT, &times.in_form(summary.submitted_at, form)),
            Line::of(PLAIN, &between(Some(summary.submitted_at), summary.finished_at)),
            error(summary),
        ]
    }));
    rows
}

/// A run in full. Rows and values are cut to the room; reasons and attempts are whole, and a terminal wraps them.
pub(super) fn show(view: &RunView, symbols: Symbols, times: &Times, room: TableRoom) -> Vec<Line> {
    let summary = &view.summary;
    let (sign, style) = symbols.run(summary.status);
    let workflow = format!("{}  {}", summary.workflow.name, summary.workflow.digest.short());
    let mut facts = vec![
        fact("run", Line::of(PLAIN, &summary.run.to_string())),
        fact("workflow", Line::of(PLAIN, &workflow)),
        fact("status", Line::of(style, &format!("{sign} {}", summary.status))),
        fact("submitted", Line::of(PLAIN, &times.shown(summary.submitted_at))),
    ];
    if summary.finished_at.is_some() {
        facts.push(fact("took", Line::of(PLAIN, &between(Some(summary.submitted_at), summary.finished_at))));
    }
    if let Some(reason) = &summary.cancel_reason {
        facts.push(fact("reason", Line::of(PLAIN, reason)));
    }
    match &summary.failed_step {
        // The step says why, in its place below.
        Some(step) if view.steps.iter().any(|one| one.path == *step) => {
            facts.push(fact("failed at", Line::of(BAD, step.as_str())));
        }
        _ if summary.error.is_some() => facts.push(fact("error", error(summary))),
        _ => {}
    }
    facts.push(fact("inputs", json(&view.inputs, room)));
    facts.extend(view.outputs.as_ref().map(|outputs| fact("outputs", json(outputs, room))));
    let mut lines = aligned(facts);
    lines.push(Line::default());
    lines.extend(steps(view, symbols, times, room));
    lines
}

fn fact(name: &str, value: Line) -> Vec<Line> {
    vec![Line::of(STRONG, name), value]
}

/// Columns of the names of facts, with the gap behind them.
const FACT_NAME_COLUMNS: usize = 11;

fn json(value: &Value, room: TableRoom) -> Line {
    room.beside(FACT_NAME_COLUMNS).cut(Line::of(PLAIN, &value.to_string()))
}

/// Each step in a row, and below it what went wrong and every attempt, if there is more to say than the row does.
fn steps(run: &RunView, symbols: Symbols, times: &Times, room: TableRoom) -> Vec<Line> {
    let (steps, is_interrupted) = (&run.steps, run.summary.status == RunStatus::Interrupted);
    let column = ShrinkingColumn::new;
    let shrinking = [column(0, 16, Loses::Middle), column(3, 16, Loses::End)];
    let rows = aligned_within(
        steps.iter().map(|step| row(step, is_interrupted, symbols)).collect(),
        room,
        &shrinking,
    );
    steps
        .iter()
        .zip(rows)
        .flat_map(|(step, row)| std::iter::once(room.cut(row)).chain(below(step, steps, times, room)))
        .collect()
}

fn row(step: &StepView, is_interrupted: bool, symbols: Symbols) -> Vec<Line> {
    // The log does not tell whether a job that was out had begun.
    let is_interrupted = is_interrupted && step.status == StepStatus::Running;
    let ((sign, style), status) = if is_interrupted {
        (symbols.run(RunStatus::Interrupted), RunStatus::Interrupted.as_str())
    } else {
        (symbols.step(step.status), step.shown_status())
    };
    let name = Line::of(style, &indent(step, sign)).with(PLAIN, &format!(" {}", step.path));
    vec![
        name,
        Line::of(style, status),
        Line::of(PLAIN, &between(step.started_at, step.finished_at)),
        Line::of(FAINT, &step.caption()),
    ]
}

fn below(step: &StepView, all: &[StepView], times: &Times, room: TableRoom) -> Vec<Line> {
    let mut lines = Vec::new();
    let said = |word: &str, text: &str| Line::of(PLAIN, &indent(step, &format!("    {word} {text}")));
    lines.extend(step.skipped_because.as_ref().map(|why| said("because", why)));
    lines.extend(step.waiting_for.as_ref().map(|what| said("waits for", what)));
    if let Some(arguments) = &step.arguments {
        lines.push(room.cut(said("with", &arguments_text(arguments))));
    }
    if let Some(output) = &step.output {
        lines.push(room.cut(said("output", &output_text(output))));
    }
    // What the last attempt met is said there.
    let last = step.attempts.last().and_then(|made| made.fault.as_ref());
    if let Some(fault) = step.own_error(all).filter(|fault| last != Some(*fault)) {
        lines.extend(fault_lines(fault, "    ", BAD, step));
    }
    let attempts = step.attempts.iter().enumerate();
    lines.extend(attempts.flat_map(|(place, made)| {
        let is_last = place + 1 == step.attempts.len();
        let is_end = is_last && made.fault.is_some() && made.fault == step.error;
        attempt(step, made, if is_end { BAD } else { PLAIN }, times)
    }));
    lines
}

/// The output of a step, or its size.
fn output_text(output: &Value) -> String {
    let blob = output.get("blob").filter(|blob| blob.get("digest").is_some());
    match blob.and_then(|blob| blob.get("bytes")?.as_u64()) {
        Some(bytes) => format!("of {bytes} bytes, which `longshore runs output` prints"),
        None => beginning(&output.to_string()),
    }
}

/// Characters of a value that a page shows. `runs output` and `--json` have the whole.
const SHOWN_CHARS: usize = 400;

fn beginning(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((cut, _)) => format!("{}… ({} bytes)", text.get(..cut).unwrap_or_default(), text.len()),
        None => text.to_owned(),
    }
}

/// Arguments of a call, or what is kept of them.
fn arguments_text(arguments: &Value) -> String {
    let large =
        arguments.get("beginning").filter(|_| arguments.as_object().is_some_and(|all| all.len() == 1));
    let text = large.and_then(|large| large.get("text")?.as_str());
    let bytes = large.and_then(|large| large.get("bytes")?.as_u64());
    match (text, bytes) {
        (Some(text), Some(bytes)) => {
            let shown: String = text.chars().take(SHOWN_CHARS).collect();
            format!("{shown}… ({bytes} bytes)")
        }
        _ => beginning(&arguments.to_string()),
    }
}

fn attempt(step: &StepView, made: &AttemptRecord, style: Style, times: &Times) -> Vec<Line> {
    let AttemptRecord { number, started_at, took, .. } = made;
    let started_at = times.shown(*started_at);
    let by = made.worker.as_ref().map(|worker| format!("  {worker}")).unwrap_or_default();
    let process = made.process.as_ref().map(|process| format!(" ({process})")).unwrap_or_default();
    // One that is made again has the same number.
    let unreported = if made.is_unreported() { " (unreported)" } else { "" };
    let text = format!("    attempt {number}{unreported}  {started_at}  {}{by}{process}", Elapsed(*took));
    let mut lines = vec![Line::of(FAINT, &indent(step, &text))];
    if let Some(fault) = &made.fault {
        lines.extend(fault_lines(fault, "      ", style, step));
    }
    if !made.masked.is_empty() {
        let text = format!("      masked: {} (no secret? name it in `visible_env`)", made.masked.join(", "));
        lines.push(Line::of(DOUBTFUL, &indent(step, &text)));
    }
    lines
}

/// A fault on lines of its own. Those after the first are indented further.
fn fault_lines(fault: &Fault, margin: &str, style: Style, step: &StepView) -> Vec<Line> {
    let text = hanging(&fault.to_string());
    text.lines().map(|text| Line::of(style, &indent(step, &format!("{margin}{text}")))).collect()
}

fn indent(step: &StepView, text: &str) -> String {
    format!("{}{text}", " ".repeat(2 * usize::from(step.depth)))
}

fn error(summary: &RunSummary) -> Line {
    match (&summary.failed_step, &summary.error) {
        (Some(step), Some(fault)) => Line::of(BAD, &format!("{step}: {fault}")),
        (None, Some(fault)) => Line::of(BAD, &fault.to_string()),
        (_, None) => Line::default(),
    }
}

fn between(from: Option<Timestamp>, until: Option<Timestamp>) -> String {
    match (from, until) {
        (Some(from), Some(until)) => Elapsed(until.since(from)).to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use longshore_proto::FaultClass;
    use serde_json::json;

    use super::*;

    /// Nothing is cut.
    const WHOLE: TableRoom = TableRoom { columns: None, ellipsis: "…" };

    fn view() -> RunView {
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

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(Line::text).collect()
    }

    #[test]
    fn a_run_is_shown_with_every_attempt() {
        assert_eq!(
            texts(&show(&view(), Symbols::Ascii, &Times::default(), WHOLE)),
            [
                "run        run_00_01kbgq5v8m3n4p5q6r7s8t9v0w",
                "workflow   sales-report  abababababab",
                "status     x failed",
                "submitted  2026-11-20T15:11:11.000Z",
                "took       2.0s",
                "failed at  check_west",
                "inputs     {\"region\":\"west\"}",
                "",
                "x check         failed   2.0s  parallel",
                "  x check_west  failed   2.0s  tables/validate",
                "      with {\"file\":\"west.csv\"}",
                "      attempt 1  2026-11-20T15:11:11.500Z  1.0s  worker-1-7 (process 4711, connection 2)",
                "        tool_error: row 7 has no number",
                "- report        skipped        tables/write",
                "    because `check` failed",
            ]
        );
    }

    #[test]
    fn attempt_that_no_worker_reported_is_marked_beside_the_one_with_its_number() {
        let mut view = view();
        view.steps.drain(..1);
        view.steps.truncate(1);
        let attempts = &mut view.steps[0].attempts;
        attempts.insert(0, attempts[0].clone());
        (attempts[0].process, attempts[0].sent) = (None, longshore_proto::Sent::Maybe);
        let shown = texts(&show(&view, Symbols::Ascii, &Times::default(), WHOLE));
        let heads = shown.iter().filter_map(|line| line.trim().split("  ").next());
        let heads = heads.filter(|head| head.starts_with("attempt"));
        assert_eq!(heads.collect::<Vec<_>>(), ["attempt 1 (unreported)", "attempt 1"]);
    }

    #[test]
    fn steps_that_no_process_carries_out_are_not_shown_as_running() {
        let mut view = view();
        view.summary.status = RunStatus::Interrupted;
        view.steps.truncate(1);
        view.steps.iter_mut().for_each(|step| step.status = StepStatus::Running);
        let shown = texts(&show(&view, Symbols::Ascii, &Times::default(), WHOLE));
        assert_eq!(shown.last().map(String::as_str), Some("? check  interrupted  2.0s  parallel"));
    }

    #[test]
    fn a_cancelled_run_says_why() {
        let mut view = view();
        view.summary.cancel_reason = Some("wrong file".to_owned());
        assert_eq!(texts(&show(&view, Symbols::Ascii, &Times::default(), WHOLE))[5], "reason     wrong file");
    }

    #[test]
    fn a_fault_of_several_lines_keeps_the_layout() {
        let mut view = view();
        let fault = Fault::new(FaultClass::ToolError, "no\n\nx failed  \u{1b}[31m1\n    at main");
        view.steps.truncate(2);
        view.steps.remove(0);
        if let [step] = view.steps.as_mut_slice() {
            step.error = Some(fault.clone());
            step.attempts.iter_mut().for_each(|made| made.fault = Some(fault.clone()));
        }
        assert_eq!(
            texts(&show(&view, Symbols::Ascii, &Times::default(), WHOLE))[8..],
            [
                "  x check_west  failed  2.0s  tables/validate",
                "      with {\"file\":\"west.csv\"}",
                "      attempt 1  2026-11-20T15:11:11.500Z  1.0s  worker-1-7 (process 4711, connection 2)",
                "        tool_error: no",
                "          x failed  \\u001b[31m1",
                "            at main",
            ]
        );
    }

    #[test]
    fn a_list_has_a_row_for_each_run() {
        assert_eq!(
            texts(&list(&[view().summary], Symbols::Unicode, &Times::default(), WHOLE)),
            [
                "RUN                                STATUS    WORKFLOW      SUBMITTED                 TOOK  ERROR",
                "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w  ✗ failed  sales-report  2026-11-20T15:11:11.000Z  2.0s  check_west: \
                 tool_error: row 7 has no number",
            ]
        );
    }

    #[test]
    fn a_narrow_terminal_keeps_every_column() {
        let lines = |columns| {
            let room = TableRoom { columns: Some(columns), ellipsis: "…" };
            texts(&list(&[view().summary], Symbols::Unicode, &Times::default(), room))
        };
        assert_eq!(
            lines(80),
            [
                "RUN             STATUS    WORKFLOW      SUBMITTED            TOOK  ERROR",
                "…p5q6r7s8t9v0w  ✗ failed  sales-report  2026-11-20T15:11:11  2.0s  check_west: …",
            ]
        );
        assert_eq!(
            lines(60),
            [
                "RUN        STATUS    WORKFLOW   SUBMITTED    TOOK  ERROR",
                "…7s8t9v0w  ✗ failed  sale…port  11-20 15:11  2.0s  check_we…",
            ]
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_nothing_of_a_reason() {
        let room = TableRoom { columns: Some(40), ellipsis: "…" };
        let mut view = view();
        let message = "row 7 has no number, which this table needs in each of its rows";
        for step in &mut view.steps {
            let fault = Fault::new(FaultClass::ToolError, message);
            step.error = step.error.as_ref().map(|_| fault.clone());
            step.attempts.iter_mut().for_each(|made| made.fault = Some(fault.clone()));
        }
        view.steps[2].skipped_because = Some(message.to_owned());
        view.inputs = json!({ "text": "x".repeat(100) });
        let shown = texts(&show(&view, Symbols::Unicode, &Times::default(), room));
        assert!(shown.contains(&format!("        tool_error: {message}")), "{shown:#?}");
        assert!(shown.contains(&format!("    because {message}")), "{shown:#?}");
        let inputs = shown.iter().find(|line| line.starts_with("inputs")).expect("inputs");
        assert_eq!(inputs.chars().count(), 40);
    }
}
