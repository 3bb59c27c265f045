//! A workflow whose keys and values are understood, and whose references are not yet checked.
//!
//! `shape` makes it from the tree of the text; `graph` and `check` look at how its parts hang together; `assemble`
//! turns it into a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use longshore_proto::{Backoff, FaultClass, OnToolError, RetryPolicy, ServerName, ToolName, WorkflowName};

use crate::expr::{Expr, InputUse};
use crate::plan::InputSpec;
use crate::source::{Placed, Span};
use crate::template::Template;

/// What stands in a file. A part that is refused is missing here, and the report says why.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) name: Option<WorkflowName>,
    pub(crate) description: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) inputs: Vec<InputSpec>,
    /// The names of inputs that were declared and refused, so that nothing else complains about them.
    pub(crate) refused_inputs: BTreeSet<String>,
    pub(crate) default_timeout: Option<Duration>,
    pub(crate) default_retry: RetryDraft,
    pub(crate) timeout: Option<Duration>,
    /// In the order of the file; members of a group stand right behind it.
    pub(crate) steps: Vec<StepDraft>,
    pub(crate) outputs: Vec<(String, Template)>,
    /// What the outputs refer to.
    pub(crate) references: Vec<Reference>,
}

/// One step.
#[derive(Debug)]
pub(crate) struct StepDraft {
    /// Where it begins.
    pub(crate) span: Span,
    pub(crate) id: Option<Placed<String>>,
    pub(crate) name: Option<String>,
    pub(crate) parent: Option<usize>,
    /// The step above it in the same list; members of a `parallel` group have none.
    pub(crate) previous: Option<usize>,
    pub(crate) needs: Option<Vec<Placed<String>>>,
    pub(crate) condition: Option<Expr>,
    pub(crate) continue_on_error: bool,
    pub(crate) kind: KindDraft,
    pub(crate) references: Vec<Reference>,
}

impl StepDraft {
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_ref().map(|id| id.value.as_str())
    }

    /// The place to point at when the step as a whole is meant.
    pub(crate) fn place(&self) -> Span {
        self.id.as_ref().map_or(self.span, |id| id.span)
    }
}

/// What a step does.
#[derive(Debug)]
pub(crate) enum KindDraft {
    Call(Box<CallDraft>),
    Set(Template),
    Parallel {
        members: Vec<usize>,
        timeout: Option<Duration>,
    },
    /// Refused, with a reason in the report. Nobody complains about what refers to it.
    Refused,
}

/// A call whose server and tool are known.
#[derive(Debug)]
pub(crate) struct CallDraft {
    pub(crate) server: ServerName,
    pub(crate) tool: ToolName,
    pub(crate) with: Template,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_timeout: Option<Duration>,
    pub(crate) retry: Option<RetryDraft>,
    pub(crate) idempotency_key: Option<Template>,
    pub(crate) on_tool_error: OnToolError,
}

/// What a `retry` says; what it leaves out comes from `defaults`.
#[derive(Clone, Debug, Default)]
pub(crate) struct RetryDraft {
    pub(crate) attempts: Option<u32>,
    pub(crate) delay: Option<Duration>,
    pub(crate) max_delay: Option<Duration>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) jitter: Option<bool>,
    pub(crate) errors: Option<BTreeSet<FaultClass>>,
}

impl RetryDraft {
    /// The policy that results where `base` says what is left out.
    pub(crate) fn over(&self, base: RetryPolicy) -> RetryPolicy {
        let delay = self.delay.unwrap_or(base.delay);
        RetryPolicy {
            attempts: self.attempts.unwrap_or(base.attempts),
            delay,
            backoff: self.backoff.unwrap_or(base.backoff),
            // A delay that is longer than the usual limit is meant, not cut.
            max_delay: self.max_delay.unwrap_or_else(|| base.max_delay.max(delay)),
            jitter: self.jitter.unwrap_or(base.jitter),
            errors: self.errors.clone().unwrap_or(base.errors),
        }
    }
}

/// A mention of a step or an input in an expression.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) span: Span,
    pub(crate) to: Referent,
}

/// What is mentioned.
#[derive(Clone, Debug)]
pub(crate) enum Referent {
    Input {
        name: String,
        /// Whether this is a place where the worker puts the value of a secret.
        takes_secret: bool,
    },
    /// Inputs whose declared types say what comes of their use.
    Use(InputUse),
    /// A step, and the field of it that is read, unless it is used whole.
    Step { id: String, field: Option<Placed<String>> },
}
