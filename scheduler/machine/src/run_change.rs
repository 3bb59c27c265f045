//! Change of a run by one record, for updates and metrics. No decision depends on it.

use longshore_proto::RunId;
use longshore_workflow::StepIndex;

/// Changes of a run by one or several records.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunChange {
    /// The run.
    pub run: RunId,
    /// The run started.
    pub started: bool,
    /// The status of the run itself changed after its start, or the run ended.
    pub status_changed: bool,
    /// Steps whose status changed, in plan order.
    pub steps: Vec<StepIndex>,
}

impl RunChange {
    /// Returns true if the run itself started or changed its status, and false if only steps changed.
    pub const fn concerns_run(&self) -> bool {
        self.started || self.status_changed
    }

    /// Adds a later change of the same run to this one.
    pub fn merge(&mut self, later: &Self) {
        self.started |= later.started;
        self.status_changed |= later.status_changed;
        self.steps.extend(&later.steps);
        self.steps.sort_unstable();
        self.steps.dedup();
    }
}
