//! Units of work that are left of a budget.

use std::sync::atomic::{AtomicU64, Ordering};

use cel::ExecutionError;

/// The error of an evaluation whose units are spent.
pub(super) const SPENT: &str = "the expression does too much work, alone or together with those that were evaluated \
    with it (one event may cost 10 million units); give it less data, or let a tool do the work";

/// The units that are left. Threads may share them.
#[derive(Debug)]
pub(super) struct UnitsLeft(AtomicU64);

impl UnitsLeft {
    pub(super) const fn new(units: u64) -> Self {
        Self(AtomicU64::new(units))
    }

    /// Returns the number of units.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Spends units, or says that there are not enough. Once spent, it stays so.
    pub(super) fn charge(&self, units: u64) -> Result<(), ExecutionError> {
        let left = self.get().saturating_sub(units);
        self.0.store(left, Ordering::Relaxed);
        if left == 0 { Err(ExecutionError::function_error("meter", SPENT)) } else { Ok(()) }
    }
}
