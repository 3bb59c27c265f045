//! The budget of work for the expressions of one log record.

use super::meter::WorkMeter;

/// The budget of one record, shared by all expressions that are evaluated while the record is applied.
///
/// Work is counted in units that depend on expressions and values only, not on measured time. So a record costs the same on
/// every machine and in every replay. When the budget is exhausted, all further expressions of the record fail.
#[derive(Debug)]
pub struct WorkBudget(WorkMeter);

impl WorkBudget {
    /// Creates a full budget.
    #[expect(clippy::new_without_default, reason = "an implicit budget would be one for each expression")]
    pub fn new() -> Self {
        Self(WorkMeter::new())
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
