//! The live view of runs that a command follows.
//!
//! On a terminal a tree of steps is redrawn below the messages; elsewhere each change of a step is a line with its time. The
//! text comes from [`RunView`]s and call updates: [`tree`] draws the tree, [`fit`] selects the steps that fit into it,
//! [`plain_lines`] writes the lines of changes, [`running`] selects the steps that run long, and [`activity`] keeps the
//! activities of calls under way.

mod activity;
mod fit;
mod plain_lines;
mod running;
mod tree;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use longshore_ports::clock;
use longshore_proto::{CallUpdate, RunId, RunView, StepPath, Timestamp};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use self::activity::Activities;
pub(crate) use self::activity::words as activity_words;
use self::running::RunningSteps;
use self::tree::FrameContext;
use crate::output::Output;

/// Interval of frames. More frames would not be visible, and would load a slow connection.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);

/// The view of some runs.
pub(crate) struct LiveView {
    output: Output,
    runs: BTreeMap<RunId, Arc<RunView>>,
    activities: Activities,
    running: RunningSteps,
    /// Lines contain the id of their run.
    with_run_ids: bool,
    /// Time of the newest plain line. No later line has an earlier time.
    last_line_at: Timestamp,
    frames: Interval,
}

impl LiveView {
    /// Creates an empty view. `with_run_ids` says that more than one run will be shown.
    pub(crate) fn new(output: &Output, with_run_ids: bool) -> Self {
        let mut frames = interval(FRAME_INTERVAL);
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (output, activities) = (output.clone(), Activities::default());
        Self {
            output,
            runs: BTreeMap::new(),
            activities,
            running: RunningSteps::default(),
            with_run_ids,
            last_line_at: Timestamp::default(),
            frames,
        }
    }

    /// Shows the newest state of a run.
    pub(crate) fn show(&mut self, view: Arc<RunView>) {
        let run = view.summary.run;
        let before = self.runs.insert(run, Arc::clone(&view));
        self.activities.forget_ended(&view);
        if !self.output.is_live {
            let (now, times) = (clock::now(), &self.output.message_times);
            let (run_ids, last) = (self.with_run_ids, self.last_line_at);
            let (lines, at) = plain_lines::changes(before.as_deref(), &view, run_ids, (now, last), times);
            lines.iter().for_each(|line| self.output.message_line(line));
            self.last_line_at = last.max(at);
            self.running.store(&view, now);
        }
    }

    /// Replaces each run by the result of `newer`.
    pub(crate) fn update(&mut self, newer: impl Fn(&Arc<RunView>) -> Arc<RunView>) {
        let newest: Vec<_> = self.runs.values().map(newer).collect();
        newest.into_iter().for_each(|view| self.show(view));
    }

    /// Shows the activity of a call.
    pub(crate) fn show_activity(&mut self, update: CallUpdate) {
        let Some(view) = self.runs.get(&update.run) else { return };
        let (run, path, now) = (update.run, update.step.clone(), clock::now());
        self.activities.store(view, update);
        if !self.output.is_live
            && let Some(step) = view.steps.iter().find(|step| step.path == path)
            && let Some(words) = self.activities.due_words(run, step, now)
        {
            let run_id = self.with_run_ids.then_some(run);
            self.output.message_line(&plain_lines::activity(
                step,
                &words,
                run_id,
                now,
                &self.output.message_times,
            ));
            self.running.record_line(run, &path);
            self.last_line_at = self.last_line_at.max(now);
        }
    }

    /// Adds a run that is resumed. Of its steps, only calls that are made again are printed.
    pub(crate) fn show_resumed(&mut self, view: Arc<RunView>) {
        if !self.output.is_live {
            let (now, times) = (clock::now(), &self.output.message_times);
            let lines = plain_lines::repeated_calls(&view, self.with_run_ids, now, times);
            lines.iter().for_each(|line| self.output.message_line(line));
            self.running.store(&view, now);
            // Every step that was under way has a line, or is a group whose members have lines.
            view.steps.iter().for_each(|step| self.running.record_line(view.summary.run, &step.path));
        }
        self.runs.insert(view.summary.run, view);
    }

