//! Views of a run: summary, full view, and changed steps.

use std::time::Duration;

use longshore_proto::{
    JobId, Payload, RunId, RunStatus, RunSummary, RunView, StepStatus, StepView, Timestamp, WorkflowRef,
};
use longshore_workflow::StepIndex;
use serde_json::{Value, json};

use super::Run;
use super::step::Step;

impl Run {
    /// Returns the summary that lists show.
    pub fn summary(&self) -> RunSummary {
        RunSummary {
            run: self.id,
            namespace: self.namespace.clone(),
            workflow: self.outline.workflow.clone(),
            status: self.status,
            submitted_at: self.submitted_at,
            finished_at: self.finished_at,
            error: self.error.as_ref().map(|error| error.fault.clone()),
            failed_step: self.error.as_ref().and_then(|error| error.step.clone()),
            cancel_reason: self.cancel_reason.clone(),
            labels: self.outline.labels.clone(),
            indeterminate: self.frame.indeterminate(),
        }
    }

    /// Returns the full view.
    pub fn view(&self) -> RunView {
        RunView {
            summary: self.summary(),
            inputs: shown(self.inputs.clone()),
            steps: self.frame.indices().filter_map(|index| self.step_view(index)).collect(),
            outputs: self.outputs.as_deref().cloned().map(shown),
            stored_outputs: match self.outputs.as_deref() {
                Some(Payload::Blob { digest, bytes }) => Some((*digest, *bytes)),
                Some(Payload::Inline(_)) | None => None,
            },
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
    pub fn workflow(&self) -> &WorkflowRef {
        &self.outline.workflow
    }

    /// Returns the inputs, including defaults.
    pub const fn inputs(&self) -> &Payload {
        &self.inputs
    }

    /// Returns for each step of the view the job that is outstanding, if there is one.
    pub fn jobs(&self) -> impl Iterator<Item = Option<JobId>> {
        self.frame.indices().map(|index| self.job_id(index))
    }

    /// Returns the views of some steps.
    pub fn steps(&self, which: &[StepIndex]) -> Vec<StepView> {
        which.iter().filter_map(|index| self.step_view(*index)).collect()
    }

    fn step_view(&self, index: StepIndex) -> Option<StepView> {
        let (description, step) = self.description(index).zip(self.step(index))?;
        let record = step.record.as_deref().cloned().unwrap_or_default();
        Some(StepView {
            path: description.path.clone(),
            name: description.name.clone(),
            does: description.does.clone(),
            depth: description.depth,
            status: step.status,
            started_at: record.started_at,
            finished_at: record.finished_at,
            attempts: record.attempts,
            output: record.output.map(|output| shown(output.value)),
            error: record.error.map(|fault| *fault),
            waiting_for: waiting_for(step),
            arguments: step.arguments().and_then(|text| serde_json::from_str(&text).ok()),
            skipped_because: record.skipped_because.map(String::from),
            worker: step.granted_to().map(|delivery| delivery.worker.clone()),
            attempt_limit: description.attempt_limit,
            next_attempt_at: next_attempt_at(step),
            queued: step.is_lost() && !step.may_have_called(),
        })
    }
}

/// Returns the reason why a step waits, if it does.
fn waiting_for(step: &Step) -> Option<String> {
    match step.status {
        StepStatus::Retrying => next_attempt_at(step).map(|at| format!("its next attempt at {at}")),
        StepStatus::Running if step.stopped && step.call.is_some() => {
            Some("the end of its call, which was cancelled".to_owned())
        }
        StepStatus::Running if step.pending_evaluation_number().is_some() => {
            Some("its expressions, which read large values or take long".to_owned())
        }
        _ => None,
    }
}

/// Returns the start time of a step's next attempt, if the step waits for one.
fn next_attempt_at(step: &Step) -> Option<Timestamp> {
    step.call.as_ref().filter(|_| step.status == StepStatus::Retrying)?.due_at
}

/// Returns a value, or the address of a large one.
fn shown(payload: Payload) -> Value {
    match payload {
        Payload::Inline(value) => value,
        Payload::Blob { digest, bytes } => {
            json!({ "blob": { "digest": digest.to_string(), "bytes": bytes } })
        }
    }
}
