//! Budgets of work for expressions.

use super::meter::WorkMeter;

/// Units of work for the expressions of one record: at most 0.1 s of work in a release build, because a record is applied on a
/// thread that has other work too.
const RECORD_UNITS: u64 = 1_000_000;

/// A budget of work, shared by all expressions that are evaluated with it.
///
/// Work is counted in units that depend on expressions and values only, not on measured time. So it costs the same on every
/// machine and in every replay. When the budget is exhausted, all further expressions fail.
#[derive(Debug)]
pub struct WorkBudget(WorkMeter);

impl WorkBudget {
    /// Creates the budget of one step, or of the outputs of a run.
    #[expect(clippy::new_without_default, reason = "an implicit budget would be one for each expression")]
    pub fn new() -> Self {
        Self(WorkMeter::new())
    }

    /// Creates the budget of one log record, which is a tenth of that of a step.
    pub fn of_record() -> Self {
        Self(WorkMeter::with_units(RECORD_UNITS))
    }

    /// Returns true if the budget is exhausted: an expression failed for that reason.
    pub fn is_spent(&self) -> bool {
        self.0.is_spent()
    }

    /// Creates a smaller budget, for tests.
    #[cfg(test)]
    pub(super) fn with_units(units: u64) -> Self {
        Self(WorkMeter::with_units(units))
    }

    pub(super) const fn meter(&self) -> &WorkMeter {
        &self.0
    }
}
