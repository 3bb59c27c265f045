//! State of a run: its history, and its outstanding calls.
//!
//! A checkpoint stores this state, so a change of a type is a change of the format: a new field needs a default, any other
//! change raises [`STATE_VERSION`](super::STATE_VERSION).

use std::collections::{BTreeMap, BTreeSet};

use longshore_proto::{
    Attempt, AttemptRecord, DeliveryId, Fault, FaultClass, JobId, Namespace, Output, Payload, RunId,
    RunStatus, SecretPlace, StepPath, StepStatus, TimerKind, Timestamp, TraceContext, WorkflowRef,
};
use longshore_workflow::{Plan, StepIndex, StepKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Maximum number of bytes of the values that a run makes itself. Every checkpoint of a changed run writes them again,
/// so this is already a slow run; a tool's own large outputs are blobs and do not count.
const KEPT_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// One execution of a plan.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Run {
    pub(super) id: RunId,
    pub(super) namespace: Namespace,
    pub(super) workflow: WorkflowRef,
    pub(super) inputs: Payload,
    pub(super) trace: Option<TraceContext>,
    pub(super) status: RunStatus,
    pub(super) submitted_at: Timestamp,
    pub(super) finished_at: Option<Timestamp>,
    /// The steps of the plan, in its order.
    pub(super) steps: Vec<Step>,
    /// The timers that are set. The machine has an index of them by time.
    pub(super) timers: BTreeMap<TimerKind, Timestamp>,
    /// The first failure that no step handles.
    pub(super) error: Option<RunError>,
    pub(super) outputs: Option<Value>,
    /// The steps that the current record changed. Empty while no record is applied.
    #[serde(skip)]
    pub(super) touched: BTreeSet<StepIndex>,
    /// Size of the values of `set` steps, as JSON text.
    #[serde(default)]
    pub(super) set_bytes: usize,
    /// Reason of the cancel, if the run was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cancel_reason: Option<String>,
    /// The log lost records of this run, so each of its calls that is not safe to repeat may have been made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) records_lost: bool,
    /// Labels of the workflow, so that a run can be listed without its plan.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, String>,
}

/// The fault of a failed run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct RunError {
    pub(super) fault: Fault,
    pub(super) step: Option<StepPath>,
}

/// One step of a run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Step {
    /// Path of the step in the workflow.
    pub path: StepPath,
    #[serde(default)]
    pub(super) name: Option<String>,
    /// Short description (`server/tool`, `set`, `parallel`), so that a run can be shown without its plan.
    pub does: String,
    pub(super) depth: u16,
    /// Attempts that the policy of a call allows, for the same reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) attempt_limit: Option<u32>,
    /// Status of the step.
    pub status: StepStatus,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    /// Attempts that have ended, oldest first.
    pub attempts: Vec<AttemptRecord>,
    pub(super) output: Option<Output>,
    pub(super) error: Option<Fault>,
    /// The call that is outstanding, or waits for its next attempt.
    pub(super) call: Option<OutstandingCall>,
    /// The step is stopping: it starts no further attempt, and its outstanding call was recalled.
    pub(super) stopped: bool,
    /// Arguments of the call, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) arguments: Option<Value>,
    /// Reason why the step was skipped, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) skipped_because: Option<String>,
}

