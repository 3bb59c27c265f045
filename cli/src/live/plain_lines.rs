//! Plain lines about runs: one for each change of a step, with its time. The start of a step is no such change:
//! [`running`](super::running) decides when it has a line.
//!
//! They are for output that is stored or read by programs. If a view skips states, its line has the newest one.

use longshore_proto::{RunId, RunStatus, RunView, StepStatus, StepView, Timestamp};

use super::tree::tolerated;
use crate::output::{Elapsed, PLAIN, StyledLine, TimeFormatter};

/// Returns the lines about the changes between two views of a run, sorted by time, and the time of the last one. A change
/// without its own time has the time `seen`. No line is earlier than `last`, the time of the line before: a change may be
/// seen after a line about a later time was printed.
pub(super) fn changes(
    before: Option<&RunView>,
    now: &RunView,
    with_run_ids: bool,
    (seen, last): (Timestamp, Timestamp),
    times: &TimeFormatter,
) -> (Vec<StyledLine>, Timestamp) {
    let old = before.map_or(&[][..], |view| &view.steps);
    let order = order(&now.steps);
    let changed = now.steps.iter().zip(order).enumerate().filter_map(|(index, (step, position))| {
        let own = moment(step, now.summary.submitted_at);
        match old.get(index) {
            Some(before) if state(before) != state(step) && !only_starts(before, step) => {
                Some((own, position, step))
            }
            Some(before) if waits_for_another_reason(Some(before), step) => Some((seen, position, step)),
            None if step.status.is_terminal() || !step.attempts.is_empty() => Some((own, position, step)),
            None if waits_for_another_reason(None, step) => Some((own, position, step)),
            _ => None,
        }
    });
    let mut changed: Vec<(Timestamp, usize, &StepView)> = changed.collect();
    changed.sort_by_key(|(at, position, _)| (*at, *position));
    let mut lines: Vec<_> = changed.into_iter().map(|(at, _, step)| (at, words(step, &now.steps))).collect();
    lines.extend(run_line(before, now, seen));
    let run_id = with_run_ids.then_some(now.summary.run);
    let mut newest = last;
    let lines = lines.into_iter().map(|(at, words)| {
        newest = newest.max(at);
        line(newest, run_id, &words, times)
    });
    (lines.collect(), newest)
}

/// Returns a line for each call that was under way when a run was interrupted, and is made again.
pub(super) fn repeated_calls(
    run: &RunView,
    with_run_ids: bool,
    now: Timestamp,
    times: &TimeFormatter,
) -> Vec<StyledLine> {
    let run_id = with_run_ids.then_some(run.summary.run);
    let is_under_way = |step: &&StepView| step.status == StepStatus::Running && step.does.contains('/');
    let calls = run.steps.iter().filter(is_under_way);
    calls.map(|step| line(now, run_id, &words(step, &run.steps), times)).collect()
}

/// Returns the line about a step that is under way, with its duration.
pub(super) fn under_way(
    step: &StepView,
    run_id: Option<RunId>,
    now: Timestamp,
    times: &TimeFormatter,
) -> StyledLine {
    let took = step.started_at.map(|began| format!("  {}", Elapsed(now.since(began)))).unwrap_or_default();
    let words = format!("{}  {}  {}{took}", step.path, step.shown_status(), step.caption());
    line(now, run_id, &words, times)
}

/// Returns the line about the activity of the call of a step.
pub(super) fn activity(
    step: &StepView,
    words: &str,
    run_id: Option<RunId>,
    at: Timestamp,
    times: &TimeFormatter,
) -> StyledLine {
    let words = format!("{}  {}  {}  {words}", step.path, step.shown_status(), step.caption());
    line(at, run_id, &words, times)
}

fn line(at: Timestamp, run_id: Option<RunId>, words: &str, times: &TimeFormatter) -> StyledLine {
    let run_id = run_id.map(|run| format!("  {run}")).unwrap_or_default();
    StyledLine::of(PLAIN, &format!("{}{run_id}  {words}", times.shown(at)))
}

