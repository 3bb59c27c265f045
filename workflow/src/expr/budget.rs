//! The work that the expressions of one record of the log may do together.

use super::meter::Meter;

/// The budget of one record, shared by all expressions that are evaluated while the record is applied.
///
/// It is counted in units that depend on the expressions and their values only, and never on measured time: the same
/// record spends the same on every machine and in every replay. Once it is spent, each further expression of the record
/// fails.
#[derive(Debug)]
pub struct WorkBudget(Meter);

impl WorkBudget {
    /// A budget of which nothing is spent.
    #[expect(clippy::new_without_default, reason = "an implicit budget would be one for each expression")]
    pub fn new() -> Self {
        Self(Meter::new())
    }

    /// A smaller budget, so that tests spend it sooner.
    #[cfg(test)]
    pub(super) fn with_units(units: u64) -> Self {
        Self(Meter::with_units(units))
    }

    pub(super) const fn meter(&self) -> &Meter {
        &self.0
    }
}
