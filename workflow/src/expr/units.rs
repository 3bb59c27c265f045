//! The remaining units of work of a budget.

use std::sync::atomic::{AtomicU64, Ordering};

use cel::ExecutionError;

/// The error of an evaluation that exhausts the budget.
pub(super) const SPENT: &str = "the expression does too much work, alone or together with those that were evaluated \
    with it (one event may cost 10 million units); give it less data, or let a tool do the work";

/// A counter of remaining units, which threads may share.
#[derive(Debug)]
pub(super) struct RemainingUnits(AtomicU64);

impl RemainingUnits {
    pub(super) const fn new(units: u64) -> Self {
        Self(AtomicU64::new(units))
    }

    /// Returns the remaining units.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Charges units. Fails if fewer are left, and from then on always.
    pub(super) fn charge(&self, units: u64) -> Result<(), ExecutionError> {
        let left = self.get().saturating_sub(units);
        self.0.store(left, Ordering::Relaxed);
        if left == 0 { Err(ExecutionError::function_error("meter", SPENT)) } else { Ok(()) }
    }
}
