//! Activities of calls under way, as workers report them.

use std::collections::BTreeMap;
use std::time::Duration;

use longshore_proto::{
    Attempt, CallActivity, CallUpdate, Progress, RunId, RunView, StepPath, StepStatus, StepView, Timestamp,
};

/// Minimum time between two plain lines about one call, and before the first one. A call that ends sooner only has a line
/// about its end.
const LINE_PAUSE: Duration = Duration::from_secs(5);

/// Minimum time between two plain lines about a call that reports no total.
const LINE_PAUSE_WITHOUT_TOTAL: Duration = Duration::from_secs(30);

/// The activities of the steps of some runs. There is at most one for each step.
#[derive(Debug, Default)]
pub(super) struct Activities(BTreeMap<RunId, BTreeMap<StepPath, StepActivity>>);

#[derive(Debug)]
struct StepActivity {
    attempt: Attempt,
    activity: CallActivity,
    last_line: Option<ActivityLine>,
}

/// The last plain line about a call.
#[derive(Clone, Copy, Debug)]
struct ActivityLine {
    at: Timestamp,
    /// Completed tenths of the total, if it is known.
    tenths: Option<f64>,
}

impl Activities {
    /// Stores an update of a step of this run. An update of an earlier attempt than the last one is out of date.
    pub(super) fn store(&mut self, run: &RunView, update: CallUpdate) {
        let CallUpdate { step, attempt, activity, .. } = update;
        if !run.steps.iter().any(|known| known.path == step) {
            return;
        }
        let steps = self.0.entry(run.summary.run).or_default();
        let known = steps.entry(step).or_insert(StepActivity {
            attempt,
            activity: CallActivity::Sent,
            last_line: None,
        });
        if known.attempt <= attempt {
            let last_line = known.last_line.filter(|_| known.attempt == attempt);
            *known = StepActivity { attempt, activity, last_line };
        }
    }

    /// Removes the steps of a run that have ended.
    pub(super) fn forget_ended(&mut self, run: &RunView) {
        let Some(steps) = self.0.get_mut(&run.summary.run) else { return };
        for step in run.steps.iter().filter(|step| step.status.is_terminal()) {
            steps.remove(&step.path);
        }
        if steps.is_empty() {
            self.0.remove(&run.summary.run);
        }
    }

    /// Returns the activity of the call of a step as text, if it is worth showing.
    pub(super) fn words(&self, run: RunId, step: &StepView) -> Option<String> {
        words(&self.of(run, step)?.activity)
    }

    /// Returns the activity as the text of a plain line, if a line is due, and sets the time of the next line.
    pub(super) fn due_words(&mut self, run: RunId, step: &StepView, now: Timestamp) -> Option<String> {
        let known = self.of(run, step)?;
        let words = words(&known.activity)?;
        let line = ActivityLine { at: now, tenths: tenths(&known.activity) };
        let is_due = match known.activity {
            // Workers report only starts that take long.
            CallActivity::Starting { .. } | CallActivity::Connecting { .. } => known.last_line.is_none(),
            CallActivity::Sent | CallActivity::Progress(_) => is_due(known.last_line, line, step.started_at?),
        };
        if !is_due {
            return None;
        }
        let known = self.0.get_mut(&run)?.get_mut(&step.path)?;
        known.last_line = Some(line);
        Some(words)
    }

    /// Returns the activity of the attempt under way.
    fn of(&self, run: RunId, step: &StepView) -> Option<&StepActivity> {
        let known = self.0.get(&run)?.get(&step.path)?;
        let is_under_way = step.status == StepStatus::Running && !step.queued;
        // The job of an attempt that no worker reported is sent again under its number.
        let has_ended = step.attempts.iter().any(|noted| {
            noted.number > known.attempt || noted.number == known.attempt && !noted.is_unreported()
        });
        Some(known).filter(|_| is_under_way && !has_ended)
    }
}

fn is_due(last: Option<ActivityLine>, line: ActivityLine, started_at: Timestamp) -> bool {
    let since = line.at.since(last.map_or(started_at, |last| last.at));
    let is_further = match (last, line.tenths) {
        (None, _) => true,
        (Some(last), Some(tenths)) => last.tenths.is_none_or(|before| before < tenths),
        (Some(_), None) => since >= LINE_PAUSE_WITHOUT_TOTAL,
    };
    is_further && since >= LINE_PAUSE
}

fn tenths(activity: &CallActivity) -> Option<f64> {
    match activity {
        CallActivity::Progress(Progress { done, total: Some(total), .. }) if *total > 0.0 => {
            Some((done / total * 10.0).floor())
        }
        _ => None,
    }
}

/// Returns the activity of a call as text, if it is worth showing: `starting server tables`, `12/32 page 12`.
pub(crate) fn words(activity: &CallActivity) -> Option<String> {
    let Progress { done, total, message } = match activity {
        CallActivity::Sent => return None,
        CallActivity::Starting { server } => return Some(format!("starting server {server}")),
        CallActivity::Connecting { server } => return Some(format!("connecting to server {server}")),
        CallActivity::Progress(progress) => progress,
    };
    let total = total.map(|total| format!("/{}", number(total))).unwrap_or_default();
    let message = message.as_ref().map(|message| format!(" {message}")).unwrap_or_default();
    Some(format!("{}{total}{message}", number(*done)))
}

