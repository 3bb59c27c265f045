//! The JSON Schema of a tool's arguments, compiled and applied within bounds.
//!
//! A schema comes from the server, and checking can take time that is exponential in its size: twenty definitions that
//! each name the next one twice already mean a million checks. Neither a deadline nor a signal ends a thread that
//! computes. So the work is bounded before it is begun, by a count: of the schema before it is compiled, and of each check.
//! What is beyond the bounds is left to the server, which checks by itself.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::{PatternOptions, Validator};
use longshore_proto::{PATTERN_LIMIT_BYTES, pattern_weight, wide_case_folds};
use serde_json::Value;

use super::compile_work::{CompileWork, Uncounted};
use super::schema_work::SchemaWork;

/// Larger schemas are not compiled: it takes time and memory in proportion.
const MOST_SCHEMA_BYTES: usize = 256 * 1024;
/// Patterns of one schema: compiling one takes up to 10 ms.
const MOST_PATTERNS: usize = 200;
/// Parts of patterns that are case-folded over much of Unicode: reading one takes up to 20 ms.
const MOST_WIDE_FOLDS: u64 = 20;
/// Levels of the recursion that compiles a schema: different references times the deepest nesting.
const MOST_COMPILED_LEVELS: usize = 4_096;
/// Units of work (see [`CompileWork`]) of compiling: two seconds in a debug build, and 50 MB. Large schemas take some thousands.
const MOST_COMPILED_UNITS: u64 = 50_000;
/// Room on the stack for compiling: 2 KiB a level in a release build, and five times as much in a debug build.
const COMPILE_STACK_BYTES: usize = 64 << 20;
/// Room on the stack for a check of [`DEEPEST_CHECK`] levels.
const CHECK_STACK_BYTES: usize = 16 << 20;
/// Levels of the recursion that checks arguments.
const DEEPEST_CHECK: usize = 200;
/// The same for a check on the stack of the caller.
const DEEPEST_SHORT_CHECK: usize = 32;
/// Units of work (see [`SchemaWork`]) of one check: about a tenth of a second.
const MOST_UNITS: u64 = 1_000_000;
/// Units of a check that needs no thread of its own: half a millisecond at most, and most checks are shorter.
const MOST_SHORT_UNITS: u64 = 5_000;
/// Mistakes that are named when arguments do not fit.
const MOST_MISTAKES: usize = 5;

/// A compiled schema.
#[derive(Debug)]
pub(super) struct CompiledSchema {
    validator: Validator,
    /// Each pattern of the schema with its weight.
    patterns: BTreeMap<String, u64>,
}

/// Why a schema or a check is left to the server.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unchecked {
    /// The schema is invalid, or refers to something outside of itself.
    #[error("the schema cannot be used: {0}")]
    Invalid(String),
    /// The schema is beyond a bound.
    #[error("the schema has more than {0}")]
    Beyond(String),
    /// These arguments would take too long to check.
    #[error("checking these arguments against the schema would take too long")]
    TooMuchWork,
}

impl From<Uncounted> for Unchecked {
    fn from(why: Uncounted) -> Self {
        match why {
            Uncounted::BeyondLimit => {
                Self::Beyond(format!("{MOST_COMPILED_UNITS} parts, with its references written out"))
            }
            Uncounted::Reference(reference) => {
                Self::Invalid(format!("its reference `{reference}` is no JSON pointer to a part of it"))
            }
        }
    }
}

/// The mistakes that a check found, in full. They repeat words of the schema.
pub(super) type Mistakes = Vec<String>;

impl CompiledSchema {
    /// Compiles a schema. Takes a second at worst. Nothing is fetched, and patterns are matched in linear time.
    pub(super) fn compile(schema: &Value) -> Result<Self, Unchecked> {
        let shape = Shape::of(schema)?;
        let validator = stacker::maybe_grow(COMPILE_STACK_BYTES, COMPILE_STACK_BYTES, || {
            CompileWork::new(schema, MOST_COMPILED_UNITS).estimate()?;
            jsonschema::options()
                .offline()
                .should_validate_formats(false)
                .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_LIMIT_BYTES))
                .build(schema)
                .map_err(|error| Unchecked::Invalid(error.to_string()))
        })?;
        Ok(Self { validator, patterns: shape.patterns })
    }

    /// Checks arguments if that is quick. Returns `None` if it is not.
    pub(super) fn check_if_short(&self, schema: &Value, arguments: &Value) -> Option<Mistakes> {
        SchemaWork::new(schema, &self.patterns, MOST_SHORT_UNITS).estimate(arguments, DEEPEST_SHORT_CHECK)?;
        Some(self.mistakes(arguments))
    }

    /// Checks arguments. Takes some seconds at worst.
    pub(super) fn check(&self, schema: &Value, arguments: &Value) -> Result<Mistakes, Unchecked> {
        stacker::maybe_grow(CHECK_STACK_BYTES, CHECK_STACK_BYTES, || {
            SchemaWork::new(schema, &self.patterns, MOST_UNITS)
                .estimate(arguments, DEEPEST_CHECK)
                .ok_or(Unchecked::TooMuchWork)?;
            Ok(self.mistakes(arguments))
        })
    }

    fn mistakes(&self, arguments: &Value) -> Mistakes {
        // Most arguments fit, and collecting mistakes checks every alternative once more at each level.
        if self.validator.is_valid(arguments) {
            return Vec::new();
        }
        let errors = self.validator.iter_errors(arguments).take(MOST_MISTAKES);
        // Masked: an argument may be a credential.
        let mistakes = errors.map(|error| match error.instance_path().as_str() {
            "" => error.masked().to_string(),
            path => format!("{path}: {}", error.masked_with("the value")),
        });
        mistakes.collect()
    }
}

/// What compiling a schema depends on.
#[derive(Debug, Default)]
struct Shape {
    levels: usize,
    references: BTreeSet<String>,
    patterns: BTreeMap<String, u64>,
}

impl Shape {
    fn of(schema: &Value) -> Result<Self, Unchecked> {
        let beyond = |what: String| Err(Unchecked::Beyond(what));
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
                .ok_or_else(|| Unchecked::Invalid("a pattern cannot be read".to_owned()))?;
        }
        Ok(shape)
    }

    /// Adds a part of the schema. Goes over everything, also over what is no schema, which counts too much.
    fn add(&mut self, part: &Value, level: usize) -> Result<(), Unchecked> {
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

    fn note(&mut self, key: &str, value: &Value, level: usize) -> Result<(), Unchecked> {
        match (key, value) {
            ("$ref", Value::String(target)) => _ = self.references.insert(target.clone()),
            ("pattern", Value::String(pattern)) => _ = self.patterns.insert(pattern.clone(), 0),
            ("patternProperties", Value::Object(entries)) => {
                self.patterns.extend(entries.keys().map(|pattern| (pattern.clone(), 0)));
            }
            // References below it would mean something else than the estimate takes them for.
            ("$id", Value::String(_)) if level > 1 => {
                return Err(Unchecked::Invalid("it holds a schema with an `$id` of its own".to_owned()));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
