//! Descriptions of the steps of a plan, which a run keeps so that it can be shown without its plan.

use std::sync::Arc;

use longshore_proto::StepPath;
use longshore_workflow::{Plan, StepKind};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

/// The descriptions of all steps of a plan, in its order. Runs of a plan share them in memory.
pub(super) type Descriptions = Arc<[StepDescription]>;

/// Describes the steps of a plan.
pub(super) fn of(plan: &Plan) -> Descriptions {
    plan.steps.iter().map(|step| describe(plan, step)).collect()
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

/// Serializes descriptions as a list.
pub(super) fn write<S: Serializer>(descriptions: &Descriptions, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(descriptions.iter())
}

/// Deserializes descriptions from a list.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Descriptions, D::Error> {
    Vec::deserialize(deserializer).map(Descriptions::from)
}