/// A call without an outcome. Its job can be sent again from the state alone.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct OutstandingCall {
    /// First attempt of the job that is outstanding, or that is sent when its timer fires.
    pub(super) attempt: Attempt,
    /// Arguments, rendered once, so that every attempt sends the same.
    pub(super) arguments: Map<String, Value>,
    /// Places in the arguments where the worker inserts secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) secrets: Vec<SecretPlace>,
    /// Idempotency key of the step itself, rendered once.
    pub(super) own_key: Option<String>,
    /// Size of the arguments as JSON text. Zero in states of earlier versions.
    #[serde(default)]
    pub(super) bytes: usize,
    /// Time of the last dispatch or of the grant. `None` if the job was lost and not sent again. If a call may have begun before,
    /// the newest attempt has its number.
    #[serde(default)]
    pub(super) sent_at: Option<Timestamp>,
    /// The calls are not safe to repeat, so a worker makes one only if it is granted.
    #[serde(default)]
    pub(super) needs_grant: bool,
    /// The delivery that makes the calls. No other delivery may make one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) granted: Option<DeliveryId>,
    /// The call needs a grant, and the log lost records of its run: it may have been made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) records_lost: bool,
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
            workflow,
            inputs,
            trace,
            status: RunStatus::Running,
            submitted_at: at,
            finished_at: None,
            steps: Vec::new(),
            timers: BTreeMap::new(),
            error: None,
            outputs: None,
            touched: BTreeSet::new(),
            set_bytes: 0,
            cancel_reason: None,
            records_lost: false,
            labels: BTreeMap::new(),
        }
    }

    /// Gives the run the labels and steps of its plan.
    pub(super) fn adopt(&mut self, plan: &Plan) {
        self.labels.clone_from(&plan.labels);
        self.steps = plan.steps.iter().map(|step| Step::pending(plan, step)).collect();
        if let Some(timeout) = plan.timeout {
            self.timers.insert(TimerKind::Run, self.submitted_at.plus(timeout));
        }
    }

    /// Returns a step by its index in the plan; `None` if the plan has fewer steps.
    pub fn step(&self, index: StepIndex) -> Option<&Step> {
        self.steps.get(index.0)
    }

    /// Returns a step to change, and marks it as touched.
    pub(super) fn step_mut(&mut self, index: StepIndex) -> Option<&mut Step> {
        self.step_if(index, |_| true)
    }

    /// Returns a step to change if it fits, and marks it as touched.
    pub(super) fn step_if(
        &mut self,
        index: StepIndex,
        fits: impl FnOnce(&Step) -> bool,
    ) -> Option<&mut Step> {
        let step = self.steps.get_mut(index.0).filter(|step| fits(step))?;
        self.touched.insert(index);
        Some(step)
    }

    /// Returns the index of a step in the plan and in the run.
    pub(super) fn find(&self, path: &StepPath) -> Option<StepIndex> {
        self.steps.iter().position(|step| step.path == *path).map(StepIndex)
    }

    /// Returns the reason why a value of this size has no room in the state, if it has none.
    pub(super) fn room_for(&self, bytes: usize) -> Result<(), Fault> {
        let out: usize = self.steps.iter().filter_map(|step| step.call.as_ref()).map(|call| call.bytes).sum();
        if self.set_bytes.saturating_add(out).saturating_add(bytes) <= KEPT_LIMIT_BYTES {
            return Ok(());
        }
        let limit = KEPT_LIMIT_BYTES / (1024 * 1024);
        let problem = format!("the values that this run makes and holds at once grow beyond {limit} MiB");
        Err(Fault::new(FaultClass::Expression, problem))
    }

    /// Returns the number of calls without an outcome.
    pub(super) fn outstanding(&self) -> usize {
        self.steps.iter().filter(|step| step.call.is_some()).count()
    }

    /// Returns the number of calls whose job is outstanding, without those that wait for their next attempt.
    pub(super) fn jobs_out(&self) -> usize {
        self.steps.iter().filter(|step| step.status == StepStatus::Running && step.call.is_some()).count()
    }

    /// Returns the id of the job of a running step.
    pub(super) fn job_id(&self, index: StepIndex) -> Option<JobId> {
        let step = self.step(index)?;
        let call = step.call.as_ref()?;
        Some(JobId { run: self.id, step: step.path.clone(), attempt: call.attempt })
    }
}

impl Step {
    fn pending(plan: &Plan, step: &longshore_workflow::Step) -> Self {
        let does = match &step.kind {
            StepKind::Call(call) => format!("{}/{}", call.server, call.tool),
            StepKind::Set(_) => "set".to_owned(),
            StepKind::Parallel { .. } => "parallel".to_owned(),
        };
        let mut depth = 0;
        let mut parent = step.parent;
        while let Some(above) = parent {
            depth += 1;
            parent = plan.step(above).and_then(|step| step.parent);
        }
        Self {
            path: step.path.clone(),
            name: step.name.clone(),
            does,
            depth,
            attempt_limit: match &step.kind {
                StepKind::Call(call) => Some(call.retry.attempts),
                StepKind::Set(_) | StepKind::Parallel { .. } => None,
            },
            status: StepStatus::Pending,
            started_at: None,
            finished_at: None,
            attempts: Vec::new(),
            output: None,
            error: None,
            call: None,
            stopped: false,
            arguments: None,
            skipped_because: None,
        }
    }

    /// Returns true if the job of the step was lost with its process and not sent again.
    pub(super) fn is_lost(&self) -> bool {
        self.status == StepStatus::Running && self.call.as_ref().is_some_and(|call| call.sent_at.is_none())
    }

    /// Returns true if the job of the step with this first attempt is outstanding.
    pub(super) fn is_outstanding(&self, attempt: Attempt) -> bool {
        self.status == StepStatus::Running && self.call.as_ref().is_some_and(|call| call.attempt == attempt)
    }

    /// Returns true if the outstanding call needs a grant and has none: it was not made.
    pub(super) fn is_ungranted(&self) -> bool {
        self.call
            .as_ref()
            .is_some_and(|call| call.needs_grant && call.granted.is_none() && !call.records_lost)
    }

    /// Returns true if the outstanding call may have been made and is not safe to repeat.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.granted.is_some() || call.records_lost)
    }

    /// Returns the delivery to which the outstanding call is granted.
    pub(super) fn granted_to(&self) -> Option<&DeliveryId> {
        self.call.as_ref().and_then(|call| call.granted.as_ref())
    }

    /// Returns true if the outstanding call may have begun. It has not if it needs a grant and has none, or if its job was lost
    /// before that, and not sent again.
    pub(super) fn may_have_called(&self) -> bool {
        if self.is_ungranted() {
            return false;
        }
        let newest = self.attempts.last().map(|attempt| attempt.number);
        self.call.as_ref().is_some_and(|call| call.sent_at.is_some() || newest >= Some(call.attempt))
    }

    /// Ends the step.
    pub(super) fn end(&mut self, status: StepStatus, at: Timestamp) {
        self.status = status;
        self.finished_at = Some(at);
        self.call = None;
    }

    /// Returns true if the step failed or is indeterminate.
    pub(super) const fn has_failed(&self) -> bool {
        matches!(self.status, StepStatus::Failed | StepStatus::Indeterminate)
    }
}
