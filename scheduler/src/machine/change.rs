//! What a record changed in a run, for whoever looks at it: never decides anything.

use longshore_proto::RunId;
use longshore_workflow::StepIndex;

/// What stands elsewhere now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// The run.
    pub run: RunId,
    /// Whether it has begun.
    pub began: bool,
    /// Whether the run itself does: it has begun, turned, or ended.
    pub status: bool,
    /// Those of its steps that do, in their order.
    pub steps: Vec<StepIndex>,
}

/// How far a record turned a run itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// It has begun.
    Began,
    /// It has turned or ended.
    Turned,
    /// It stands where it stood.
    Same,
}

impl Change {
    /// What a record changed.
    pub(super) fn new(run: RunId, turn: Turn, steps: Vec<StepIndex>) -> Self {
        Self { run, began: turn == Turn::Began, status: turn != Turn::Same, steps }
    }

    /// This and a later change of the same run, as one.
    pub(crate) fn merge(&mut self, later: &Self) {
        self.began |= later.began;
        self.status |= later.status;
        self.steps.extend(&later.steps);
        self.steps.sort_unstable();
        self.steps.dedup();
    }
}
