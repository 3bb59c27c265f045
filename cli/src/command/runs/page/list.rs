//! The table of `runs list`.

use longshore_proto::RunSummary;

use super::cells::{between, error};
use crate::output::{
    DOUBTFUL, FAINT, PLAIN, ShrinkingColumn, StyledLine, Symbols, TableRoom, TimeFormatter, TimePrecision,
    Truncation, aligned_within, fits,
};

/// Returns a row for each run. The times become shorter where the terminal has no room for them.
pub(in super::super) fn list(
    runs: &[RunSummary],
    symbols: Symbols,
    times: &TimeFormatter,
    room: TableRoom,
) -> Vec<StyledLine> {
    let column = ShrinkingColumn::new;
    let shrinking = [
        column(0, 8, Truncation::Beginning),
        column(2, 7, Truncation::Middle),
        column(5, 8, Truncation::End),
    ];
    let mut rows = list_rows(runs, symbols, times, TimePrecision::Full);
    if !fits(&rows, room, &[]) {
        rows = list_rows(runs, symbols, times, TimePrecision::Seconds);
    }
    if !fits(&rows, room, &shrinking) {
        rows = list_rows(runs, symbols, times, TimePrecision::Minutes);
    }
    aligned_within(rows, room, &shrinking)
}

fn list_rows(
    runs: &[RunSummary],
    symbols: Symbols,
    times: &TimeFormatter,
    form: TimePrecision,
) -> Vec<Vec<StyledLine>> {
    let heading = ["RUN", "STATUS", "WORKFLOW", "SUBMITTED", "TOOK", "ERROR"];
    let mut rows = vec![heading.map(|title| StyledLine::of(FAINT, title)).to_vec()];
    rows.extend(runs.iter().map(|summary| {
        let (sign, style) = symbols.run(summary.status);
        vec![
            StyledLine::of(PLAIN, &summary.run.to_string()),
            StyledLine::of(style, &format!("{sign} {}", summary.status)),
            StyledLine::of(PLAIN, summary.workflow.name.as_str()),
            StyledLine::of(FAINT, &times.with_precision(summary.submitted_at, form)),
            StyledLine::of(PLAIN, &between(Some(summary.submitted_at), summary.finished_at)),
            indeterminate(summary).followed_by(error(summary)),
        ]
    }));
    rows
}

/// Returns the number of indeterminate steps of a run, before its error. No text if it has none.
fn indeterminate(summary: &RunSummary) -> StyledLine {
    let separator = if summary.error.is_some() { "; " } else { "" };
    match summary.indeterminate {
        0 => StyledLine::default(),
        1 => StyledLine::of(DOUBTFUL, &format!("1 step indeterminate{separator}")),
        count => StyledLine::of(DOUBTFUL, &format!("{count} steps indeterminate{separator}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{WHOLE, texts, view};
    use super::*;

    #[test]
    fn a_list_has_a_row_for_each_run() {
        assert_eq!(
            texts(&list(&[view().summary], Symbols::Unicode, &TimeFormatter::default(), WHOLE)),
            [
                "RUN                                STATUS    WORKFLOW      SUBMITTED                 TOOK  ERROR",
                "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w  ✗ failed  sales-report  2026-11-20T15:11:11.000Z  2.0s  check_west: \
                 tool_error: row 7 has no number",
            ]
        );
    }

    #[test]
    fn a_run_with_indeterminate_steps_is_marked_before_its_error() {
        let error_of = |indeterminate, has_error| {
            let mut summary = view().summary;
            summary.indeterminate = indeterminate;
            summary.error = summary.error.filter(|_| has_error);
            let lines = texts(&list(&[summary], Symbols::Unicode, &TimeFormatter::default(), WHOLE));
            lines[1].split("2.0s").nth(1).map(|error| error.trim().to_owned()).expect("an error")
        };
        assert_eq!(error_of(1, true), "1 step indeterminate; check_west: tool_error: row 7 has no number");
        assert_eq!(error_of(2, false), "2 steps indeterminate");
        assert_eq!(error_of(0, false), "");
    }

    #[test]
    fn a_narrow_terminal_keeps_every_column() {
        let lines = |columns| {
            let room = TableRoom { columns: Some(columns), ellipsis: "…" };
            texts(&list(&[view().summary], Symbols::Unicode, &TimeFormatter::default(), room))
        };
        assert_eq!(
            lines(80),
            [
                "RUN           STATUS    WORKFLOW      SUBMITTED            TOOK  ERROR",
                "…q6r7s8t9v0w  ✗ failed  sales-report  2026-11-20T15:11:11  2.0s  check_west: to…",
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
}
