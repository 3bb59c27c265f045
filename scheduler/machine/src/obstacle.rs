//! Reasons for which a step does not run: a failure before it, or its own condition.

use std::fmt;

use longshore_proto::{StepPath, StepStatus, truncate};
use longshore_workflow::{Expr, Plan, StepIndex};

use super::Run;
use super::run::RunError;

/// A failure that `continue-on-error` does not cover.
#[derive(Clone, Copy)]
pub(super) enum UnhandledFailure<'r> {
    /// A step failed.
    Step(&'r StepPath, StepStatus),
    /// The run failed: by a step elsewhere, or by its own timeout.
    Run(&'r RunError),
}

/// Returns the failure that keeps the steps of a group (or of the whole run, at the top) from running: one in the group, or
/// in the groups around it.
pub(super) fn failure_within<'r>(
    run: &'r Run,
    plan: &Plan,
    group: Option<StepIndex>,
) -> Option<UnhandledFailure<'r>> {
    let here = run.frame.first_failed(group);
    match (here.and_then(|index| run.path(index).zip(run.step(index))), group) {
        (Some((path, step)), _) => Some(UnhandledFailure::Step(path, step.status)),
        (None, Some(index)) => failure_within(run, plan, plan.step(index).and_then(|step| step.parent)),
        (None, None) => run.error.as_deref().map(UnhandledFailure::Run),
    }
}

impl fmt::Display for UnhandledFailure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(path, StepStatus::Indeterminate) => write!(f, "`{path}` is indeterminate"),
            Self::Step(path, _) => write!(f, "`{path}` failed"),
            Self::Run(RunError { step: Some(path), .. }) => write!(f, "`{path}` failed"),
            Self::Run(RunError { step: None, .. }) => f.write_str("the run failed"),
        }
    }
}

/// Number of characters of an expression that a reason quotes.
const REASON_CHARS: usize = 200;

/// Returns the reason of a step that does not run because its condition is false.
pub(super) fn condition_reason(expr: &Expr) -> String {
    format!("`if: {}` is false", truncate(expr.source(), REASON_CHARS))
}
