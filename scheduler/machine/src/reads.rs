//! Steps whose values an evaluation reads.

use std::collections::BTreeSet;

use longshore_workflow::{Condition, Plan, ReadSet, StepIndex, StepKind, Template};

/// Returns the steps whose values the expressions of a step read, or the outputs of the run, with the members of groups.
pub(super) fn values_read(plan: &Plan, step: Option<StepIndex>) -> BTreeSet<StepIndex> {
    let reads = match step {
        Some(index) => plan.step(index).map(step_reads).unwrap_or_default(),
        None => plan.outputs.iter().map(|(_, output)| output.reads()).collect(),
    };
    let mut found = BTreeSet::new();
    for id in reads.iter().flat_map(|reads| reads.steps.keys()) {
        add_with_members(plan, plan.find_id(id), &mut found);
    }
    found
}

/// Adds a step, and its members at any depth: the output of a group consists of theirs.
fn add_with_members(plan: &Plan, index: Option<StepIndex>, found: &mut BTreeSet<StepIndex>) {
    let Some(index) = index.filter(|index| found.insert(*index)) else { return };
    if let Some(StepKind::Parallel { members, .. }) = plan.step(index).map(|step| &step.kind) {
        members.iter().for_each(|member| add_with_members(plan, Some(*member), found));
    }
}

fn step_reads(step: &longshore_workflow::Step) -> Vec<ReadSet> {
    let condition = match &step.condition {
        Condition::Success => None,
        Condition::SuccessAnd(expr) | Condition::Explicit(expr) => Some(expr.reads().clone()),
    };
    let body = match &step.kind {
        StepKind::Call(call) => {
            vec![Some(call.with.reads()), call.idempotency_key.as_ref().map(Template::reads)]
        }
        StepKind::Set(values) => vec![Some(values.reads())],
        StepKind::Parallel { .. } => Vec::new(),
    };
    condition.into_iter().chain(body.into_iter().flatten()).collect()
}
