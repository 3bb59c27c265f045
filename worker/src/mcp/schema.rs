//! The JSON Schema of a tool's arguments, compiled and applied within bounds.
//!
//! The server chooses the schema, and a check can take time exponential in its size: twenty definitions that each name the next
//! one twice cause a million checks. Neither a deadline nor a signal ends a computing thread. So the cost of compiling and of each
//! check is counted first. Beyond the bounds, arguments are not checked here but by the server only.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::{PatternOptions, Validator};
use longshore_proto::{PATTERN_LIMIT_BYTES, pattern_weight, wide_case_folds};
use serde_json::Value;

use super::check_cost::CheckCost;
use super::compile_cost::{CompileCost, CountError};

/// The size up to which schemas are compiled. Time and memory grow in proportion.
const MOST_SCHEMA_BYTES: usize = 256 * 1024;
/// Maximum number of patterns of one schema. Compiling one takes up to 10 ms.
const MOST_PATTERNS: usize = 200;
/// Maximum number of parts of patterns that are case-folded over much of Unicode. Parsing one takes up to 20 ms.
const MOST_WIDE_FOLDS: u64 = 20;
/// Maximum number of levels of the recursion that compiles a schema: different references times the deepest nesting.
const MOST_COMPILED_LEVELS: usize = 4_096;
/// Maximum number of units (see [`CompileCost`]) of compiling: two seconds in a debug build, and 50 MB. Large schemas
/// take some thousands.
const MOST_COMPILED_UNITS: u64 = 50_000;
/// Stack for compiling: 2 KiB a level in a release build, and five times as much in a debug build.
const COMPILE_STACK_BYTES: usize = 64 << 20;
/// Stack for a check of [`DEEPEST_CHECK`] levels.
const CHECK_STACK_BYTES: usize = 16 << 20;
/// Maximum number of levels of the recursion that checks arguments.
const DEEPEST_CHECK: usize = 200;
/// Maximum number of levels of a check on the stack of the caller.
const DEEPEST_SHORT_CHECK: usize = 32;
/// Maximum number of units (see [`CheckCost`]) of one check: about a tenth of a second.
const MOST_UNITS: u64 = 1_000_000;
/// Maximum number of units of a check on the thread of the caller: half a millisecond. Most checks are shorter.
const MOST_SHORT_UNITS: u64 = 5_000;
/// Maximum number of mistakes that are named when arguments do not fit.
const MOST_MISTAKES: usize = 5;

/// A compiled schema.
#[derive(Debug)]
pub(super) struct CompiledSchema {
    validator: Validator,
    /// Each pattern of the schema with its weight.
    patterns: BTreeMap<String, u64>,
}

/// Reason why arguments are checked by the server only.
#[derive(Debug, thiserror::Error)]
pub(super) enum UncheckedReason {
    /// The schema is invalid, or refers to something outside of itself.
    #[error("the schema cannot be used: {0}")]
    Invalid(String),
    /// The schema is beyond a bound.
    #[error("the schema has more than {0}")]
    BeyondBound(String),
    /// These arguments would take too long to check.
    #[error("checking these arguments against the schema would take too long")]
    TooMuchWork,
}

impl From<CountError> for UncheckedReason {
    fn from(why: CountError) -> Self {
        match why {
            CountError::BeyondLimit => {
                Self::BeyondBound(format!("{MOST_COMPILED_UNITS} parts, with its references written out"))
            }
            CountError::Reference(reference) => {
                Self::Invalid(format!("its reference `{reference}` is no JSON pointer to a part of it"))
            }
        }
    }
}

/// Descriptions of the mistakes in arguments. They repeat texts of the schema.
pub(super) type ArgumentMistakes = Vec<String>;

