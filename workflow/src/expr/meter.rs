//! The meter, which limits the work of expressions.
//!
//! The crate `cel` has no limit of work: nested loops over large lists, or repeated concatenation, could take minutes and
//! gigabytes. So `bind` transforms the tree: every operation that loops, copies or compares first calls a function that
//! charges the meter, which is passed as the argument `@meter`.

use std::any::Any;

use cel::ExecutionError;
use cel::common::types::{CelList, CelMap, CelOptional, CelString, Type};
use cel::common::value::{StaticVal, Val};
use serde_json::Value;

use super::patterns::CompiledPatterns;
use super::units::RemainingUnits;

/// Units of work for the expressions of one step. A unit is at most 100 ns of work in a release build, so a step takes at
/// most a second and some hundred megabytes of memory. 1,000 steps with four usual expressions each take about a tenth of the
/// units. Both numbers are measured, and documented in docs/language.md.
const UNITS: u64 = 10_000_000;

/// Bytes of text for one unit of work.
const BYTES_PER_UNIT: usize = 64;

static TYPE: Type = Type::new_unspecified_type("longshore.meter");

/// The meter of one budget.
#[derive(Debug)]
pub(super) struct WorkMeter {
    left: RemainingUnits,
    patterns: CompiledPatterns,
}

impl WorkMeter {
    pub(super) fn new() -> Self {
        Self { left: RemainingUnits::new(UNITS), patterns: CompiledPatterns::default() }
    }

    pub(super) fn with_units(units: u64) -> Self {
        Self { left: RemainingUnits::new(units), ..Self::new() }
    }

    /// Charges units. Fails if fewer are left, and from then on always.
    pub(super) fn charge(&self, units: u64) -> Result<(), ExecutionError> {
        self.left.charge(units)
    }

    /// Charges units if enough are left. Returns false otherwise, and charges none.
    pub(super) fn charge_if_affordable(&self, units: u64) -> bool {
        self.left.get() > units && self.charge(units).is_ok()
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    #[cfg(test)]
    pub(super) fn spent(&self) -> u64 {
        UNITS - self.left.get()
    }

    /// Returns true if a text matches a pattern anywhere.
    pub(super) fn matches(&self, text: &str, pattern: &str) -> Result<bool, ExecutionError> {
        self.patterns.matches(&self.left, text, pattern)
    }
}

impl Val for WorkMeter {
    fn get_type(&self) -> &Type {
        &TYPE
    }

    fn cel_type() -> &'static Type {
        &TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        // The trait requires this. The meter is only an argument of functions of this crate, which do not copy it.
        let left = RemainingUnits::new(self.left.get());
        Box::new(Self { left, patterns: CompiledPatterns::default() })
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for WorkMeter {}

pub(super) fn of_text(text: &str) -> u64 {
    1 + (text.len() / BYTES_PER_UNIT) as u64
}

/// Returns the cost of copying or comparing a value.
pub(super) fn of_val(value: &dyn Val) -> u64 {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        of_text(text.inner())
    } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        1 + list.inner().iter().map(|item| of_val(item.as_ref())).sum::<u64>()
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        1 + map.inner().iter().map(|(key, item)| of_val(key.inner()) + of_val(item.as_ref())).sum::<u64>()
    } else if let Some(optional) = value.downcast_ref::<CelOptional<'_>>() {
        1 + optional.option().map_or(0, of_val)
    } else {
        1
    }
}

/// Returns the cost of converting a JSON value for the evaluator.
pub(super) fn of_json(value: &Value) -> u64 {
    match value {
        Value::String(text) => of_text(text),
        Value::Array(items) => 1 + items.iter().map(of_json).sum::<u64>(),
        Value::Object(entries) => {
            1 + entries.iter().map(|(key, item)| of_text(key) + of_json(item)).sum::<u64>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}
