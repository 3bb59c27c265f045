//! The page of `runs show`: the facts about a run, then its steps.

use longshore_proto::RunView;
use serde_json::Value;

use super::cells::{between, error};
use super::steps::steps;
use crate::output::{BAD, PLAIN, STRONG, StyledLine, Symbols, TableRoom, TimeFormatter, aligned};

/// Returns a run in full. Rows and values are cut to the room; reasons and attempts are whole, and a terminal wraps them.
pub(in super::super) fn show(
    view: &RunView,
    symbols: Symbols,
    times: &TimeFormatter,
    room: TableRoom,
) -> Vec<StyledLine> {
    let summary = &view.summary;
    let (sign, style) = symbols.run(summary.status);
    let workflow = format!("{}  {}", summary.workflow.name, summary.workflow.digest.short());
    let mut facts = vec![
        fact("run", StyledLine::of(PLAIN, &summary.run.to_string())),
        fact("workflow", StyledLine::of(PLAIN, &workflow)),
        fact("status", StyledLine::of(style, &format!("{sign} {}", summary.status))),
        fact("submitted", StyledLine::of(PLAIN, &times.shown(summary.submitted_at))),
    ];
    if summary.finished_at.is_some() {
        facts.push(fact(
            "took",
            StyledLine::of(PLAIN, &between(Some(summary.submitted_at), summary.finished_at)),
        ));
    }
    if let Some(reason) = &summary.cancel_reason {
        facts.push(fact("reason", StyledLine::of(PLAIN, reason)));
    }
    match &summary.failed_step {
        // The fault is shown at the step below.
        Some(step) if view.steps.iter().any(|one| one.path == *step) => {
            facts.push(fact("failed at", StyledLine::of(BAD, step.as_str())));
        }
        _ if summary.error.is_some() => facts.push(fact("error", error(summary))),
        _ => {}
    }
    facts.push(fact("inputs", json(&view.inputs, room)));
    facts.extend(view.outputs.as_ref().map(|outputs| fact("outputs", json(outputs, room))));
    let mut lines = aligned(facts);
    lines.push(StyledLine::default());
    lines.extend(steps(view, symbols, times, room));
    lines
}

fn fact(name: &str, value: StyledLine) -> Vec<StyledLine> {
    vec![StyledLine::of(STRONG, name), value]
}

/// Columns of the names of facts, with the gap behind them.
const FACT_NAME_COLUMNS: usize = 11;

fn json(value: &Value, room: TableRoom) -> StyledLine {
    room.beside(FACT_NAME_COLUMNS).cut(StyledLine::of(PLAIN, &value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{WHOLE, texts, view};
    use super::*;

    #[test]
    fn a_run_is_shown_with_every_attempt() {
        assert_eq!(
            texts(&show(&view(), Symbols::Ascii, &TimeFormatter::default(), WHOLE)),
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
    fn cancelled_run_is_shown_with_its_reason() {
        let mut view = view();
        view.summary.cancel_reason = Some("wrong file".to_owned());
        assert_eq!(
            texts(&show(&view, Symbols::Ascii, &TimeFormatter::default(), WHOLE))[5],
            "reason     wrong file"
        );
    }
}
