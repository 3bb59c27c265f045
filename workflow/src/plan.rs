//! A workflow that has been checked and compiled. Nothing in it can fail to parse.

use std::collections::BTreeMap;
use std::time::Duration;

use longshore_proto::{
    Digest, FaultClass, OnToolError, RepeatSafety, RetryPolicy, ServerName, StepPath, ToolName, WorkflowName,
    WorkflowRef,
};
use serde_json::Value;

use crate::{Expr, Template};

/// A checked workflow.
#[derive(Debug)]
pub struct Plan {
    /// What it calls itself.
    pub name: WorkflowName,
    /// The address of its text.
    pub digest: Digest,
    /// What it is for, in its author's words.
    pub description: Option<String>,
    /// Words to find it by.
    pub labels: BTreeMap<String, String>,
    /// What it takes, in the order of the file.
    pub inputs: Vec<InputSpec>,
    /// The deadline of a whole run.
    pub timeout: Option<Duration>,
    /// Its steps, in the order of the file; members of a group stand right behind it.
    pub steps: Vec<Step>,
    /// What a succeeded run gives, in the order of the file.
    pub outputs: Vec<(String, Template)>,
}

/// The place of a step in [`Plan::steps`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StepIndex(pub usize);

/// One node of the plan.
#[derive(Debug)]
pub struct Step {
    /// Its id, or `#n` with its number in the file, counted from 1 over all steps, when it has none.
    pub path: StepPath,
    /// What people may read instead.
    pub name: Option<String>,
    /// The group it belongs to.
    pub parent: Option<StepIndex>,
    /// The steps that must have ended before it begins. For a member of a group: those within the group; the group
    /// itself begins first in any case.
    pub after: Vec<StepIndex>,
    /// Whether it runs at all.
    pub condition: Condition,
    /// What it does.
    pub kind: StepKind,
    /// Whether the run goes on when it fails.
    pub continue_on_error: bool,
}

/// When a step runs, once everything it waits for has ended.
#[derive(Debug)]
pub enum Condition {
    /// No `if`: when nothing has failed and nobody has cancelled the run.
    Success,
    /// An `if` that does not mention the state of the run: the same, and the expression must be true.
    SuccessAnd(Expr),
    /// An `if` that mentions `success()`, `failure()`, `always()` or `cancelled()`: the expression alone decides.
    Explicit(Expr),
}

/// What a step does.
#[derive(Debug)]
pub enum StepKind {
    /// Calls a tool.
    Call(Box<CallStep>),
    /// Computes values for later steps.
    Set(Template),
    /// Starts its members together, and ends when all of them have.
    Parallel {
        /// The members, in the order of the file.
        members: Vec<StepIndex>,
        /// The deadline of the whole group.
        timeout: Option<Duration>,
    },
}

/// A call of a tool.
#[derive(Debug)]
pub struct CallStep {
    /// The server, by its name in the worker's configuration.
    pub server: ServerName,
    /// The tool.
    pub tool: ToolName,
    /// The arguments, which render to an object. Secrets have their places in here and nowhere else.
    pub with: Template,
    /// The time that each attempt may go on without an answer and without progress.
    pub timeout: Duration,
    /// The time that each attempt may take, whatever progress it reports. At least `timeout`.
    pub max_timeout: Duration,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Whether the call may be repeated when nobody knows if it happened: the step has its own `retry` that allows
    /// more than one attempt, or its own `idempotency-key`.
    pub safety: RepeatSafety,
    /// The step's own key; without one it is derived from run and step.
    pub idempotency_key: Option<Template>,
    /// What `isError: true` means.
    pub on_tool_error: OnToolError,
    /// Whether any expression of the plan reads the step's `content`.
    pub keep_content: bool,
}

/// What an input must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InputType {
    /// Text.
    String,
    /// Any number.
    Number,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// A list.
    Array,
    /// A map.
    Object,
}

/// What each item of a list must be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ItemSpec {
    /// What it must be; anything, if not said.
    pub kind: Option<InputType>,
    /// What the items of an item that is a list must be.
    pub items: Option<Box<Self>>,
}

/// One input of a workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// What it must be; anything, if not said.
    pub kind: Option<InputType>,
    /// What the items of a list must be; anything, if not said.
    pub items: Option<ItemSpec>,
    /// Whether a submit must bring it.
    pub required: bool,
    /// What it is when a submit does not bring it.
    pub default: Option<Value>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether it names a secret of the workers, whose value is put in right before a call.
    pub secret: bool,
}

impl Plan {
    /// Name and content together: what a run is pinned to.
    pub fn reference(&self) -> WorkflowRef {
        WorkflowRef { name: self.name.clone(), digest: self.digest }
    }

    /// Whether there is an input of this name, and it is secret.
    pub fn is_secret(&self, input: &str) -> bool {
        self.inputs.iter().any(|spec| spec.secret && spec.name == input)
    }

    /// The step at an index.
    pub fn step(&self, index: StepIndex) -> Option<&Step> {
        self.steps.get(index.0)
    }
}

/// Which fault classes a workflow may name in `retry.errors`, besides `any`.
pub const RETRYABLE: [FaultClass; 5] = [
    FaultClass::Timeout,
    FaultClass::Unavailable,
    FaultClass::RateLimited,
    FaultClass::ToolError,
    FaultClass::ProtocolError,
];
