//! The steps of a run in `runs show`, with their faults and attempts.

use anstyle::Style;
use longshore_proto::{AttemptRecord, Fault, RunStatus, RunView, StepStatus, StepView, truncate_with_size};
use serde_json::Value;

use super::cells::between;
use crate::output::{
    BAD, DOUBTFUL, Elapsed, FAINT, PLAIN, ShrinkingColumn, StyledLine, Symbols, TableRoom, TimeFormatter,
    Truncation, aligned_within, hanging,
};

/// Returns a row for each step, and below it its faults and attempts, if they say more than the row.
pub(super) fn steps(
    run: &RunView,
    symbols: Symbols,
    times: &TimeFormatter,
    room: TableRoom,
) -> Vec<StyledLine> {
    let (steps, is_interrupted) = (&run.steps, run.summary.status == RunStatus::Interrupted);
    let column = ShrinkingColumn::new;
    let shrinking = [column(0, 16, Truncation::Middle), column(3, 16, Truncation::End)];
    let rows = aligned_within(
        steps.iter().map(|step| step_row(step, is_interrupted, symbols)).collect(),
        room,
        &shrinking,
    );
    steps
        .iter()
        .zip(rows)
        .flat_map(|(step, row)| std::iter::once(room.cut(row)).chain(detail_lines(step, steps, times, room)))
        .collect()
}

fn step_row(step: &StepView, is_interrupted: bool, symbols: Symbols) -> Vec<StyledLine> {
    // A job that a killed process had in its queue looks like one whose call had begun.
    let is_interrupted = is_interrupted && step.status == StepStatus::Running && !step.queued;
    let ((sign, style), status) = if is_interrupted {
        (symbols.run(RunStatus::Interrupted), RunStatus::Interrupted.as_str())
    } else {
        (symbols.step(step.status), step.shown_status())
    };
    let name = StyledLine::of(style, &indent(step, sign)).with(PLAIN, &format!(" {}", step.path));
    vec![
        name,
        StyledLine::of(style, status),
        StyledLine::of(PLAIN, &between(step.started_at, step.finished_at)),
        StyledLine::of(FAINT, &step.caption()),
    ]
}

fn detail_lines(
    step: &StepView,
    all: &[StepView],
    times: &TimeFormatter,
    room: TableRoom,
) -> Vec<StyledLine> {
    let mut lines = Vec::new();
    let detail = |word: &str, text: &str| StyledLine::of(PLAIN, &indent(step, &format!("    {word} {text}")));
    lines.extend(step.skipped_because.as_ref().map(|why| detail("because", why)));
    lines.extend(step.waiting_for.as_ref().map(|what| detail("waits for", what)));
    lines.extend(step.worker.as_ref().map(|worker| detail("called by", worker.as_str())));
    if let Some(arguments) = &step.arguments {
        lines.push(room.cut(detail("with", &arguments_text(arguments))));
    }
    if let Some(output) = &step.output {
        lines.push(room.cut(detail("output", &output_text(output))));
    }
    // The fault of the last attempt is shown with the attempt.
    let last = step.attempts.last().and_then(|attempt| attempt.fault.as_ref());
    if let Some(fault) = step.own_error(all).filter(|fault| last != Some(*fault)) {
        lines.extend(fault_lines(fault, "    ", BAD, step));
    }
    let attempts = step.attempts.iter().enumerate();
    lines.extend(attempts.flat_map(|(index, attempt)| {
        let is_last = index + 1 == step.attempts.len();
        let is_end = is_last && attempt.fault.is_some() && attempt.fault == step.error;
        attempt_lines(step, attempt, if is_end { BAD } else { PLAIN }, times)
    }));
    lines
}

/// Returns the text of the output of a step, or its size if it is large.
fn output_text(output: &Value) -> String {
    let blob = output.get("blob").filter(|blob| blob.get("digest").is_some());
    match blob.and_then(|blob| blob.get("bytes")?.as_u64()) {
        Some(bytes) => format!("of {bytes} bytes, which `longshore runs output` prints"),
        None => truncate_with_size(&output.to_string(), SHOWN_CHARS).into_owned(),
    }
}

/// Number of characters of a value that are shown. `runs output` and `--json` print the whole value.
const SHOWN_CHARS: usize = 400;

/// Returns the text of the arguments of a call, or the beginning of it that is stored.
fn arguments_text(arguments: &Value) -> String {
    let large =
        arguments.get("beginning").filter(|_| arguments.as_object().is_some_and(|all| all.len() == 1));
    let text = large.and_then(|large| large.get("text")?.as_str());
    let bytes = large.and_then(|large| large.get("bytes")?.as_u64());
    match (text, bytes) {
        (Some(text), Some(bytes)) => {
            let shown: String = text.chars().take(SHOWN_CHARS).collect();
            format!("{shown}… ({bytes} bytes in all)")
        }
        _ => truncate_with_size(&arguments.to_string(), SHOWN_CHARS).into_owned(),
    }
}

