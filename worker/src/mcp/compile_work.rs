//! The work of compiling a schema, counted without doing it. Pure.
//!
//! Most of a schema is compiled once, and so is the target of each reference. Two things are written out instead, with
//! every reference followed on every path, so that a schema of 2 kB can stand for gigabytes:
//!
//! - A schema with `unevaluatedProperties` or `unevaluatedItems` collects which keywords of it and of the schemas that apply to
//!   the same value evaluate a member ([`CompileWork::collect`]).
//! - An `anyOf` or `oneOf` of three schemas or more looks for a member that tells them apart ([`CompileWork::pins`]).
//!
//! The count follows the library (`jsonschema` 0.60) with nothing cached but the targets of references, so it is never below
//! the real work. It stops at its limit, so it is bounded itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::schema_work::{count, nodes, target};

/// Values of a schema that are no schemas, such as names and constants, for one unit.
const VALUES_PER_UNIT: u64 = 8;
/// Alternatives from which on the library looks for a member that tells them apart.
const FEWEST_DISCRIMINATED: usize = 3;
/// Levels that it looks into, with the one at which it turns back.
const DEEPEST_PIN: usize = 17;
/// Pairs of a required name and a list of properties that it compares, for one unit.
const PAIRS_PER_UNIT: u64 = 4;

/// Characters of a reference in a message.
const MOST_REFERENCE_CHARS: usize = 200;

/// Why the count ended early.
#[derive(Debug)]
pub(super) enum Uncounted {
    /// The count is beyond its limit.
    BeyondLimit,
    /// A reference cannot be followed within the schema.
    Reference(String),
}

type Counted = Result<(), Uncounted>;

/// One of the two keywords that collect, with the place of the schema that it collects from.
type Collection = (&'static str, usize);

/// A count of units. A unit is one schema that is compiled or collected from once. The most expensive ones measured
/// take 35 µs in a debug build and 1 KiB.
#[derive(Debug)]
pub(super) struct CompileWork<'s> {
    schema: &'s Value,
    left: u64,
    /// References whose targets are counted, or wait to be.
    references: BTreeSet<&'s str>,
    waiting: Vec<&'s Value>,
    /// Collections that are under way, and whether a reference led back to them.
    open: BTreeMap<Collection, bool>,
}

impl<'s> CompileWork<'s> {
    /// A count up to `units`.
    pub(super) const fn new(schema: &'s Value, units: u64) -> Self {
        Self { schema, left: units, references: BTreeSet::new(), waiting: Vec::new(), open: BTreeMap::new() }
    }

    /// Counts the whole schema.
    pub(super) fn estimate(mut self) -> Counted {
        self.waiting.push(self.schema);
        while let Some(schema) = self.waiting.pop() {
            self.compile(schema)?;
        }
        Ok(())
    }

    fn spend(&mut self, units: u64) -> Counted {
        self.left = self.left.checked_sub(units).ok_or(Uncounted::BeyondLimit)?;
        Ok(())
    }

    fn target(&self, reference: &str) -> Result<&'s Value, Uncounted> {
        target(self.schema, reference).ok_or_else(|| {
            let shown = reference.chars().take(MOST_REFERENCE_CHARS).collect();
            Uncounted::Reference(shown)
        })
    }

    /// Counts a schema and all schemas within it.
    fn compile(&mut self, schema: &'s Value) -> Counted {
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
                // Neither is compiled where it is.
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

    /// Counts a collection. One that a reference led back to is copied.
    fn collect_owned(&mut self, by: &'static str, keywords: &'s Map<String, Value>) -> Counted {
        let before = self.left;
        if self.collect(by, keywords)? {
            self.spend(before.saturating_sub(self.left))?;
        }
        Ok(())
    }

    /// Counts what one of the two keywords collects from a schema. Returns whether a reference led back to it.
    fn collect(&mut self, by: &'static str, keywords: &'s Map<String, Value>) -> Result<bool, Uncounted> {
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

    fn collect_below(&mut self, by: &'static str, schema: &'s Value) -> Counted {
        schema.as_object().map_or(Ok(()), |keywords| self.collect_owned(by, keywords))
    }

    /// Counts the search for members that have one value only in this alternative.
    fn discriminate(&mut self, schema: &'s Value) -> Counted {
        let (mut required, mut properties) = (0, 0);
        self.pins(schema, DEEPEST_PIN, &mut required, &mut properties)?;
        self.spend(count(required).saturating_mul(count(properties)) / PAIRS_PER_UNIT)
    }

    /// Counts the required names and the lists of properties of a schema, with those of `$ref` and `allOf`.
    fn pins(
        &mut self,
        schema: &'s Value,
        levels: usize,
        required: &mut usize,
        properties: &mut usize,
    ) -> Counted {
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

/// What the names of a list of schemas cost by themselves.
fn names(schemas: &Map<String, Value>) -> u64 {
    schemas.keys().map(|name| 1 + count(name.len() / 64)).fold(0, u64::saturating_add) / VALUES_PER_UNIT
}
