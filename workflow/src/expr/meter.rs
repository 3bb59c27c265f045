//! How much work one evaluation may do.
//!
//! The `cel` crate has no budget: two loops in each other over large lists, or a text added to itself, could take
//! minutes and gigabytes. So the tree is changed before it runs (see `bind`): whatever loops, copies or compares calls
//! one of the functions here first, which charges for it. The meter reaches them as an argument, `@meter`.

use std::any::Any;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::ExecutionError;
use cel::common::types::{CelList, CelMap, CelOptional, CelString, Type};
use cel::common::value::{StaticVal, Val};
use regex::Regex;
use serde_json::Value;

/// How many units an evaluation may spend: a quarter of a second of work in a release build, and some hundred
/// megabytes of memory at worst.
const UNITS: u64 = 5_000_000;

/// Bytes of text that cost as much as one value.
const BYTES_PER_UNIT: usize = 64;

/// What compiling a pattern costs: it takes about as long as looking at this many values.
const PATTERN_UNITS: u64 = 20_000;

/// The memory a compiled pattern may take. The crate's own bound is 10 MiB, far beyond what a condition needs.
const PATTERN_BYTES: usize = 256 * 1024;

/// What an evaluation says when its units are spent.
pub(super) const SPENT: &str =
    "the expression does too much work; split it into several `set` steps, or let a tool do it";

static TYPE: Type = Type::new_unspecified_type("longshore.meter");

/// The units of one evaluation.
#[derive(Debug)]
pub(super) struct Meter {
    left: AtomicU64,
    /// The pattern used last: in a loop it is nearly always the same.
    pattern: Mutex<Option<Regex>>,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { left: AtomicU64::new(UNITS), pattern: Mutex::new(None) }
    }

    /// Spends units, or says that there are not enough. Once spent, it stays so.
    pub(super) fn charge(&self, units: u64) -> Result<(), ExecutionError> {
        let left = self.left.load(Ordering::Relaxed).saturating_sub(units);
        self.left.store(left, Ordering::Relaxed);
        if left == 0 { Err(ExecutionError::function_error("meter", SPENT)) } else { Ok(()) }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Whether a text matches a pattern anywhere.
    pub(super) fn matches(&self, text: &str, pattern: &str) -> Result<bool, ExecutionError> {
        let refuse = |error: &dyn std::fmt::Display| ExecutionError::function_error("matches", error);
        let mut last = self.pattern.lock().map_err(|error| refuse(&error))?;
        if last.as_ref().is_none_or(|regex| regex.as_str() != pattern) {
            self.charge(PATTERN_UNITS)?;
            let regex = regex::RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
            *last = Some(regex.map_err(|error| refuse(&error))?);
        }
        Ok(last.as_ref().is_some_and(|regex| regex.is_match(text)))
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
        Box::new(Self { left: AtomicU64::new(self.left.load(Ordering::Relaxed)), pattern: Mutex::new(None) })
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Meter {}

fn of_text(text: &str) -> u64 {
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
