//! How much work the expressions of one record may do.
//!
//! The `cel` crate has no budget: two loops in each other over large lists, or a text added to itself, could take
//! minutes and gigabytes. So the tree is changed before it runs (see `bind`): whatever loops, copies or compares calls
//! one of the functions here first, which charges for it. The meter reaches them as an argument, `@meter`.

use std::any::Any;

use cel::ExecutionError;
use cel::common::types::{CelList, CelMap, CelOptional, CelString, Type};
use cel::common::value::{StaticVal, Val};
use serde_json::Value;

use super::patterns::CompiledPatterns;
use super::units::UnitsLeft;

/// Units that the expressions of one record may spend together. A unit is at most 100 ns of work in a release build, so
/// that a record takes a second at worst, and some hundred megabytes of memory. 1,000 parallel steps that one record
/// starts, each with four ordinary expressions, spend about a tenth. Both are measured, and written down in
/// docs/language.md.
const UNITS: u64 = 10_000_000;

/// Bytes of text that cost as much as one value.
const BYTES_PER_UNIT: usize = 64;

static TYPE: Type = Type::new_unspecified_type("longshore.meter");

/// The units of one record.
#[derive(Debug)]
pub(super) struct Meter {
    left: UnitsLeft,
    patterns: CompiledPatterns,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { left: UnitsLeft::new(UNITS), patterns: CompiledPatterns::default() }
    }

    #[cfg(test)]
    pub(super) fn with_units(units: u64) -> Self {
        Self { left: UnitsLeft::new(units), ..Self::new() }
    }

    /// Spends units, or says that there are not enough. Once spent, it stays so.
    pub(super) fn charge(&self, units: u64) -> Result<(), ExecutionError> {
        self.left.charge(units)
    }

    /// Spends units if there are enough, and nothing otherwise.
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

impl Val for Meter {
    fn get_type(&self) -> &Type {
        &TYPE
    }

    fn cel_type() -> &'static Type {
        &TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        // Nothing copies the meter: it is only ever an argument of our own functions.
        let left = UnitsLeft::new(self.left.get());
        Box::new(Self { left, patterns: CompiledPatterns::default() })
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Meter {}

pub(super) fn of_text(text: &str) -> u64 {
    1 + (text.len() / BYTES_PER_UNIT) as u64
}

/// What copying or comparing a value costs.
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

/// What turning a JSON value into one of the evaluator's costs.
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
