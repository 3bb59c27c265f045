//! The cost of checking a value against a schema, counted without checking it. Pure.
//!
//! The count visits a schema as a validator does, takes every alternative, and stops at its limit, so it is bounded itself.

use std::collections::BTreeMap;

use longshore_proto::match_units;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// Items of a list that the library compares with each other one by one. For longer lists it uses a hash table.
const PAIRED_ITEMS: u64 = 16;

/// A count of units. A unit is one part of a schema that is applied to one part of a value, which takes about 100 ns.
#[derive(Debug)]
pub(super) struct CheckCost<'s> {
    schema: &'s Value,
    patterns: &'s BTreeMap<String, u64>,
    left: u64,
}

/// `None` if the count is beyond its limit, or a reference cannot be followed.
type WithinLimit = Option<()>;

impl<'s> CheckCost<'s> {
    /// Creates a count up to `units`.
    pub(super) const fn new(schema: &'s Value, patterns: &'s BTreeMap<String, u64>, units: u64) -> Self {
        Self { schema, patterns, left: units }
    }

    /// Counts a check of at most this number of levels.
    pub(super) fn estimate(&mut self, value: &Value, levels: usize) -> WithinLimit {
        self.visit(self.schema, value, levels)
    }

    fn spend(&mut self, units: u64) -> WithinLimit {
        self.left = self.left.checked_sub(units)?;
        Some(())
    }

    fn visit(&mut self, schema: &Value, value: &Value, levels: usize) -> WithinLimit {
        let levels = levels.checked_sub(1)?;
        self.spend(1)?;
        let Value::Object(keywords) = schema else { return Some(()) };
        self.spend(count(keywords.len()))?;
        self.same_value(keywords, value, levels)?;
        if keywords.contains_key("unevaluatedProperties") || keywords.contains_key("unevaluatedItems") {
            self.mark(keywords, value, levels)?;
        }
        for keyword in ["enum", "const"] {
            self.spend(keywords.get(keyword).map_or(0, nodes))?;
        }
        match value {
            Value::Object(members) => self.members(keywords, members, levels),
            Value::Array(items) => self.items(keywords, items, levels),
            Value::String(text) => match keywords.get("pattern").and_then(Value::as_str) {
                Some(pattern) => self.pattern(pattern, text),
                None => self.spend(count(text.len() / 64)),
            },
            _ => Some(()),
        }
    }

