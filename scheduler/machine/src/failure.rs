//! The failure of a run: the step that failed it, and its fault.

use longshore_proto::{Fault, FaultClass, StepPath};
use longshore_workflow::{Plan, StepIndex, StepKind};

use super::Run;
use super::run::{RunError, Step};

/// Records the error of the run if a top-level step failed without `continue-on-error`.
pub(super) fn note_failure(run: &mut Run, plan: &Plan, index: StepIndex) {
    let Some(step) = plan.step(index) else { return };
    let failed = run.step(index).is_some_and(Step::has_failed);
    if step.parent.is_some() || step.continue_on_error || !failed || run.error.is_some() {
        return;
    }
    if let Some((path, fault)) = cause(run, plan, index) {
        run.error = Some(RunError { fault, step: Some(path) });
    }
}

/// Returns the innermost failed step and its fault. A group fails because one of its members did, unless it was stopped.
fn cause(run: &Run, plan: &Plan, index: StepIndex) -> Option<(StepPath, Fault)> {
    let state = run.step(index)?;
    if let StepKind::Parallel { members, .. } = &plan.step(index)?.kind
        && !state.stopped
        && let Some(member) = first_failed(run, plan, members)
    {
        return cause(run, plan, member);
    }
    let unknown = || Fault::new(FaultClass::Internal, "no reason was recorded");
    Some((state.path.clone(), state.error.clone().unwrap_or_else(unknown)))
}

/// Returns the first member that failed without `continue-on-error`.
pub(super) fn first_failed(run: &Run, plan: &Plan, members: &[StepIndex]) -> Option<StepIndex> {
    members.iter().copied().find(|member| {
        let handled = plan.step(*member).is_some_and(|step| step.continue_on_error);
        !handled && run.step(*member).is_some_and(Step::has_failed)
    })
}