/// Returns the order of changes within a millisecond: that of the steps in the file, where a group begins before its members
/// and ends after them.
fn order(steps: &[StepView]) -> Vec<usize> {
    let mut order = vec![0; steps.len()];
    let mut open: Vec<(usize, u16)> = Vec::new();
    let mut next = 0;
    let mut count_step = |order: &mut Vec<usize>, index: usize, is_counted: bool| {
        next += 1;
        if let Some(position) = order.get_mut(index).filter(|_| is_counted) {
            *position = next;
        }
    };
    let has_ended = |index: usize| steps.get(index).is_some_and(|step| step.status.is_terminal());
    for (index, step) in steps.iter().enumerate() {
        while let Some((above, _)) = open.pop_if(|(_, depth)| *depth >= step.depth) {
            count_step(&mut order, above, has_ended(above));
        }
        count_step(&mut order, index, !has_ended(index));
        open.push((index, step.depth));
    }
    while let Some((above, _)) = open.pop() {
        count_step(&mut order, above, has_ended(above));
    }
    order
}

/// Returns the state of a step whose changes are printed.
fn state(step: &StepView) -> (StepStatus, usize) {
    // Attempts that a worker repeats at once are also printed one by one.
    (step.status, step.attempts.len())
}

/// Returns true if the only change is that a step, or its next attempt, was dispatched.
fn only_starts(before: &StepView, now: &StepView) -> bool {
    now.status == StepStatus::Running && now.attempts.len() == before.attempts.len()
}

/// Returns true if a step waits for something else than before. The text behind a colon, such as the number of queued jobs,
/// changes all the time and is ignored.
fn waits_for_another_reason(before: Option<&StepView>, now: &StepView) -> bool {
    let what = |step: &StepView| {
        step.waiting_for.as_deref().and_then(|what| what.split(':').next().map(str::to_owned))
    };
    now.waiting_for.is_some() && before.and_then(what) != what(now)
}

/// Returns the time at which a step reached its state.
fn moment(step: &StepView, submitted_at: Timestamp) -> Timestamp {
    let last = step.attempts.last().map(|attempt| attempt.started_at.plus(attempt.took));
    step.finished_at.or(last).or(step.started_at).unwrap_or(submitted_at)
}

fn words(step: &StepView, all: &[StepView]) -> String {
    let mut words = format!("{}  {}  {}", step.path, step.shown_status(), step.caption());
    if let (Some(began), Some(ended)) = (step.started_at, step.finished_at) {
        words.push_str(&format!("  {}", Elapsed(ended.since(began))));
    }
    if step.attempts_made() > 1 {
        words.push_str(&format!("  {} attempts", step.attempts_made()));
    }
    if let Some(why) = &step.skipped_because {
        words.push_str(&format!("  because {why}"));
    }
    if let Some(what) = &step.waiting_for {
        words.push_str(&format!("  waits for {what}"));
    }
    // The fault is last, since it may end with several lines of a server.
    let last = step.attempts.last().and_then(|attempt| attempt.fault.as_ref());
    let passing = || last.filter(|_| step.error.is_none() && !step.status.is_terminal());
    if let Some(fault) = step.own_error(all).or_else(passing) {
        words.push_str(&format!("  {fault}"));
    }
    words
}

