//! Views of a run for display: the documents behind `runs list`, `runs show` and `--json`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Attempt, AttemptRecord, Digest, Fault, Namespace, NodeId, RunId, StepPath, Timestamp, WorkflowRef,
};

/// The status of a run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Steps are waiting or running.
    Running,
    /// A step failed without further attempts; jobs that were already dispatched are still settled.
    Failing,
    /// The run was cancelled; jobs that were already dispatched are still settled.
    Cancelling,
    /// Every step ended as the workflow demands.
    Succeeded,
    /// A step failed without further attempts.
    Failed,
    /// The run was cancelled.
    Cancelled,
    /// The run has not ended and no process advances it; `longshore resume` does. Derived by readers of a data directory;
    /// the state of a partition never holds it.
    Interrupted,
}

impl RunStatus {
    /// Returns true if the run has ended.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// Returns the name in JSON, metrics and on the terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Failing => "failing",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The status of a step.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// The step waits for other steps to end.
    Pending,
    /// The job was dispatched, or the members of the group have begun.
    Running,
    /// The step waits for the start of its next attempt.
    Retrying,
    /// The step gave an output.
    Succeeded,
    /// The step ended with a fault.
    Failed,
    /// The call may or may not have happened, and is not safe to repeat.
    Indeterminate,
    /// The condition was false, or the run ended before the step began.
    Skipped,
    /// The step was cancelled.
    Cancelled,
}

impl StepStatus {
    /// Returns true if the step has ended.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Retrying)
    }

    /// Returns the name in expressions (`steps.x.status`), JSON and on the terminal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Indeterminate => "indeterminate",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for StepStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Summary of a run, as lists show it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RunSummary {
    /// Id of the run.
    pub run: RunId,
    /// Namespace that the run belongs to.
    pub namespace: Namespace,
    /// Workflow that the run executes.
    pub workflow: WorkflowRef,
    /// Status of the run.
    pub status: RunStatus,
    /// Time of the submit.
    pub submitted_at: Timestamp,
    /// Time at which the run ended. `None` while it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Fault that made the run fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
    /// Step that `error` belongs to, if it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_step: Option<StepPath>,
    /// Reason of the first cancel request, cut if it is long. `None` if the run was not cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_reason: Option<String>,
    /// Labels from the workflow.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Number of steps that are indeterminate. Rows of older versions do not have it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub indeterminate: usize,
}

/// Returns true for a count that is not serialized.
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Display form of a step.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct StepView {
    /// Path of the step.
    pub path: StepPath,
    /// Display name from the workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Kind of the step in a word or two: `server/tool`, `parallel`, `set`.
    pub does: String,
    /// Number of groups around the step; 0 at the top level.
    pub depth: u16,
    /// Status of the step.
    pub status: StepStatus,
    /// Time at which the step left `pending`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Time at which the step ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Attempts, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptRecord>,
    /// Output of the step. A large value is replaced by `{"blob": {"digest": …, "bytes": …}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Fault of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
    /// Description of what the step waits for. `None` if it does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Arguments of the call, with the names of secrets instead of their values. Large arguments are replaced by the
    /// beginning of their JSON text and their full size: `{"beginning": {"text": …, "bytes": …}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
    /// Reason why the step was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_because: Option<String>,
    /// The worker to which the call under way is granted. `None` if no call is granted: the log does not know who makes a call that may
    /// be repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<NodeId>,
    /// Number of attempts that the retry policy allows. `None` if the step is not a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_limit: Option<u32>,
    /// Start of the next attempt, while the step waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// True if the step is `running` and its job is known to wait for a worker.
    #[serde(default, skip_serializing_if = "is_false")]
    pub queued: bool,
}

/// Returns true for a flag that is not serialized.
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl StepView {
    /// Returns the kind of the step and its display name.
    pub fn caption(&self) -> String {
        match &self.name {
            Some(name) => format!("{}  {name}", self.does),
            None => self.does.clone(),
        }
    }

    /// Returns the fault of the step, unless it repeats the fault of one of `steps`.
    pub fn own_error(&self, steps: &[Self]) -> Option<&Fault> {
        let is_repeated = |fault: &Fault| {
            let member = fault.member.as_ref();
            member.is_some_and(|member| steps.iter().any(|step| step.path == *member && step.error.is_some()))
        };
        self.error.as_ref().filter(|fault| !is_repeated(fault))
    }

    /// Returns the number of the last attempt that has ended, or 0 if none has. A job that no worker reported is dispatched again
    /// with the same attempt number, so there may be more records of attempts than this.
    pub fn attempts_made(&self) -> u32 {
        self.attempts.last().map_or(0, |last| last.number.0)
    }

    /// Returns the number of the present attempt, or of the next one.
    pub fn next_attempt(&self) -> Attempt {
        match self.attempts.last() {
            Some(last) if last.is_unreported() => last.number,
            Some(last) => last.number.next(),
            None => Attempt::FIRST,
        }
    }

    /// Returns the status for display, which distinguishes queued steps from steps whose call has begun.
    pub const fn shown_status(&self) -> &'static str {
        if self.queued { "queued" } else { self.status.as_str() }
    }
}

/// Complete display form of a run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RunView {
    /// Summary of the run.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Inputs of the run.
    pub inputs: Value,
    /// Steps, in the order of the workflow's text.
    pub steps: Vec<StepView>,
    /// Outputs of the run, once it has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Value>,
    /// Digest and size in bytes of large outputs, whose address is in `outputs` until a process replaces it by the value. It stays
    /// in the process.
    #[serde(skip)]
    pub stored_outputs: Option<(Digest, u64)>,
}
