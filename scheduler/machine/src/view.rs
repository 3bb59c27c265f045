//! Views of a run: summary, full view, and changed steps.

use std::time::Duration;

use longshore_proto::{
    JobId, Payload, RunId, RunStatus, RunSummary, RunView, StepStatus, StepView, TimerKind, Timestamp,
    WorkflowRef,
};
use longshore_workflow::StepIndex;
use serde_json::{Value, json};

use super::Run;
use super::run::Step;

impl Run {
    /// Returns the summary that lists show.
    pub fn summary(&self) -> RunSummary {
        RunSummary {
            run: self.id,
            namespace: self.namespace.clone(),
            workflow: self.workflow.clone(),
            status: self.status,
            submitted_at: self.submitted_at,
            finished_at: self.finished_at,
            error: self.error.as_ref().map(|error| error.fault.clone()),
            failed_step: self.error.as_ref().and_then(|error| error.step.clone()),
            cancel_reason: self.cancel_reason.clone(),
            labels: self.labels.clone(),
            indeterminate: self.steps.iter().filter(|step| step.status == StepStatus::Indeterminate).count(),
        }
    }

    /// Returns the full view.
    pub fn view(&self) -> RunView {
        RunView {
            summary: self.summary(),
            inputs: shown(&self.inputs),
            steps: self.steps.iter().map(|step| self.step_view(step)).collect(),
            outputs: self.outputs.clone(),
        }
    }

    /// Returns the id.
    pub const fn id(&self) -> RunId {
        self.id
    }

    /// Returns the status.
    pub const fn status(&self) -> RunStatus {
        self.status
    }

    /// Returns the time from submit to end, once the run has ended.
    pub fn duration(&self) -> Option<Duration> {
        self.finished_at.map(|at| at.since(self.submitted_at))
    }

    /// Returns the workflow.
    pub const fn workflow(&self) -> &WorkflowRef {
        &self.workflow
    }

    /// Returns the inputs, including defaults.
    pub const fn inputs(&self) -> &Payload {
        &self.inputs
    }

    /// Returns for each step of the view the job that is outstanding, if there is one.
    pub fn jobs(&self) -> impl Iterator<Item = Option<JobId>> {
        (0..self.steps.len()).map(|number| self.job_id(StepIndex(number)))
    }

    /// Returns the views of some steps.
    pub fn steps(&self, which: &[StepIndex]) -> Vec<StepView> {
        which.iter().filter_map(|index| self.step(*index)).map(|step| self.step_view(step)).collect()
    }

    fn step_view(&self, step: &Step) -> StepView {
        StepView {
            path: step.path.clone(),
            name: step.name.clone(),
            does: step.does.clone(),
            depth: step.depth,
            status: step.status,
            started_at: step.started_at,
            finished_at: step.finished_at,
            attempts: step.attempts.clone(),
            output: step.output.as_ref().map(|output| shown(&output.value)),
            error: step.error.clone(),
            waiting_for: self.waiting_for(step),
            arguments: step.arguments.clone(),
            skipped_because: step.skipped_because.clone(),
            attempt_limit: step.attempt_limit,
            next_attempt_at: self.next_attempt_at(step),
            queued: step.is_lost() && !step.may_have_called(),
        }
    }

    /// Returns the reason why a step waits, if it does.
    fn waiting_for(&self, step: &Step) -> Option<String> {
        match step.status {
            StepStatus::Retrying => self.next_attempt_at(step).map(|at| format!("its next attempt at {at}")),
            StepStatus::Running if step.stopped && step.call.is_some() => {
                Some("the end of its call, which was cancelled".to_owned())
            }
            _ => None,
        }
    }

    /// Returns the start time of a step's next attempt, if the step waits for one.
    fn next_attempt_at(&self, step: &Step) -> Option<Timestamp> {
        // A run has a timer for each outstanding call, so only a step that waits searches them.
        if step.status != StepStatus::Retrying {
            return None;
        }
        self.timers.iter().find_map(|(kind, at)| match kind {
            TimerKind::Retry { step: path, .. } if *path == step.path => Some(*at),
            _ => None,
        })
    }
}

/// Returns a value, or the address of a large one.
fn shown(payload: &Payload) -> Value {
    match payload {
        Payload::Inline(value) => value.clone(),
        Payload::Blob { digest, bytes } => {
            json!({ "blob": { "digest": digest.to_string(), "bytes": bytes } })
        }
    }
}
