//! The failure of a run: the step that failed it, and its fault.

use longshore_proto::{Fault, FaultClass, StepPath};
use longshore_workflow::{Plan, StepIndex, StepKind};

use super::Run;
use super::run::RunError;
use super::step::Step;

/// Records the error of the run if a top-level step failed without `continue-on-error`.
pub(super) fn note_failure(run: &mut Run, plan: &Plan, index: StepIndex) {
    let Some(step) = plan.step(index) else { return };
    let failed = run.step(index).is_some_and(Step::has_failed);
    if step.parent.is_some() || step.continue_on_error || !failed || run.error.is_some() {
        return;
    }
    if let Some((path, fault)) = cause(run, plan, index) {
        run.error = Some(Box::new(RunError { fault, step: Some(path) }));
    }
}

/// Returns the innermost failed step and its fault. A group fails because one of its members did, unless it was stopped.
fn cause(run: &Run, plan: &Plan, index: StepIndex) -> Option<(StepPath, Fault)> {
    let state = run.step(index)?;
    if let StepKind::Parallel { .. } = &plan.step(index)?.kind
        && !state.stopped
        && let Some(member) = run.frame.first_failed(Some(index))
    {
        return cause(run, plan, member);
    }
    let unknown = || Fault::new(FaultClass::Internal, "no reason was recorded");
    Some((run.path(index)?.clone(), state.error().cloned().unwrap_or_else(unknown)))
}
