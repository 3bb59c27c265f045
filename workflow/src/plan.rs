//! Plans: workflows that have been checked and compiled. No part of a plan needs parsing.

use std::collections::BTreeMap;
use std::time::Duration;

use longshore_proto::{
    Digest, FaultClass, OnToolError, RepeatSafety, RetryPolicy, ServerName, StepPath, ToolName, WorkflowName,
    WorkflowRef,
};
use serde_json::Value;

use crate::{Expr, Template};

/// A compiled workflow.
#[derive(Debug)]
pub struct Plan {
    /// Name of the workflow.
    pub name: WorkflowName,
    /// Digest of its text.
    pub digest: Digest,
    /// Description by its author.
    pub description: Option<String>,
    /// Labels, for filters of lists.
    pub labels: BTreeMap<String, String>,
    /// Declared inputs, in the order of the file.
    pub inputs: Vec<InputSpec>,
    /// Time limit of a run.
    pub timeout: Option<Duration>,
    /// Steps, in the order of the file. The members of a group directly follow it.
    pub steps: Vec<Step>,
    /// Outputs of a succeeded run, in the order of the file.
    pub outputs: Vec<(String, Template)>,
    /// Indices of the steps by path.
    pub(crate) by_path: BTreeMap<String, StepIndex>,
}

/// The index of a step in [`Plan::steps`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StepIndex(pub usize);

/// A step of a plan.
#[derive(Debug)]
pub struct Step {
    /// Id of the step. If it has none, `#n` with its number in the file, counted from 1 over all steps.
    pub path: StepPath,
    /// Name for display.
    pub name: Option<String>,
    /// Group that the step is a member of.
    pub parent: Option<StepIndex>,
    /// Steps that have to end before this step begins. For a member of a group, other members of the group; the group
    /// begins before its members in any case.
    pub after: Vec<StepIndex>,
    /// Steps that have this one in `after`.
    pub followers: Vec<StepIndex>,
    /// Condition under which the step runs.
    pub condition: Condition,
    /// Kind of the step.
    pub kind: StepKind,
    /// True if a failure of the step does not fail the run.
    pub continue_on_error: bool,
}

/// The condition of a step, evaluated when all steps that it waits for have ended.
#[derive(Debug)]
pub enum Condition {
    /// The step has no `if`: it runs unless a step has failed or the run was cancelled.
    Success,
    /// The step has an `if` that does not refer to the status of the run: as [`Condition::Success`], and the expression
    /// must be true.
    SuccessAnd(Expr),
    /// The step has an `if` with `success()`, `failure()`, `always()` or `cancelled()`: the expression alone decides.
    Explicit(Expr),
}

/// The kind of a step.
#[derive(Debug)]
pub enum StepKind {
    /// Calls a tool.
    Call(Box<CallStep>),
    /// Computes values for later steps.
    Set(Template),
    /// Starts its members at the same time, and ends when all of them have ended.
    Parallel {
        /// Members, in the order of the file.
        members: Vec<StepIndex>,
        /// Time limit of the group.
        timeout: Option<Duration>,
    },
}

/// A call of a tool.
#[derive(Debug)]
pub struct CallStep {
    /// Name of the server in the worker's configuration.
    pub server: ServerName,
    /// Name of the tool.
    pub tool: ToolName,
    /// Arguments, which render to an object. The only template into which workers insert secrets.
    pub with: Template,
    /// Time limit of an attempt without an answer and without progress.
    pub timeout: Duration,
    /// Time limit of an attempt, independent of progress. At least `timeout`.
    pub max_timeout: Duration,
    /// Retry policy of the step.
    pub retry: RetryPolicy,
    /// Safety of repeating the call. It is safe if the step itself has an `idempotency-key`, or a `retry` of more than one
    /// attempt.
    pub safety: RepeatSafety,
    /// Idempotency key of the step. `None` if it is derived from run and step.
    pub idempotency_key: Option<Template>,
    /// Treatment of a result with `isError: true`.
    pub on_tool_error: OnToolError,
    /// True if an expression of the plan reads the step's `content`.
    pub keep_content: bool,
}

/// The type of an input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InputType {
    /// Text.
    String,
    /// A number.
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

/// The declared type of the items of a list.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ItemSpec {
    /// Type of an item. `None` allows all.
    pub kind: Option<InputType>,
    /// Type of the items of an item that is a list itself. `None` allows all.
    pub items: Option<Box<Self>>,
}

/// The declaration of an input.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSpec {
    /// Name of the input.
    pub name: String,
    /// Type of the input. `None` allows all.
    pub kind: Option<InputType>,
    /// Type of the items of a list. `None` allows all.
    pub items: Option<ItemSpec>,
    /// True if a submit has to contain the input.
    pub required: bool,
    /// Value of the input if a submit does not contain it.
    pub default: Option<Value>,
    /// Description of the input.
    pub description: Option<String>,
    /// True if the value names a secret of the workers, which is inserted right before a call.
    pub secret: bool,
}

impl Plan {
    /// Builds a plan of steps that refer to each other by index, for benchmarks and property tests: they need plans that no text
    /// has, such as a group of 10,000 steps. The digest is that of the name.
    pub fn of_steps(name: WorkflowName, steps: Vec<Step>) -> Self {
        let plan = Self {
            digest: Digest::of(name.as_str().as_bytes()),
            name,
            description: None,
            labels: BTreeMap::new(),
            inputs: Vec::new(),
            timeout: None,
            steps,
            outputs: Vec::new(),
            by_path: BTreeMap::new(),
        };
        plan.linked()
    }

    /// Adds what follows from the steps: the index by path, and the followers of each step.
    pub(crate) fn linked(mut self) -> Self {
        let paths = self.steps.iter().enumerate();
        self.by_path = paths.map(|(number, step)| (step.path.to_string(), StepIndex(number))).collect();
        for number in 0..self.steps.len() {
            let before = self.steps.get(number).map(|step| step.after.clone()).unwrap_or_default();
            for StepIndex(before) in before {
                if let Some(step) = self.steps.get_mut(before) {
                    step.followers.push(StepIndex(number));
                }
            }
        }
        self
    }

    /// Returns the name and the digest of the workflow.
    pub fn reference(&self) -> WorkflowRef {
        WorkflowRef { name: self.name.clone(), digest: self.digest }
    }

    /// Returns true if there is a secret input of this name.
    pub fn is_secret(&self, input: &str) -> bool {
        self.inputs.iter().any(|spec| spec.secret && spec.name == input)
    }

    /// Returns the step at an index.
    pub fn step(&self, index: StepIndex) -> Option<&Step> {
        self.steps.get(index.0)
    }

    /// Returns the index of the step with a path.
    pub fn find(&self, path: &StepPath) -> Option<StepIndex> {
        self.find_id(path.as_str())
    }

    /// Returns the index of the step with an id.
    pub fn find_id(&self, id: &str) -> Option<StepIndex> {
        self.by_path.get(id).copied()
    }

    /// Returns the groups around a step, from the inside out.
    pub fn groups_around(&self, step: &Step) -> impl Iterator<Item = StepIndex> {
        std::iter::successors(step.parent, |group| self.step(*group).and_then(|step| step.parent))
    }
}

/// The fault classes that a workflow may name in `retry.errors`. The word `any` means all of them.
pub const RETRYABLE: [FaultClass; 5] = [
    FaultClass::Timeout,
    FaultClass::Unavailable,
    FaultClass::RateLimited,
    FaultClass::ToolError,
    FaultClass::ProtocolError,
];