impl CompiledSchema {
    /// Compiles a schema, in a second at most. Fetches nothing. The compiled patterns match in linear time.
    pub(super) fn compile(schema: &Value) -> Result<Self, UncheckedReason> {
        let shape = SchemaShape::of(schema)?;
        let validator = stacker::maybe_grow(COMPILE_STACK_BYTES, COMPILE_STACK_BYTES, || {
            CompileCost::new(schema, MOST_COMPILED_UNITS).estimate()?;
            jsonschema::options()
                .offline()
                .should_validate_formats(false)
                .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_LIMIT_BYTES))
                .build(schema)
                .map_err(|error| UncheckedReason::Invalid(error.to_string()))
        })?;
        Ok(Self { validator, patterns: shape.patterns })
    }

    /// Checks arguments if the check is short. Returns `None` otherwise.
    pub(super) fn check_if_short(&self, schema: &Value, arguments: &Value) -> Option<ArgumentMistakes> {
        CheckCost::new(schema, &self.patterns, MOST_SHORT_UNITS).estimate(arguments, DEEPEST_SHORT_CHECK)?;
        Some(self.mistakes(arguments))
    }

    /// Checks arguments, in some seconds at most.
    pub(super) fn check(
        &self,
        schema: &Value,
        arguments: &Value,
    ) -> Result<ArgumentMistakes, UncheckedReason> {
        stacker::maybe_grow(CHECK_STACK_BYTES, CHECK_STACK_BYTES, || {
            CheckCost::new(schema, &self.patterns, MOST_UNITS)
                .estimate(arguments, DEEPEST_CHECK)
                .ok_or(UncheckedReason::TooMuchWork)?;
            Ok(self.mistakes(arguments))
        })
    }

    fn mistakes(&self, arguments: &Value) -> ArgumentMistakes {
        // Most arguments fit, and this check is cheaper: collecting mistakes checks every alternative again at each level.
        if self.validator.is_valid(arguments) {
            return Vec::new();
        }
        let errors = self.validator.iter_errors(arguments).take(MOST_MISTAKES);
        // Values are masked, since an argument may be a credential.
        let mistakes = errors.map(|error| match error.instance_path().as_str() {
            "" => error.masked().to_string(),
            path => format!("{path}: {}", error.masked_with("the value")),
        });
        mistakes.collect()
    }
}

/// The properties of a schema that bound the cost of compiling it.
#[derive(Debug, Default)]
struct SchemaShape {
    levels: usize,
    references: BTreeSet<String>,
    patterns: BTreeMap<String, u64>,
}

impl SchemaShape {
    fn of(schema: &Value) -> Result<Self, UncheckedReason> {
        let beyond = |what: String| Err(UncheckedReason::BeyondBound(what));
        if schema.to_string().len() > MOST_SCHEMA_BYTES {
            return beyond(format!("{MOST_SCHEMA_BYTES} bytes"));
        }
        let mut shape = Self::default();
        shape.add(schema, 1)?;
        if shape.patterns.len() > MOST_PATTERNS {
            return beyond(format!("{MOST_PATTERNS} patterns"));
        }
        if shape.patterns.keys().map(|pattern| wide_case_folds(pattern)).sum::<u64>() > MOST_WIDE_FOLDS {
            return beyond("a few case-insensitive parts of patterns".to_owned());
        }
        if shape.levels.saturating_mul(shape.references.len() + 1) > MOST_COMPILED_LEVELS {
            return beyond(format!("{MOST_COMPILED_LEVELS} levels, with its references written out"));
        }
        for (pattern, weight) in &mut shape.patterns {
            *weight = pattern_weight(pattern)
                .ok_or_else(|| UncheckedReason::Invalid("a pattern cannot be read".to_owned()))?;
        }
        Ok(shape)
    }

    /// Adds a part of the schema. Values that are not schemas are visited too, so the result may be too large.
    fn add(&mut self, part: &Value, level: usize) -> Result<(), UncheckedReason> {
        self.levels = self.levels.max(level);
        match part {
            Value::Object(entries) => {
                for (key, value) in entries {
                    self.note(key, value, level)?;
                    self.add(value, level + 1)?;
                }
                Ok(())
            }
            Value::Array(items) => items.iter().try_for_each(|item| self.add(item, level + 1)),
            _ => Ok(()),
        }
    }

    fn note(&mut self, key: &str, value: &Value, level: usize) -> Result<(), UncheckedReason> {
        match (key, value) {
            ("$ref", Value::String(target)) => _ = self.references.insert(target.clone()),
            ("pattern", Value::String(pattern)) => _ = self.patterns.insert(pattern.clone(), 0),
            ("patternProperties", Value::Object(entries)) => {
                self.patterns.extend(entries.keys().map(|pattern| (pattern.clone(), 0)));
            }
            // References below it are relative to this schema, which the estimate does not support.
            ("$id", Value::String(_)) if level > 1 => {
                return Err(UncheckedReason::Invalid(
                    "it holds a schema with an `$id` of its own".to_owned(),
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
