//! The outline of a plan, which a run keeps so that it can be shown without its plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use longshore_proto::{StepPath, WorkflowRef};
use longshore_workflow::{Plan, StepKind};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The parts of a plan that a run is shown with. In memory, the runs of a plan share them.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct PlanOutline {
    /// The workflow.
    pub(super) workflow: WorkflowRef,
    /// Labels of the workflow.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, String>,
    /// The steps, in the order of the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) steps: Vec<StepDescription>,
}

/// The fixed part of a step, for display.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct StepDescription {
    /// Path of the step in the workflow.
    pub path: StepPath,
    /// Name for display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// Short description: `server/tool`, `set` or `parallel`.
    pub does: String,
    /// Number of groups around the step.
    pub(super) depth: u16,
    /// Attempts that the policy of a call allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) attempt_limit: Option<u32>,
}

impl PlanOutline {
    /// Creates the outline of a workflow whose plan is not known.
    pub(super) const fn unknown(workflow: WorkflowRef) -> Self {
        Self { workflow, labels: BTreeMap::new(), steps: Vec::new() }
    }

    /// Creates the outline of a plan.
    pub(super) fn of(plan: &Plan) -> Self {
        let steps = plan.steps.iter().map(|step| describe(plan, step)).collect();
        Self { workflow: plan.reference(), labels: plan.labels.clone(), steps }
    }
}

fn describe(plan: &Plan, step: &longshore_workflow::Step) -> StepDescription {
    let (does, attempt_limit) = match &step.kind {
        StepKind::Call(call) => (format!("{}/{}", call.server, call.tool), Some(call.retry.attempts)),
        StepKind::Set(_) => ("set".to_owned(), None),
        StepKind::Parallel { .. } => ("parallel".to_owned(), None),
    };
    // The nesting of a text is bounded far below the limit of the type.
    let depth = u16::try_from(plan.groups_around(step).count()).unwrap_or(u16::MAX);
    StepDescription { path: step.path.clone(), name: step.name.clone(), does, depth, attempt_limit }
}

/// Serializes an outline.
pub(super) fn write<S: Serializer>(outline: &Arc<PlanOutline>, serializer: S) -> Result<S::Ok, S::Error> {
    outline.as_ref().serialize(serializer)
}

/// Deserializes an outline.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<PlanOutline>, D::Error> {
    PlanOutline::deserialize(deserializer).map(Arc::new)
}