/// Returns the line about the end or the cancellation of a run.
fn run_line(before: Option<&RunView>, now: &RunView, seen: Timestamp) -> Option<(Timestamp, String)> {
    let summary = &now.summary;
    if before.is_some_and(|before| before.summary.status == summary.status) {
        return None;
    }
    let mut words = format!("run  {}  {}", summary.status, summary.workflow.name);
    let at = match (summary.status, summary.finished_at) {
        (RunStatus::Cancelling, _) => seen,
        (status, Some(at)) if status.is_terminal() => {
            words.push_str(&format!("  {}", Elapsed(at.since(summary.submitted_at))));
            if let Some(text) = tolerated(now) {
                words.push_str(&format!("  {text}"));
            }
            at
        }
        _ => return None,
    };
    if let Some(reason) = &summary.cancel_reason {
        words.push_str(&format!("  {reason}"));
    }
    Some((at, words))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::sample::{BEGAN, attempt, run, step, unreported};
    use super::*;

    fn check(before: Option<&RunView>, now: &RunView, with_run_ids: bool, expected: &[&str]) {
        let seen = Timestamp::from_millis(BEGAN + 4_000);
        let times = (seen, Timestamp::default());
        let (lines, _) = changes(before, now, with_run_ids, times, &TimeFormatter::default());
        assert_eq!(lines.iter().map(StyledLine::text).collect::<Vec<_>>(), expected);
    }

    fn all_changes(now: &RunView) -> Vec<StyledLine> {
        let times = (Timestamp::from_millis(BEGAN), Timestamp::default());
        changes(None, now, false, times, &TimeFormatter::default()).0
    }

    #[test]
    fn no_line_is_earlier_than_the_one_before() {
        let ended = run("running", vec![step("a", "succeeded", json!({}))]);
        let own = all_changes(&ended)[0].text();
        assert!(own.starts_with("2026-11-20T15:11:12.250Z"), "{own}");
        let last = Timestamp::from_millis(BEGAN + 9_000);
        let (lines, newest) = changes(None, &ended, false, (last, last), &TimeFormatter::default());
        assert_eq!(lines[0].text(), own.replace("15:11:12.250", "15:11:20.000"));
        assert_eq!(newest, last);
    }

    #[test]
    fn changes_are_printed_in_the_order_of_their_times() {
        let first = run("running", vec![step("a", "running", json!({})), step("b", "pending", json!({}))]);
        check(None, &first, false, &[]);
        let begun = Timestamp::from_millis(BEGAN + 2_500);
        assert_eq!(
            under_way(&first.steps[0], None, begun, &TimeFormatter::default()).text(),
            "2026-11-20T15:11:13.500Z  a  running  tables/read  1.5s"
        );
        check(Some(&first), &first, false, &[]);
        let fault = json!({ "class": "timeout", "message": "no answer in 5 s" });
        let attempts = json!([attempt(1, "timeout", "x"), attempt(2, "timeout", "y")]);
        let second = run(
            "failed",
            vec![
                step("a", "failed", json!({ "error": fault, "attempts": attempts })),
                step(
                    "b",
                    "skipped",
                    json!({ "skipped_because": "`a` failed", "started_at": null, "finished_at": 1_795_187_471_500_u64 }),
                ),
            ],
        );
        check(
            Some(&first),
            &second,
            false,
            &[
                "2026-11-20T15:11:11.500Z  b  skipped  tables/read  because `a` failed",
                "2026-11-20T15:11:12.250Z  a  failed  tables/read  250ms  2 attempts  timeout: no answer in 5 s",
                "2026-11-20T15:11:16.000Z  run  failed  sales-report  5.0s",
            ],
        );
        check(Some(&second), &second, false, &[]);
    }

    #[test]
    fn lines_of_one_millisecond_are_in_causal_order() {
        let now = run(
            "succeeded",
            vec![
                step("first", "succeeded", json!({})),
                step("group", "succeeded", json!({ "does": "parallel" })),
                step("member", "failed", json!({ "depth": 1, "does": "s/t" })),
                step("last", "succeeded", json!({ "does": "set" })),
            ],
        );
        let lines = all_changes(&now);
        let texts: Vec<_> = lines.iter().map(StyledLine::text).collect();
        let paths: Vec<_> = texts.iter().map(|text| text.split("  ").nth(1).unwrap()).collect();
        assert_eq!(paths, ["first", "member", "group", "last", "run"]);
        assert!(texts[4].ends_with("5.0s  1 failed, tolerated"), "{texts:?}");
    }

    #[test]
    fn reason_to_wait_is_printed_once() {
        let waits = |what: &str| run("running", vec![step("a", "running", json!({ "waiting_for": what }))]);
        let begun = run("running", vec![step("a", "running", json!({}))]);
        let unserved = waits("a worker that serves `tables`: none does");
        let queued = waits("a free worker that serves `tables`: 7 jobs are queued");
        let nearer = waits("a free worker that serves `tables`: 6 jobs are queued");
        let words = "a  running  tables/read  waits for a worker that serves `tables`: none does";
        check(None, &unserved, false, &[&format!("2026-11-20T15:11:12.000Z  {words}")]);
        check(Some(&begun), &unserved, false, &[&format!("2026-11-20T15:11:15.000Z  {words}")]);
        check(Some(&unserved), &unserved, false, &[]);
        let words =
            "a  running  tables/read  waits for a free worker that serves `tables`: 7 jobs are queued";
        check(Some(&unserved), &queued, false, &[&format!("2026-11-20T15:11:15.000Z  {words}")]);
        check(Some(&queued), &nearer, false, &[]);
        check(Some(&nearer), &begun, false, &[]);
    }

    #[test]
    fn cancel_is_printed_with_its_reason_at_its_start_and_end() {
        let cancelling = |status: &str| {
            let mut run = run(status, vec![]);
            run.summary.cancel_reason = Some("wrong\nfile".to_owned());
            run
        };
        let (first, second, last) =
            (run("running", vec![]), cancelling("cancelling"), cancelling("cancelled"));
        check(
            Some(&first),
            &second,
            false,
            &["2026-11-20T15:11:15.000Z  run  cancelling  sales-report  wrong file"],
        );
        check(
            Some(&second),
            &last,
            false,
            &["2026-11-20T15:11:16.000Z  run  cancelled  sales-report  5.0s  wrong file"],
        );
    }

    #[test]
    fn fault_of_several_lines_is_printed_in_one_line() {
        let fault = json!({ "class": "tool_error", "message": "no\n\tat x\u{1b}[2J\r\n  end" });
        let now = run("failing", vec![step("a", "failed", json!({ "error": fault }))]);
        let expected =
            "2026-11-20T15:11:12.250Z  a  failed  tables/read  250ms  tool_error: no at x\\u001b[2J end";
        check(None, &now, false, &[expected]);
    }

    #[test]
    fn repeated_calls_of_a_resumed_run_are_printed() {
        let run = run(
            "running",
            vec![
                step("a", "succeeded", json!({})),
                step("both", "running", json!({ "does": "parallel" })),
                step("b", "running", json!({ "depth": 1, "attempts": [unreported(1)] })),
                step("c", "pending", json!({ "depth": 1 })),
            ],
        );
        let now = Timestamp::from_millis(BEGAN + 9_000);
        let lines = repeated_calls(&run, false, now, &TimeFormatter::default());
        assert_eq!(
            lines.iter().map(StyledLine::text).collect::<Vec<_>>(),
            ["2026-11-20T15:11:20.000Z  b  running  tables/read  unavailable: its process ended"]
        );
    }

    #[test]
    fn attempts_are_counted_by_their_numbers() {
        let ended = |attempts: serde_json::Value| {
            let now = run("running", vec![step("a", "succeeded", json!({ "attempts": attempts }))]);
            all_changes(&now)[0].text()
        };
        let once = ended(json!([unreported(1), unreported(1), attempt(1, "timeout", "x")]));
        assert!(once.ends_with("tables/read  250ms"), "{once}");
        let twice = ended(json!([unreported(1), attempt(1, "timeout", "x"), attempt(2, "timeout", "y")]));
        assert!(twice.ends_with("  250ms  2 attempts"), "{twice}");
    }

    #[test]
    fn start_of_an_attempt_has_no_line() {
        let with = |status: &str, more: serde_json::Value| run("running", vec![step("a", status, more)]);
        let retrying = with("retrying", json!({ "attempts": [attempt(1, "timeout", "x")] }));
        let again = with("running", json!({ "attempts": [attempt(1, "timeout", "x")] }));
        check(Some(&retrying), &again, false, &[]);
        let (queued, running) = (with("running", json!({ "queued": true })), with("running", json!({})));
        check(Some(&with("pending", json!({}))), &queued, false, &[]);
        check(Some(&queued), &running, false, &[]);
        check(Some(&running), &queued, false, &[]);
    }

    #[test]
    fn attempt_that_will_be_repeated_is_printed_with_its_fault() {
        let first = run("running", vec![step("a", "running", json!({}))]);
        let second = run(
            "running",
            vec![step(
                "a",
                "retrying",
                json!({ "attempts": [attempt(1, "unavailable", "gone")], "waiting_for": "its next attempt at 9" }),
            )],
        );
        check(
            Some(&first),
            &second,
            true,
            &[
                "2026-11-20T15:11:12.200Z  run_00_01kbgq5v8m3n4p5q6r7s8t9v0w  a  retrying  tables/read  waits for its next attempt at 9  unavailable: gone",
            ],
        );
    }
}
