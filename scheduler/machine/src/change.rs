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
    /// Whether it has turned or ended.
    pub turned: bool,
    /// Those of its steps that do, in their order.
    pub steps: Vec<StepIndex>,
}

impl Change {
    /// Whether the run itself stands elsewhere, and not only some of its steps.
    pub const fn is_of_run(&self) -> bool {
        self.began || self.turned
    }

    /// This and a later change of the same run, as one.
    pub fn merge(&mut self, later: &Self) {
        self.began |= later.began;
        self.turned |= later.turned;
        self.steps.extend(&later.steps);
        self.steps.sort_unstable();
        self.steps.dedup();
    }
}
