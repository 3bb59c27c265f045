//! State of a run: its head, and the frame with its steps.
//!
//! A checkpoint stores this state, so a change of a type is a change of the format: a new field needs a default, any other
//! change raises [`STATE_VERSION`](super::STATE_VERSION).

use std::collections::BTreeSet;
use std::sync::Arc;

use longshore_proto::{
    EvaluationNumber, Fault, FaultClass, JobId, Namespace, Payload, RunId, RunStatus, StepPath, Timestamp,
    TraceContext, WorkflowRef,
};
use longshore_workflow::{Plan, StepIndex};
use serde::{Deserialize, Serialize};

use super::frame::Frame;
use super::outline::{self, PlanOutline, StepDescription};
use super::step::Step;

/// Maximum number of bytes of the values that a run makes itself. Every checkpoint of a changed run writes them again,
/// so this is already a slow run; a tool's own large outputs are blobs and do not count.
const KEPT_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// One execution of a plan.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Run {
    pub(super) id: RunId,
    pub(super) namespace: Namespace,
    /// The workflow and its steps, so that a run can be shown without its plan.
    #[serde(serialize_with = "outline::write", deserialize_with = "outline::read")]
    pub(super) outline: Arc<PlanOutline>,
    pub(super) inputs: Payload,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trace: Option<Box<TraceContext>>,
    pub(super) status: RunStatus,
    pub(super) submitted_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) finished_at: Option<Timestamp>,
    /// Time when the run is stopped, if the workflow has a timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deadline: Option<Timestamp>,
    /// The steps of the plan.
    pub(super) frame: Frame,
    /// The first failure that no step handles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Box<RunError>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) outputs: Option<Box<Payload>>,
    /// Number of the evaluation of the outputs that the run waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) evaluation: Option<EvaluationNumber>,
    /// Number of evaluations of the outputs so far.
    #[serde(default)]
    pub(super) evaluations: u32,
    /// Size of the values of `set` steps, as JSON text.
    #[serde(default)]
    pub(super) set_bytes: usize,
    /// Reason of the cancel, if the run was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cancel_reason: Option<String>,
    /// The log lost records of this run, so each of its calls that is not safe to repeat may have been made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) records_lost: bool,
}

/// The fault of a failed run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct RunError {
    pub(super) fault: Fault,
    pub(super) step: Option<StepPath>,
}

impl Run {
    /// Creates a run that was just submitted. It has no steps until [`Run::adopt`].
    pub(super) fn new(
        (id, namespace): (RunId, Namespace),
        workflow: WorkflowRef,
        inputs: Payload,
        trace: Option<TraceContext>,
        at: Timestamp,
    ) -> Self {
        Self {
            id,
            namespace,
            outline: Arc::new(PlanOutline::unknown(workflow)),
            inputs,
            trace: trace.map(Box::new),
            status: RunStatus::Running,
            submitted_at: at,
            finished_at: None,
            deadline: None,
            frame: Frame::default(),
            error: None,
            outputs: None,
            evaluation: None,
            evaluations: 0,
            set_bytes: 0,
            cancel_reason: None,
            records_lost: false,
        }
    }

    /// Gives the run the outline, the deadline and the steps of its plan.
    pub(super) fn adopt(&mut self, plan: &Plan, outline: Arc<PlanOutline>) {
        self.outline = outline;
        self.frame = Frame::new(plan);
        self.deadline = plan.timeout.map(|timeout| self.submitted_at.plus(timeout));
    }

    /// Gives a run that was restored what follows from its plan.
    pub(super) fn rejoin(&mut self, plan: &Plan, outline: &Arc<PlanOutline>) {
        self.frame.find_order(plan);
        if !Arc::ptr_eq(&self.outline, outline) {
            self.outline = Arc::clone(outline);
        }
    }

    /// Removes the steps and all that follows from them.
    pub(super) fn drop_steps(&mut self) {
        self.frame = Frame::default();
        self.outline = Arc::new(PlanOutline::unknown(self.outline.workflow.clone()));
        self.deadline = None;
        self.evaluation = None;
        self.set_bytes = 0;
    }

    /// Ends the run at once, whatever its steps do.
    pub(super) fn fail(&mut self, fault: Fault, at: Timestamp) {
        self.error = Some(Box::new(RunError { fault, step: None }));
        self.status = RunStatus::Failed;
        self.finished_at = Some(at);
    }

    /// Numbers an evaluation of the outputs, which the run waits for from now on.
    pub(super) fn next_evaluation(&mut self) -> EvaluationNumber {
        self.evaluations = self.evaluations.saturating_add(1);
        let number = EvaluationNumber(self.evaluations);
        self.evaluation = Some(number);
        number
    }

    /// Returns a copy with the values of some steps only.
    pub(super) fn with_only(&self, values: &BTreeSet<StepIndex>) -> Self {
        let frame = self.frame.with_only(values);
        Self {
            id: self.id,
            namespace: self.namespace.clone(),
            outline: Arc::clone(&self.outline),
            inputs: self.inputs.clone(),
            trace: self.trace.clone(),
            error: self.error.clone(),
            outputs: None,
            cancel_reason: None,
            frame,
            ..*self
        }
    }

    /// Returns a step by its index in the plan; `None` if the plan has fewer steps.
    pub fn step(&self, index: StepIndex) -> Option<&Step> {
        self.frame.step(index)
    }

    /// Returns the description of a step.
    pub fn description(&self, index: StepIndex) -> Option<&StepDescription> {
        self.outline.steps.get(index.0)
    }

    /// Returns the path of a step.
    pub(super) fn path(&self, index: StepIndex) -> Option<&StepPath> {
        self.description(index).map(|step| &step.path)
    }

    /// Changes a step. Returns `None` if there is no such step.
    pub(super) fn change<R>(&mut self, index: StepIndex, change: impl FnOnce(&mut Step) -> R) -> Option<R> {
        self.frame.change(index, change)
    }

    /// Returns the reason why a value of this size has no room in the state, if it has none.
    pub(super) fn room_for(&self, bytes: usize) -> Result<(), Fault> {
        let held = self.set_bytes.saturating_add(self.frame.argument_bytes());
        if held.saturating_add(bytes) <= KEPT_LIMIT_BYTES {
            return Ok(());
        }
        let limit = KEPT_LIMIT_BYTES / (1024 * 1024);
        let problem = format!("the values that this run makes and holds at once grow beyond {limit} MiB");
        Err(Fault::new(FaultClass::Expression, problem))
    }

    /// Returns the id of the job of a step whose call has no outcome.
    pub(super) fn job_id(&self, index: StepIndex) -> Option<JobId> {
        let attempt = self.step(index)?.call.as_ref()?.attempt;
        Some(JobId { run: self.id, step: self.path(index)?.clone(), attempt })
    }
}
