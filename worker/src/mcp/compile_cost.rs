//! The cost of compiling a schema, counted without compiling it. Pure.
//!
//! Most of a schema is compiled once, and so is the target of each reference. Two things are expanded instead, with every
//! reference followed on every path, so that a schema of 2 kB can take gigabytes:
//!
//! - A schema with `unevaluatedProperties` or `unevaluatedItems` collects the keywords that evaluate a member, from itself and from
//!   the schemas that apply to the same value ([`CompileCost::collect`]).
//! - An `anyOf` or `oneOf` of three schemas or more searches for a member that distinguishes them ([`CompileCost::pins`]).
//!
//! The count follows the library (`jsonschema` 0.60), but caches only the targets of references, so it is never below the real
//! cost. It stops at its limit, so it is bounded itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::check_cost::{count, nodes, target};

/// Values other than schemas, such as names and constants, that are one unit.
const VALUES_PER_UNIT: u64 = 8;
/// Minimum number of alternatives for which the library searches for a member that distinguishes them.
const FEWEST_DISCRIMINATED: usize = 3;
/// Levels of this search, including the one at which it stops.
const DEEPEST_PIN: usize = 17;
/// Comparisons of a required name with a list of properties in this search that are one unit.
const PAIRS_PER_UNIT: u64 = 4;

/// Characters of a reference in an error message.
const MOST_REFERENCE_CHARS: usize = 200;

/// Reason why the count ended early.
#[derive(Debug)]
pub(super) enum CountError {
    /// The count is beyond its limit.
    BeyondLimit,
    /// A reference cannot be followed within the schema.
    Reference(String),
}

type CountResult = Result<(), CountError>;

/// A collecting keyword, with the address of the schema from which it collects.
type KeywordCollection = (&'static str, usize);

/// A count of units. A unit is one schema that is compiled or collected from once. The most expensive units that were measured take
/// 35 µs in a debug build, and 1 KiB.
#[derive(Debug)]
pub(super) struct CompileCost<'s> {
    schema: &'s Value,
    left: u64,
    /// References whose targets are counted or waiting.
    references: BTreeSet<&'s str>,
    waiting: Vec<&'s Value>,
    /// Collections under way. The value is true if a reference led back to the collection.
    open: BTreeMap<KeywordCollection, bool>,
}

impl<'s> CompileCost<'s> {
    /// Creates a count up to `units`.
    pub(super) const fn new(schema: &'s Value, units: u64) -> Self {
        Self { schema, left: units, references: BTreeSet::new(), waiting: Vec::new(), open: BTreeMap::new() }
    }

    /// Counts the whole schema.
    pub(super) fn estimate(mut self) -> CountResult {
        self.waiting.push(self.schema);
        while let Some(schema) = self.waiting.pop() {
            self.compile(schema)?;
        }
        Ok(())
    }

    fn spend(&mut self, units: u64) -> CountResult {
        self.left = self.left.checked_sub(units).ok_or(CountError::BeyondLimit)?;
        Ok(())
    }

