//! What keeps a step from running: a failure before it, or its own condition.

use longshore_workflow::{Expr, Plan, StepIndex};

use super::Run;

/// Whether a step of this group (or of the whole run, at the top) has failed with nothing to handle it, here or in
/// the groups around it.
pub(super) fn failed_within(run: &Run, plan: &Plan, group: Option<StepIndex>) -> bool {
    let here = plan
        .steps
        .iter()
        .zip(&run.steps)
        .any(|(step, state)| step.parent == group && state.has_failed() && !step.continue_on_error);
    here || match group {
        Some(index) => failed_within(run, plan, plan.step(index).and_then(|step| step.parent)),
        None => run.error.is_some(),
    }
}

/// Which failure keeps the steps of a group (or of the whole run, at the top) from running.
pub(super) fn failure_before(run: &Run, plan: &Plan, group: Option<StepIndex>) -> String {
    let here = plan
        .steps
        .iter()
        .zip(&run.steps)
        .find(|(step, state)| step.parent == group && state.has_failed() && !step.continue_on_error);
    match (here, group) {
        (Some((_, state)), _) => format!("`{}` {}", state.path, state.status),
        (None, Some(index)) => failure_before(run, plan, plan.step(index).and_then(|step| step.parent)),
        (None, None) => match run.error.as_ref().and_then(|error| error.step.as_ref()) {
            Some(path) => format!("`{path}` failed"),
            None => "the run failed".to_owned(),
        },
    }
}

/// Characters of an expression that a reason repeats.
const REASON_CHARS: usize = 200;

/// Says that the condition of a step is false.
pub(super) fn is_false(expr: &Expr) -> String {
    let source = expr.source();
    match source.char_indices().nth(REASON_CHARS) {
        Some((cut, _)) => format!("`if: {}…` is false", source.get(..cut).unwrap_or_default()),
        None => format!("`if: {source}` is false"),
    }
}