    /// Counts the search for the members or items that the keywords of a schema evaluate. It applies the schemas of the same value
    /// again, and visits those that apply.
    fn mark(&mut self, keywords: &Map<String, Value>, value: &Value, levels: usize) -> WithinLimit {
        let levels = levels.checked_sub(1)?;
        self.spend(count(keywords.len()))?;
        match value {
            Value::Object(members) => self.members(keywords, members, levels)?,
            Value::Array(items) => self.items(keywords, items, levels)?,
            _ => {}
        }
        for (keyword, schema) in keywords {
            match (keyword.as_str(), schema) {
                ("$ref", Value::String(target)) => self.mark_below(self.target(target)?, value, levels)?,
                ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                    for schema in schemas {
                        self.visit(schema, value, levels)?;
                        self.mark_below(schema, value, levels)?;
                    }
                }
                ("if" | "then" | "else", schema) => {
                    self.visit(schema, value, levels)?;
                    self.mark_below(schema, value, levels)?;
                }
                ("dependentSchemas", Value::Object(schemas)) => {
                    schemas.values().try_for_each(|schema| self.mark_below(schema, value, levels))?;
                }
                _ => {}
            }
        }
        Some(())
    }

    fn mark_below(&mut self, schema: &Value, value: &Value, levels: usize) -> WithinLimit {
        self.spend(1)?;
        schema.as_object().map_or(Some(()), |keywords| self.mark(keywords, value, levels))
    }

    /// Counts the keywords that apply other schemas to the same value.
    fn same_value(&mut self, keywords: &Map<String, Value>, value: &Value, levels: usize) -> WithinLimit {
        for (keyword, schema) in keywords {
            match (keyword.as_str(), schema) {
                ("$ref", Value::String(target)) => self.visit(self.target(target)?, value, levels)?,
                ("$dynamicRef" | "$recursiveRef", _) => return None,
                ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                    schemas.iter().try_for_each(|schema| self.visit(schema, value, levels))?;
                }
                ("not" | "if" | "then" | "else", schema) => self.visit(schema, value, levels)?,
                ("dependentSchemas" | "dependencies", Value::Object(schemas)) => {
                    schemas.values().try_for_each(|schema| self.visit(schema, value, levels))?;
                }
                _ => {}
            }
        }
        Some(())
    }

    fn members(
        &mut self,
        keywords: &Map<String, Value>,
        members: &Map<String, Value>,
        levels: usize,
    ) -> WithinLimit {
        for (keyword, schema) in keywords {
            match (keyword.as_str(), schema) {
                ("properties", Value::Object(schemas)) => {
                    self.spend(count(schemas.len()))?;
                    for (name, schema) in schemas {
                        members.get(name).map_or(Some(()), |value| self.visit(schema, value, levels))?;
                    }
                }
                ("patternProperties", Value::Object(schemas)) => {
                    for (pattern, schema) in schemas {
                        for (name, value) in members {
                            self.pattern(pattern, name)?;
                            self.visit(schema, value, levels)?;
                        }
                    }
                }
                ("additionalProperties" | "unevaluatedProperties", schema) => {
                    // All patterns are matched to find the remaining names.
                    let patterns = keywords.get("patternProperties").and_then(Value::as_object);
                    for (name, value) in members {
                        for pattern in patterns.into_iter().flat_map(Map::keys) {
                            self.pattern(pattern, name)?;
                        }
                        self.visit(schema, value, levels)?;
                    }
                }
                ("propertyNames", schema) => {
                    for name in members.keys() {
                        self.visit(schema, &Value::String(name.clone()), levels)?;
                    }
                }
                ("required", Value::Array(names)) => self.spend(count(names.len()))?,
                _ => {}
            }
        }
        Some(())
    }

    fn items(&mut self, keywords: &Map<String, Value>, items: &[Value], levels: usize) -> WithinLimit {
        for (keyword, schema) in keywords {
            match (keyword.as_str(), schema) {
                ("items" | "prefixItems", Value::Array(schemas)) => {
                    for (schema, item) in schemas.iter().zip(items) {
                        self.visit(schema, item, levels)?;
                    }
                }
                ("items" | "additionalItems" | "unevaluatedItems" | "contains", schema) => {
                    items.iter().try_for_each(|item| self.visit(schema, item, levels))?;
                }
                ("uniqueItems", Value::Bool(true)) => {
                    let all = items.iter().map(nodes).fold(0, u64::saturating_add);
                    self.spend(all.saturating_mul(PAIRED_ITEMS))?;
                }
                _ => {}
            }
        }
        Some(())
    }

    fn pattern(&mut self, pattern: &str, text: &str) -> WithinLimit {
        let weight = *self.patterns.get(pattern)?;
        self.spend(1 + match_units(text, weight))
    }

    fn target(&self, reference: &str) -> Option<&'s Value> {
        target(self.schema, reference)
    }
}

/// Returns the part of a schema to which a reference leads. Returns `None` if it is not a JSON pointer but, for example, an anchor.
pub(super) fn target<'s>(schema: &'s Value, reference: &str) -> Option<&'s Value> {
    let pointer = percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?;
    schema.pointer(&pointer)
}

/// Returns the number of values in a value, including itself. A long text counts as several.
pub(super) fn nodes(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(nodes).fold(1, u64::saturating_add),
        Value::Object(members) => members.values().map(nodes).fold(1, u64::saturating_add),
        Value::String(text) => 1 + count(text.len() / 64),
        _ => 1,
    }
}

pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