    fn target(&self, reference: &str) -> Result<&'s Value, CountError> {
        target(self.schema, reference).ok_or_else(|| {
            let shown = reference.chars().take(MOST_REFERENCE_CHARS).collect();
            CountError::Reference(shown)
        })
    }

    /// Counts a schema and all schemas within it.
    fn compile(&mut self, schema: &'s Value) -> CountResult {
        self.spend(1)?;
        let Value::Object(keywords) = schema else { return Ok(()) };
        for (keyword, value) in keywords {
            match (keyword.as_str(), value) {
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                    let target = self.target(reference)?;
                    if self.references.insert(reference) {
                        self.waiting.push(target);
                    }
                }
                (
                    "properties" | "patternProperties" | "dependentSchemas" | "dependencies",
                    Value::Object(schemas),
                ) => {
                    self.spend(names(schemas))?;
                    schemas.values().try_for_each(|schema| self.compile(schema))?;
                }
                ("anyOf" | "oneOf", Value::Array(schemas)) => {
                    schemas.iter().try_for_each(|schema| self.compile(schema))?;
                    if schemas.len() >= FEWEST_DISCRIMINATED {
                        schemas.iter().try_for_each(|schema| self.discriminate(schema))?;
                    }
                }
                ("allOf" | "prefixItems" | "items", Value::Array(schemas)) => {
                    schemas.iter().try_for_each(|schema| self.compile(schema))?;
                }
                (
                    "not"
                    | "if"
                    | "then"
                    | "else"
                    | "items"
                    | "additionalItems"
                    | "unevaluatedItems"
                    | "contains"
                    | "additionalProperties"
                    | "unevaluatedProperties"
                    | "propertyNames"
                    | "contentSchema",
                    schema,
                ) => self.compile(schema)?,
                // Definitions are compiled only where a reference leads to them.
                ("$defs" | "definitions", _) => {}
                _ => self.spend(nodes(value) / VALUES_PER_UNIT)?,
            }
        }
        for keyword in ["unevaluatedProperties", "unevaluatedItems"] {
            if keywords.contains_key(keyword) {
                self.collect_owned(keyword, keywords)?;
            }
        }
        Ok(())
    }

    /// Counts a collection, twice if a reference led back to it: the library copies it then.
    fn collect_owned(&mut self, by: &'static str, keywords: &'s Map<String, Value>) -> CountResult {
        let before = self.left;
        if self.collect(by, keywords)? {
            self.spend(before.saturating_sub(self.left))?;
        }
        Ok(())
    }

    /// Counts what a keyword collects from a schema. Returns true if a reference led back to the schema.
    fn collect(&mut self, by: &'static str, keywords: &'s Map<String, Value>) -> Result<bool, CountError> {
        self.spend(1)?;
        let collection = (by, std::ptr::from_ref(keywords).addr());
        let outer = self.open.insert(collection, false);
        for (keyword, value) in keywords {
            match (keyword.as_str(), value) {
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                    if let Value::Object(target) = self.target(reference)? {
                        match self.open.get_mut(&(by, std::ptr::from_ref(target).addr())) {
                            Some(is_reached) => *is_reached = true,
                            None => _ = self.collect(by, target)?,
                        }
                    }
                }
                ("properties", Value::Object(schemas)) => self.spend(names(schemas))?,
                ("patternProperties", Value::Object(schemas)) => {
                    self.spend(names(schemas))?;
                    schemas.values().try_for_each(|schema| self.compile(schema))?;
                }
                ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                    for schema in schemas {
                        self.compile(schema)?;
                        self.collect_below(by, schema)?;
                    }
                }
                ("if" | "then" | "else", schema) => {
                    self.compile(schema)?;
                    self.collect_below(by, schema)?;
                }
                ("dependentSchemas", Value::Object(schemas)) => {
                    self.spend(names(schemas))?;
                    schemas.values().try_for_each(|schema| self.collect_below(by, schema))?;
                }
                (
                    "additionalProperties" | "unevaluatedProperties" | "unevaluatedItems" | "contains",
                    schema,
                ) => {
                    self.compile(schema)?;
                }
                _ => {}
            }
        }
        let is_reached = match outer {
            Some(outer) => self.open.insert(collection, outer),
            None => self.open.remove(&collection),
        };
        Ok(is_reached.unwrap_or_default())
    }

    fn collect_below(&mut self, by: &'static str, schema: &'s Value) -> CountResult {
        schema.as_object().map_or(Ok(()), |keywords| self.collect_owned(by, keywords))
    }

    /// Counts the search for members that have a single value in this alternative.
    fn discriminate(&mut self, schema: &'s Value) -> CountResult {
        let (mut required, mut properties) = (0, 0);
        self.pins(schema, DEEPEST_PIN, &mut required, &mut properties)?;
        self.spend(count(required).saturating_mul(count(properties)) / PAIRS_PER_UNIT)
    }

    /// Counts the required names and the lists of properties of a schema, including those of `$ref` and `allOf`.
    fn pins(
        &mut self,
        schema: &'s Value,
        levels: usize,
        required: &mut usize,
        properties: &mut usize,
    ) -> CountResult {
        let Value::Object(keywords) = schema else { return Ok(()) };
        self.spend(1)?;
        *required += keywords.get("required").and_then(Value::as_array).map_or(0, Vec::len);
        *properties += usize::from(keywords.contains_key("properties"));
        let Some(levels) = levels.checked_sub(1) else { return Ok(()) };
        if let Some(Value::String(reference)) = keywords.get("$ref") {
            self.pins(self.target(reference)?, levels, required, properties)?;
        }
        let Some(Value::Array(schemas)) = keywords.get("allOf") else { return Ok(()) };
        schemas.iter().try_for_each(|schema| self.pins(schema, levels, required, properties))
    }
}

/// Returns the units of the names in an object of schemas.
fn names(schemas: &Map<String, Value>) -> u64 {
    schemas.keys().map(|name| 1 + count(name.len() / 64)).fold(0, u64::saturating_add) / VALUES_PER_UNIT
}