/// Formats a number with two decimals at most.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    // A number of 300 digits would fill the screen; no real count is that large.
    if short.len() > 16 { format!("{value:e}") } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::sample::{BEGAN, attempt, run, step, unreported};
    use super::*;

    fn progress(done: f64, total: Option<f64>, message: Option<&str>) -> CallActivity {
        CallActivity::Progress(Progress { done, total, message: message.map(str::to_owned) })
    }

    /// Returns a run of one step, and its activities after these updates.
    fn after(step: StepView, updates: &[(u32, CallActivity)]) -> (RunView, Activities) {
        let (run, mut activities) = (run("running", vec![step]), Activities::default());
        for (attempt, activity) in updates {
            let (attempt, activity) = (Attempt(*attempt), activity.clone());
            let (run_id, step) = (run.summary.run, "a".parse().expect("a path"));
            activities.store(&run, CallUpdate { run: run_id, step, attempt, activity });
        }
        (run, activities)
    }

    #[test]
    fn numbers_are_short() {
        let words = |done, total, message| words(&progress(done, total, message)).expect("words");
        assert_eq!(words(12.0, Some(32.0), Some("page 12")), "12/32 page 12");
        assert_eq!(words(100.0, None, None), "100");
        assert_eq!(words(33.333_333, Some(100.0), None), "33.33/100");
        assert_eq!(words(1e300, Some(-0.5), None), "1e300/-0.5");
    }

    #[test]
    fn only_the_attempt_under_way_is_shown() {
        let running = || step("a", "running", json!({}));
        let shown = |step: StepView, updates: &[(u32, CallActivity)]| {
            let (run, activities) = after(step, updates);
            activities.words(run.summary.run, &run.steps[0])
        };
        let (one, two) = (|| progress(1.0, None, None), || progress(2.0, None, None));
        assert_eq!(shown(running(), &[(1, one()), (1, two())]).as_deref(), Some("2"));
        assert_eq!(
            shown(running(), &[(2, two()), (1, one())]).as_deref(),
            Some("2"),
            "late update of attempt 1"
        );
        assert_eq!(shown(running(), &[(1, one()), (2, CallActivity::Sent)]), None);
        let retried = step("a", "running", json!({ "attempts": [attempt(1, "timeout", "x")] }));
        assert_eq!(shown(retried, &[(1, one())]), None);
        assert_eq!(shown(step("a", "succeeded", json!({})), &[(1, one())]), None);
        assert_eq!(shown(step("b", "running", json!({})), &[(1, one())]), None);
    }

    #[test]
    fn call_that_is_made_again_under_its_number_is_shown() {
        let unreported = json!({ "attempts": [unreported(1)] });
        let (run, mut activities) =
            after(step("a", "running", unreported), &[(1, progress(4.0, Some(10.0), None))]);
        let (id, later) = (run.summary.run, Timestamp::from_millis(BEGAN + 9_000));
        assert_eq!(activities.words(id, &run.steps[0]).as_deref(), Some("4/10"));
        assert_eq!(activities.due_words(id, &run.steps[0], later).as_deref(), Some("4/10"));
    }

    #[test]
    fn ended_steps_are_forgotten() {
        let (mut run, mut activities) =
            after(step("a", "running", json!({})), &[(1, progress(1.0, None, None))]);
        activities.forget_ended(&run);
        assert!(activities.words(run.summary.run, &run.steps[0]).is_some());
        run.steps[0].status = StepStatus::Succeeded;
        activities.forget_ended(&run);
        assert!(activities.0.is_empty());
    }

    /// Returns the seconds after the start of the step at which there is a line.
    fn lines(updates: &[(u32, f64)], total: Option<f64>) -> Vec<u32> {
        let (run, mut activities) = after(step("a", "running", json!({})), &[]);
        let mut at_seconds = Vec::new();
        for (second, done) in updates {
            let (id, step) = (run.summary.run, run.steps[0].path.clone());
            let activity = progress(*done, total, None);
            activities.store(&run, CallUpdate { run: id, step, attempt: Attempt::FIRST, activity });
            let now = Timestamp::from_millis(BEGAN + 1_000 + u64::from(*second) * 1_000);
            if activities.due_words(id, &run.steps[0], now).is_some() {
                at_seconds.push(*second);
            }
        }
        at_seconds
    }

    #[test]
    fn start_of_a_server_is_one_line_at_once() {
        let start = CallActivity::Starting { server: "tables".parse().expect("a name") };
        let (run, mut activities) = after(step("a", "running", json!({})), &[(1, start)]);
        let (id, now) = (run.summary.run, Timestamp::from_millis(BEGAN + 2_000));
        let words = activities.due_words(id, &run.steps[0], now);
        assert_eq!(words.as_deref(), Some("starting server tables"));
        assert_eq!(activities.due_words(id, &run.steps[0], now), None);
        assert_eq!(activities.words(id, &run.steps[0]).as_deref(), Some("starting server tables"));
    }

    #[test]
    fn plain_lines_are_few() {
        let seconds: Vec<(u32, f64)> = (1..=100).map(|second| (second, f64::from(second))).collect();
        assert_eq!(lines(&seconds, Some(100.0)), [5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
        assert_eq!(lines(&seconds, None), [5, 35, 65, 95]);
        assert_eq!(lines(&seconds, Some(10.0))[..3], [5, 10, 15], "a server that goes beyond its total");
        assert_eq!(lines(&seconds[..4], Some(100.0)), [0_u32; 0]);
    }
}
