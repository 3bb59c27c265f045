//! Drafts: workflows with checked keys and values, and with unchecked references.
//!
//! `schema` builds a draft from the tree of the text, `graph` and `check` check its references, and `assemble` turns it into
//! a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use longshore_proto::{Backoff, FaultClass, OnToolError, RetryPolicy, ServerName, ToolName, WorkflowName};

use crate::expr::{Expr, InputUse};
use crate::plan::InputSpec;
use crate::source::{Span, Spanned};
use crate::template::Template;

/// A draft of a workflow. Refused parts are missing, and the report explains them.
#[derive(Debug, Default)]
pub(crate) struct WorkflowDraft {
    pub(crate) name: Option<WorkflowName>,
    pub(crate) description: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) inputs: Vec<InputSpec>,
    /// Names of inputs whose declarations were refused, so that no other check reports them as unknown.
    pub(crate) refused_inputs: BTreeSet<String>,
    pub(crate) default_timeout: Option<Duration>,
    pub(crate) default_retry: RetryDraft,
    pub(crate) timeout: Option<Duration>,
    /// Steps in the order of the file. The members of a group directly follow it.
    pub(crate) steps: Vec<StepDraft>,
    pub(crate) outputs: Vec<(String, Template)>,
    /// References in the outputs.
    pub(crate) references: Vec<Reference>,
}

/// A draft of a step.
#[derive(Debug)]
pub(crate) struct StepDraft {
    /// Span of the first key.
    pub(crate) span: Span,
    pub(crate) id: Option<Spanned<String>>,
    pub(crate) name: Option<String>,
    pub(crate) parent: Option<usize>,
    /// Step above this one in the same list. `None` for members of a `parallel` group.
    pub(crate) previous: Option<usize>,
    pub(crate) needs: Option<Vec<Spanned<String>>>,
    pub(crate) condition: Option<Spanned<Expr>>,
    pub(crate) continue_on_error: bool,
    pub(crate) kind: StepKindDraft,
    pub(crate) references: Vec<Reference>,
}

impl StepDraft {
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_ref().map(|id| id.value.as_str())
    }

    /// Returns the span to underline for a problem of the whole step.
    pub(crate) fn label_span(&self) -> Span {
        self.id.as_ref().map_or(self.span, |id| id.span)
    }
}

/// A draft of the kind of a step.
#[derive(Debug)]
pub(crate) enum StepKindDraft {
    Call(Box<CallDraft>),
    Set(Template),
    Parallel {
        members: Vec<usize>,
        timeout: Option<Duration>,
    },
    /// The kind was refused, which the report explains. References to the step are not reported in addition.
    Refused,
}

/// A draft of a call with a valid server and tool.
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

/// A draft of `retry`. Missing parts are taken from `defaults`.
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
    /// Returns the policy, with missing parts from `base`.
    pub(crate) fn over(&self, base: RetryPolicy) -> RetryPolicy {
        let delay = self.delay.unwrap_or(base.delay);
        RetryPolicy {
            attempts: self.attempts.unwrap_or(base.attempts),
            delay,
            backoff: self.backoff.unwrap_or(base.backoff),
            // A `delay` that is longer than the default `max-delay` raises it.
            max_delay: self.max_delay.unwrap_or_else(|| base.max_delay.max(delay)),
            jitter: self.jitter.unwrap_or(base.jitter),
            errors: self.errors.clone().unwrap_or(base.errors),
        }
    }
}

/// A reference to a step or an input in an expression.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) span: Span,
    pub(crate) to: ReferenceTarget,
}

/// The target of a reference.
#[derive(Clone, Debug)]
pub(crate) enum ReferenceTarget {
    Input {
        name: String,
        /// True in a place where the worker inserts the value of a secret.
        takes_secret: bool,
    },
    /// A use of inputs that is checked against their declared types.
    Use(InputUse),
    /// A step. `field` is `None` if the step is used as a whole.
    Step { id: String, field: Option<Spanned<String>> },
}
