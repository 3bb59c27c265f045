//! What people see of a run: the documents behind `runs list`, `runs show` and `--json`.

use std::collections::BTreeMap;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Attempt, AttemptRecord, Fault, Namespace, RunId, StepPath, Timestamp, WorkflowRef};

/// Where a run stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Steps are waiting, out, or being decided.
    Running,
    /// A step failed for good; what was already out is coming in.
    Failing,
    /// It was told to stop; what was already out is coming in.
    Cancelling,
    /// Every step ended as it should.
    Succeeded,
    /// A step failed for good.
    Failed,
    /// It was told to stop.
    Cancelled,
    /// It has not ended, and no process moves it: it waits for `longshore resume`. Only seen by those who look at a data
    /// directory, never decided by a log.
    Interrupted,
}

impl RunStatus {
    /// Whether nothing more will happen.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The name in JSON, metrics and on the terminal.
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

/// Where a step stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Waiting for the steps before it.
    Pending,
    /// Its job is out, or its members are.
    Running,
    /// Waiting for the moment of its next attempt.
    Retrying,
    /// It did what it was asked.
    Succeeded,
    /// It did not.
    Failed,
    /// Nobody knows whether its call happened, and it is not safe to repeat.
    Indeterminate,
    /// Its condition was false, or the run ended before its turn.
    Skipped,
    /// It was told to stop.
    Cancelled,
}

impl StepStatus {
    /// Whether the step has ended.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Retrying)
    }

    /// The name in expressions (`steps.x.status`), JSON and on the terminal.
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

/// A run in one line.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RunSummary {
    /// The run.
    pub run: RunId,
    /// Whose it is.
    pub namespace: Namespace,
    /// What it runs.
    pub workflow: WorkflowRef,
    /// Where it stands.
    pub status: RunStatus,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// What made it fail: the step, if a step did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
    /// The step that `error` comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_step: Option<StepPath>,
    /// Why it was told to stop, if it was: the beginning of what was said first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_reason: Option<String>,
    /// The labels of the workflow's file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A step, as people see it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct StepView {
    /// Which one.
    pub path: StepPath,
    /// What its author calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it does, in a word or two: `server/tool`, `parallel`, `set`.
    pub does: String,
    /// How deep it stands in groups; 0 at the top.
    pub depth: u16,
    /// Where it stands.
    pub status: StepStatus,
    /// When it left `pending`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Every attempt, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptRecord>,
    /// What it gave; a large value stands as `{"blob": {"digest": …, "bytes": …}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Why it gave nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
    /// Why it waits, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Arguments of its call, with secrets by their names. Of large arguments the beginning of their JSON text, as
    /// `{"beginning": {"text": …, "bytes": …}}` with the size of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
    /// Why it was skipped, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped_because: Option<String>,
    /// Attempts that its policy allows, if it is a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_limit: Option<u32>,
    /// When its next attempt begins, while it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// True if the step is `running` and its job waits for a worker, as far as that is known.
    #[serde(default, skip_serializing_if = "is_false")]
    pub queued: bool,
}

/// Returns true for a flag that is not serialized.
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl StepView {
    /// What it does, and what its author calls it.
    pub fn caption(&self) -> String {
        match &self.name {
            Some(name) => format!("{}  {name}", self.does),
            None => self.does.clone(),
        }
    }

    /// Its fault, unless that repeats the fault of one of these steps.
    pub fn own_error(&self, steps: &[Self]) -> Option<&Fault> {
        let is_repeated = |fault: &Fault| {
            let member = fault.member.as_ref();
            member.is_some_and(|member| steps.iter().any(|step| step.path == *member && step.error.is_some()))
        };
        self.error.as_ref().filter(|fault| !is_repeated(fault))
    }

    /// The number of its last attempt that has ended; 0 if none has. A job that no worker reported is sent again under its number,
    /// so there may be more records of attempts than that.
    pub fn attempts_made(&self) -> u32 {
        self.attempts.last().map_or(0, |last| last.number.0)
    }

    /// The number of the attempt that is under way or comes next.
    pub fn next_attempt(&self) -> Attempt {
        match self.attempts.last() {
            Some(last) if last.is_unreported() => last.number,
            Some(last) => last.number.next(),
            None => Attempt::FIRST,
        }
    }

    /// Its status in a word for people, who want to see which calls have begun.
    pub const fn shown_status(&self) -> &'static str {
        if self.queued { "queued" } else { self.status.as_str() }
    }
}

/// A run in full.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RunView {
    /// The line it has in a list.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Its inputs.
    pub inputs: Value,
    /// Its steps, in the order of the file.
    pub steps: Vec<StepView>,
    /// Its outputs, once it has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Value>,
}