    /// Waits until the next frame or line is due, for [`LiveView::print_frame`]. Safe to cancel.
    pub(crate) async fn frame_due(&mut self) {
        if self.output.is_live {
            self.frames.tick().await;
            return;
        }
        match self.running.next_line() {
            Some(at) => sleep(at.since(clock::now())).await,
            None => pending().await,
        }
    }

    /// Draws a frame, or prints the lines that are due.
    pub(crate) fn print_frame(&mut self) {
        if self.output.is_live {
            return self.draw(false);
        }
        let now = clock::now();
        let due = self.running.due(now);
        self.print_running(due, now);
    }

    fn print_running(&mut self, steps: Vec<(RunId, StepPath)>, now: Timestamp) {
        if !steps.is_empty() {
            self.last_line_at = self.last_line_at.max(now);
        }
        for (run, path) in steps {
            let step = self.runs.get(&run).and_then(|view| view.steps.iter().find(|step| step.path == path));
            let run_id = self.with_run_ids.then_some(run);
            if let Some(step) = step {
                self.output.message_line(&plain_lines::under_way(
                    step,
                    run_id,
                    now,
                    &self.output.message_times,
                ));
            }
        }
    }

    /// Draws the last frame in full and leaves it on the screen. Lines that do not fit scroll up. Without a
    /// terminal, queued steps without a line get one.
    pub(crate) fn finish(&mut self) {
        if !self.output.is_live {
            let queued = self.running.take_queued();
            self.print_running(queued, clock::now());
        }
        self.draw(true);
        self.output.keep_frame();
    }

    fn draw(&self, is_last: bool) {
        if self.output.is_live {
            let runs = self.runs.values().map(Arc::as_ref);
            let (symbols, size) = (self.output.symbols, self.output.size());
            let activities = &self.activities;
            let context = FrameContext { now: clock::now(), symbols, size, is_last, activities };
            self.output.draw(&tree::frame(runs, context));
        }
    }
}

#[cfg(test)]
mod sample {
    //! A sample run for tests.

    use longshore_proto::{RunView, StepView};
    use serde_json::{Value, json};

    /// Submit time of the sample.
    pub(super) const BEGAN: u64 = 1_795_187_471_000;

    /// Returns a run with these steps.
    pub(super) fn run(status: &str, steps: Vec<StepView>) -> RunView {
        let mut run = json!({
            "run": "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w",
            "namespace": "default",
            "workflow": { "name": "sales-report", "digest": "ab".repeat(32) },
            "status": status,
            "submitted_at": BEGAN,
            "inputs": {},
            "steps": [],
        });
        if !matches!(status, "running" | "failing" | "cancelling") {
            run["finished_at"] = json!(BEGAN + 5_000);
        }
        RunView { steps, ..serde_json::from_value(run).expect("a run") }
    }

    /// Returns a step; `more` adds or overrides fields.
    pub(super) fn step(path: &str, status: &str, more: Value) -> StepView {
        let mut step = json!({ "path": path, "does": "tables/read", "depth": 0, "status": status });
        if status != "pending" {
            step["started_at"] = json!(BEGAN + 1_000);
        }
        if !matches!(status, "pending" | "running" | "retrying") {
            step["finished_at"] = json!(BEGAN + 1_250);
        }
        step.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        serde_json::from_value(step).expect("a step")
    }

    /// Returns an attempt with a fault.
    pub(super) fn attempt(number: u32, class: &str, message: &str) -> Value {
        let mut attempt = unreported(number);
        attempt["fault"] = json!({ "class": class, "message": message });
        attempt["process"] = json!({ "pid": 4711, "connection": 2 });
        attempt
    }

    /// Returns an attempt that no worker reported.
    pub(super) fn unreported(number: u32) -> Value {
        json!({
            "number": number, "started_at": BEGAN + 1_000, "took_ms": 200,
            "fault": { "class": "unavailable", "message": "its process ended" }, "sent": "maybe",
        })
    }
}
