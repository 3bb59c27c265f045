//! The JSON types that the schema of a tool allows an argument to have.
//!
//! Types are returned only where the schema is certain about them: `None` for every form that is not read here.

mod mistakes;

use std::collections::BTreeSet;

use serde_json::Value;

pub(crate) use mistakes::{ArgumentMistake, mistakes};

/// Depth of references and combined schemas that are followed. Schemas of tools need two or three.
const MAX_LEVELS: usize = 8;

/// Number of schema parts that are read for one argument. Schemas of tools need some dozens; with references, a hostile
/// schema of some kilobytes expands to millions.
const MAX_PARTS: usize = 1_000;

/// Returns the types that an argument may have, by their names in JSON Schema; `None` if they are not known. `schema` is
/// that of the whole input.
pub(crate) fn types<'s>(schema: &'s Value, argument: &str) -> Option<BTreeSet<&'s str>> {
    of_part(schema, schema.get("properties")?.get(argument)?, MAX_LEVELS, &mut { MAX_PARTS })
}

/// Returns the types of an argument as text: `integer or null`, `array of string`, `any`.
pub(crate) fn type_words(schema: &Value, argument: &str) -> String {
    let (levels, parts) = (MAX_LEVELS, &mut { MAX_PARTS });
    let Some(types) = types(schema, argument) else { return "any".to_owned() };
    let part = schema.get("properties").and_then(|properties| properties.get(argument));
    let items = part.and_then(|part| of_part(schema, items(part)?, levels, parts));
    let items = items.filter(|items| !items.is_empty()).map(in_words);
    let mut words: Vec<String> = Vec::new();
    for name in in_order(types) {
        words.push(match &items {
            Some(items) if name == "array" => format!("array of {items}"),
            _ => name.to_owned(),
        });
    }
    words.join(" or ")
}

/// Returns the schema of the items of a list, also of a list that is one of several choices.
fn items(part: &Value) -> Option<&Value> {
    let choices = part.get("anyOf").or_else(|| part.get("oneOf")).and_then(Value::as_array);
    part.get("items").or_else(|| choices?.iter().find_map(|choice| choice.get("items")))
}

fn in_words(types: BTreeSet<&str>) -> String {
    in_order(types).join(" or ")
}

/// Sorts types with `null` behind the others, where people expect it, and lists at the end, because the words for their
/// items follow.
fn in_order(types: BTreeSet<&str>) -> Vec<&str> {
    let mut types: Vec<&str> = types.into_iter().collect();
    types.sort_by_key(|name| (*name == "array", *name == "null"));
    types
}

/// Returns the types that one part of a schema allows. `parts` is the number of parts that may still be read.
fn of_part<'s>(
    root: &'s Value,
    part: &'s Value,
    levels: usize,
    parts: &mut usize,
) -> Option<BTreeSet<&'s str>> {
    let levels = levels.checked_sub(1)?;
    *parts = parts.checked_sub(1)?;
    match (part.get("type"), part.get("enum"), part.get("const")) {
        (Some(Value::String(one)), ..) => return Some([one.as_str()].into()),
        (Some(Value::Array(several)), ..) => return several.iter().map(Value::as_str).collect(),
        (None, Some(Value::Array(values)), _) => return Some(values.iter().map(type_of).collect()),
        (None, None, Some(value)) => return Some([type_of(value)].into()),
        _ => {}
    }
    if let Some(pointer) = part.get("$ref").and_then(Value::as_str) {
        return of_part(root, root.pointer(pointer.strip_prefix('#')?)?, levels, parts);
    }
    if let Some(choices) = part.get("anyOf").or_else(|| part.get("oneOf")) {
        let mut types = BTreeSet::new();
        for choice in choices.as_array()? {
            types.extend(of_part(root, choice, levels, parts)?);
        }
        return Some(types);
    }
    part.get("allOf")?.as_array()?.iter().find_map(|part| of_part(root, part, levels, parts))
}

/// Returns true if a value has a type of JSON Schema. An unknown type matches every value.
pub(crate) fn has_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" | "string" | "boolean" | "array" | "object" | "null" => type_of(value) == wanted,
        _ => true,
    }
}

/// Returns the name of a value's type in JSON Schema.
pub(crate) const fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_found_where_libraries_write_them() {
        let schema = json!({
            "properties": {
                "plain": { "type": "string" },
                "list": { "type": ["integer", "null"] },
                "optional": { "anyOf": [{ "type": "string" }, { "type": "null" }], "default": null },
                "choice": { "$ref": "#/$defs/Choice" },
                "wrapped": { "allOf": [{ "$ref": "#/$defs/Choice" }] },
                "texts": { "type": "array", "items": { "type": "string" } },
                "rows": { "oneOf": [{ "type": "array", "items": { "type": ["integer", "null"] } }, { "type": "string" }] },
                "words": { "enum": ["a", "b"] },
                "one": { "const": 5 },
                "any": {},
                "open": { "anyOf": [{ "type": "string" }, {}] },
                "elsewhere": { "$ref": "https://h/schema" },
                "circle": { "$ref": "#/properties/circle" },
            },
            "$defs": { "Choice": { "enum": ["fast", "slow"], "type": "string" } },
        });
        let words = |name: &str| type_words(&schema, name);
        for (name, wanted) in [
            ("plain", "string"),
            ("list", "integer or null"),
            ("optional", "string or null"),
            ("choice", "string"),
            ("texts", "array of string"),
            ("rows", "string or array of integer or null"),
            ("any", "any"),
            ("open", "any"),
        ] {
            assert_eq!(words(name), wanted, "{name}");
        }
        let found = |name: &str| types(&schema, name).map(|types| types.into_iter().collect::<Vec<_>>());
        for (name, wanted) in [
            ("plain", vec!["string"]),
            ("list", vec!["integer", "null"]),
            ("optional", vec!["null", "string"]),
            ("choice", vec!["string"]),
            ("wrapped", vec!["string"]),
            ("words", vec!["string"]),
            ("one", vec!["number"]),
        ] {
            assert_eq!(found(name), Some(wanted), "{name}");
        }
        for name in ["any", "open", "elsewhere", "circle", "missing"] {
            assert_eq!(found(name), None, "{name}");
        }
    }

    #[test]
    fn the_work_for_one_argument_is_bounded() {
        let many = |to: &str| json!({ "anyOf": vec![json!({ "$ref": to }); 30] });
        let schema = |deep: &str| {
            let parts = json!({ "a": many("#/$defs/b"), "b": many(deep), "c": many("#/$defs/d"), "d": { "type": "string" } });
            json!({ "properties": { "x": { "$ref": "#/$defs/a" } }, "$defs": parts })
        };
        assert_eq!(types(&schema("#/$defs/d"), "x"), None, "900 choices and their references");
        let few = json!({ "properties": { "x": many("#/$defs/d") }, "$defs": { "d": { "type": "string" } } });
        assert_eq!(types(&few, "x"), Some(["string"].into()));
        let mut parts = MAX_PARTS;
        let deep = schema("#/$defs/c");
        assert_eq!(of_part(&deep, &deep["properties"]["x"], MAX_LEVELS, &mut parts), None);
        assert_eq!(parts, 0, "27,000 choices");
    }
}
