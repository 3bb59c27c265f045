//! Selects the steps that run long, for plain lines about them.
//!
//! A step that ends soon has only a line about its end. A step that is still under way after [`LINE_AFTER`] also has a line
//! about that, so that a reader sees what takes time. Without this delay, timing would decide which short steps have two
//! lines.

use std::collections::BTreeMap;
use std::time::Duration;

use longshore_proto::{RunId, RunView, StepPath, StepStatus, StepView, Timestamp};

/// Duration after which a running step has a line: longer than most calls take, and short enough for a waiting user.
/// Workers report a slow start of a server after one second, and that line is sufficient.
const LINE_AFTER: Duration = Duration::from_secs(2);

/// The steps of some runs that are under way. There is at most one entry for each step.
#[derive(Debug, Default)]
pub(super) struct RunningSteps(BTreeMap<RunId, BTreeMap<StepPath, RunningStep>>);

#[derive(Debug)]
struct RunningStep {
    is_queued: bool,
    /// Time since which the step is queued, or no longer queued.
    since: Timestamp,
    has_line: bool,
}

impl RunningSteps {
    /// Stores the newest state of a run.
    pub(super) fn store(&mut self, run: &RunView, now: Timestamp) {
        let mut before = self.0.remove(&run.summary.run).unwrap_or_default();
        let is_under_way = |step: &&StepView| step.status == StepStatus::Running;
        let steps: BTreeMap<_, _> = run
            .steps
            .iter()
            .filter(is_under_way)
            .map(|step| {
                let since = match before.remove(&step.path) {
                    Some(known) if known.is_queued == step.queued => return (step.path.clone(), known),
                    Some(_) => now,
                    None => began(step).map_or(now, |began| began.min(now)),
                };
                (step.path.clone(), RunningStep { is_queued: step.queued, since, has_line: false })
            })
            .collect();
        if !steps.is_empty() {
            self.0.insert(run.summary.run, steps);
        }
    }

    /// Records that there was a line about the activity of a step.
    pub(super) fn record_line(&mut self, run: RunId, step: &StepPath) {
        if let Some(step) = self.0.get_mut(&run).and_then(|steps| steps.get_mut(step)) {
            step.has_line = true;
        }
    }

    /// Returns the time at which the next line is due.
    pub(super) fn next_line(&self) -> Option<Timestamp> {
        let steps = self.0.values().flat_map(BTreeMap::values);
        steps.filter(|step| !step.has_line).map(|step| step.since.plus(LINE_AFTER)).min()
    }

    /// Returns the steps whose lines are due, and records that they have lines.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<(RunId, StepPath)> {
        self.take_if(|step| step.since.plus(LINE_AFTER) <= now)
    }

    /// Returns the queued steps without a line, and records that they have lines.
    pub(super) fn take_queued(&mut self) -> Vec<(RunId, StepPath)> {
        self.take_if(|step| step.is_queued)
    }

    fn take_if(&mut self, is_due: impl Fn(&RunningStep) -> bool) -> Vec<(RunId, StepPath)> {
        let mut due = Vec::new();
        for (run, steps) in &mut self.0 {
            for (path, step) in steps.iter_mut().filter(|(_, step)| !step.has_line && is_due(step)) {
                step.has_line = true;
                due.push((*run, path.clone()));
            }
        }
        due
    }
}

/// Returns the start of the attempt that is under way, if the run contains it.
fn began(step: &StepView) -> Option<Timestamp> {
    let last = step.attempts.last().map(|attempt| attempt.started_at.plus(attempt.took));
    last.or(step.started_at)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::sample::{BEGAN, run, step};
    use super::*;

    /// Returns the steps whose lines are due at this time after the start of the step.
    fn due(steps: &mut RunningSteps, millis: u64) -> Vec<String> {
        let due = steps.due(Timestamp::from_millis(BEGAN + 1_000 + millis));
        due.into_iter().map(|(_, path)| path.to_string()).collect()
    }

    fn store(steps: &mut RunningSteps, millis: u64, views: Vec<StepView>) {
        steps.store(&run("running", views), Timestamp::from_millis(BEGAN + 1_000 + millis));
    }

    #[test]
    fn step_has_a_line_once_it_has_run_for_two_seconds() {
        let mut steps = RunningSteps::default();
        let running = || step("a", "running", json!({}));
        store(&mut steps, 5, vec![running(), step("b", "pending", json!({}))]);
        assert_eq!(steps.next_line(), Some(Timestamp::from_millis(BEGAN + 3_000)));
        assert_eq!(due(&mut steps, 1_999), [""; 0]);
        store(
            &mut steps,
            1_999,
            vec![running(), step("b", "running", json!({ "started_at": BEGAN + 2_900 }))],
        );
        assert_eq!(due(&mut steps, 2_000), ["a"]);
        assert_eq!(due(&mut steps, 2_500), [""; 0], "one line");
        assert_eq!(steps.next_line(), Some(Timestamp::from_millis(BEGAN + 4_900)));
        store(&mut steps, 2_600, vec![running(), step("b", "succeeded", json!({}))]);
        assert_eq!((due(&mut steps, 9_000), steps.next_line()), (Vec::new(), None), "it has ended");
    }

    #[test]
    fn step_that_leaves_the_queue_has_another_line() {
        let mut steps = RunningSteps::default();
        store(&mut steps, 0, vec![step("a", "running", json!({ "queued": true }))]);
        assert_eq!(due(&mut steps, 2_000), ["a"]);
        store(&mut steps, 3_000, vec![step("a", "running", json!({}))]);
        assert_eq!(due(&mut steps, 4_999), [""; 0]);
        assert_eq!(due(&mut steps, 5_000), ["a"]);
    }

    #[test]
    fn step_that_stays_in_the_queue_has_a_line() {
        let mut steps = RunningSteps::default();
        store(
            &mut steps,
            0,
            vec![step("a", "running", json!({ "queued": true })), step("b", "running", json!({}))],
        );
        let left: Vec<_> = steps.take_queued().into_iter().map(|(_, path)| path.to_string()).collect();
        assert_eq!((left, steps.take_queued()), (vec!["a".to_owned()], Vec::new()));
    }

    #[test]
    fn step_with_a_line_about_its_call_has_no_other() {
        let mut steps = RunningSteps::default();
        store(&mut steps, 0, vec![step("a", "running", json!({}))]);
        steps.record_line(run("running", Vec::new()).summary.run, &"a".parse().expect("a path"));
        assert_eq!((due(&mut steps, 5_000), steps.next_line()), (Vec::new(), None));
    }
}