fn attempt_lines(
    step: &StepView,
    attempt: &AttemptRecord,
    style: Style,
    times: &TimeFormatter,
) -> Vec<StyledLine> {
    let AttemptRecord { number, started_at, took, .. } = attempt;
    let started_at = times.shown(*started_at);
    let by = attempt.worker.as_ref().map(|worker| format!("  {worker}")).unwrap_or_default();
    let process = attempt.process.as_ref().map(|process| format!(" ({process})")).unwrap_or_default();
    // A call that is made again has the same attempt number. Its end is not known if it was not reported.
    let (unreported, took) = if attempt.is_unreported() {
        (" (unreported)", String::new())
    } else {
        ("", format!("  {}", Elapsed(*took)))
    };
    let text = format!("    attempt {number}{unreported}  {started_at}{took}{by}{process}");
    let mut lines = vec![StyledLine::of(FAINT, &indent(step, &text))];
    if let Some(fault) = &attempt.fault {
        lines.extend(fault_lines(fault, "      ", style, step));
    }
    if !attempt.masked.is_empty() {
        let text =
            format!("      masked: {} (not a secret? name it in `visible_env`)", attempt.masked.join(", "));
        lines.push(StyledLine::of(DOUBTFUL, &indent(step, &text)));
    }
    if let Some(number) = &attempt.rounded {
        let text = format!("      rounded: the tool answered with {number}, which 64 bits cannot hold");
        lines.push(StyledLine::of(DOUBTFUL, &indent(step, &text)));
    }
    lines
}

/// Returns the lines of a fault. Lines after the first are indented further.
fn fault_lines(fault: &Fault, margin: &str, style: Style, step: &StepView) -> Vec<StyledLine> {
    let text = hanging(&fault.to_string());
    text.lines().map(|text| StyledLine::of(style, &indent(step, &format!("{margin}{text}")))).collect()
}

fn indent(step: &StepView, text: &str) -> String {
    format!("{}{text}", " ".repeat(2 * usize::from(step.depth)))
}

#[cfg(test)]
mod tests {
    use longshore_proto::FaultClass;
    use serde_json::json;

    use super::super::sample::{WHOLE, texts, view};
    use super::super::show;
    use super::*;

    #[test]
    fn unreported_attempt_is_marked_beside_the_one_with_its_number() {
        let mut view = view();
        view.steps.drain(..1);
        view.steps.truncate(1);
        let attempts = &mut view.steps[0].attempts;
        attempts.insert(0, attempts[0].clone());
        (attempts[0].process, attempts[0].sent) = (None, longshore_proto::Sent::Maybe);
        let shown = texts(&show(&view, Symbols::Ascii, &TimeFormatter::default(), WHOLE));
        let heads = shown.iter().filter_map(|line| line.trim().split("  ").next());
        let heads = heads.filter(|head| head.starts_with("attempt"));
        assert_eq!(heads.collect::<Vec<_>>(), ["attempt 1 (unreported)", "attempt 1"]);
    }

    #[test]
    fn worker_of_a_granted_call_under_way_is_shown() {
        let mut view = view();
        view.steps[1].worker = Some("worker-1-7".parse().expect("a node"));
        let shown = texts(&show(&view, Symbols::Ascii, &TimeFormatter::default(), WHOLE));
        assert!(shown.contains(&"      called by worker-1-7".to_owned()), "{shown:#?}");
    }

    #[test]
    fn rounded_number_of_an_answer_is_shown_with_its_attempt() {
        let mut view = view();
        view.steps.iter_mut().flat_map(|step| &mut step.attempts).for_each(|attempt| {
            attempt.rounded = Some("12345678901234567890123".to_owned());
        });
        let shown = texts(&show(&view, Symbols::Ascii, &TimeFormatter::default(), WHOLE));
        let line = "rounded: the tool answered with 12345678901234567890123, which 64 bits cannot hold";
        assert!(shown.iter().any(|shown| shown.trim() == line), "{shown:?}");
    }

    #[test]
    fn running_steps_of_an_interrupted_run_are_shown_as_interrupted() {
        let mut view = view();
        view.summary.status = RunStatus::Interrupted;
        view.steps.truncate(1);
        view.steps.iter_mut().for_each(|step| step.status = StepStatus::Running);
        let shown = texts(&show(&view, Symbols::Ascii, &TimeFormatter::default(), WHOLE));
        assert_eq!(shown.last().map(String::as_str), Some("? check  interrupted  2.0s  parallel"));
    }

    #[test]
    fn a_fault_of_several_lines_keeps_the_layout() {
        let mut view = view();
        let fault = Fault::new(FaultClass::ToolError, "no\n\nx failed  \u{1b}[31m1\n    at main");
        view.steps.truncate(2);
        view.steps.remove(0);
        if let [step] = view.steps.as_mut_slice() {
            step.error = Some(fault.clone());
            step.attempts.iter_mut().for_each(|attempt| attempt.fault = Some(fault.clone()));
        }
        assert_eq!(
            texts(&show(&view, Symbols::Ascii, &TimeFormatter::default(), WHOLE))[8..],
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
    fn reasons_are_not_cut_in_a_narrow_terminal() {
        let room = TableRoom { columns: Some(40), ellipsis: "…" };
        let mut view = view();
        let message = "row 7 has no number, which this table needs in each of its rows";
        for step in &mut view.steps {
            let fault = Fault::new(FaultClass::ToolError, message);
            step.error = step.error.as_ref().map(|_| fault.clone());
            step.attempts.iter_mut().for_each(|attempt| attempt.fault = Some(fault.clone()));
        }
        view.steps[2].skipped_because = Some(message.to_owned());
        view.inputs = json!({ "text": "x".repeat(100) });
        let shown = texts(&show(&view, Symbols::Unicode, &TimeFormatter::default(), room));
        assert!(shown.contains(&format!("        tool_error: {message}")), "{shown:#?}");
        assert!(shown.contains(&format!("    because {message}")), "{shown:#?}");
        let inputs = shown.iter().find(|line| line.starts_with("inputs")).expect("inputs");
        assert_eq!(inputs.chars().count(), 40);
    }
}
