//! Mistakes in the arguments of a call, as far as names and types of the tool's schema tell.
//!
//! Values of expressions come only when the step runs; the worker checks them then, against the whole schema. Here a
//! schema that says more than names and types is taken to allow what is written.

use longshore_workflow::CallMistake;
use serde_json::{Map, Value};

use super::{has_type, type_of, types};
use crate::suggest;

/// Something that the tool would refuse, or most likely ignore.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Mistake {
    pub(crate) mistake: CallMistake,
    pub(crate) message: String,
    pub(crate) help: String,
}

/// Returns the mistakes in arguments of `call`, each argument with its value unless an expression makes it.
pub(crate) fn mistakes(call: &str, arguments: &[(&str, Option<&Value>)], schema: &Value) -> Vec<Mistake> {
    let input = schema;
    let Value::Object(schema) = input else { return Vec::new() };
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    let mut found = Vec::new();
    for (name, value) in arguments {
        match properties.get(*name) {
            None => match unnamed_arguments(schema) {
                UnnamedArguments::Forbidden => found.push(Mistake {
                    mistake: CallMistake::UnknownArgument((*name).to_owned()),
                    message: format!("the tool takes no argument `{name}`"),
                    help: suggest::among(name, &names),
                }),
                UnnamedArguments::Unmentioned => found.push(Mistake {
                    mistake: CallMistake::UnnamedArgument((*name).to_owned()),
                    message: format!("`{name}` is not an argument of `{call}`"),
                    help: suggest::among(name, &names),
                }),
                UnnamedArguments::Allowed => {}
            },
            Some(_) => found.extend(value.and_then(|value| of_type(name, value, input))),
        }
    }
    found.extend(missing(arguments, schema));
    found
}

/// The rule of a schema for arguments that its `properties` do not name.
enum UnnamedArguments {
    /// Every call with one is refused.
    Forbidden,
    /// Nothing: they are allowed because the author did not think of them.
    Unmentioned,
    /// They are allowed on purpose, or another part of the schema may name them.
    Allowed,
}

/// Keywords that can name arguments beside `properties`.
const NAMING_KEYWORDS: [&str; 11] = [
    "$dynamicRef",
    "$ref",
    "allOf",
    "anyOf",
    "dependencies",
    "dependentSchemas",
    "else",
    "if",
    "oneOf",
    "patternProperties",
    "then",
];

fn unnamed_arguments(schema: &Map<String, Value>) -> UnnamedArguments {
    let forbids = |keyword| schema.get(keyword) == Some(&Value::Bool(false));
    if schema.contains_key("patternProperties") {
        return UnnamedArguments::Allowed;
    }
    if forbids("additionalProperties") {
        return UnnamedArguments::Forbidden;
    }
    if NAMING_KEYWORDS.iter().any(|keyword| schema.contains_key(*keyword)) {
        return UnnamedArguments::Allowed;
    }
    if forbids("unevaluatedProperties") {
        return UnnamedArguments::Forbidden;
    }
    let says_more =
        ["additionalProperties", "unevaluatedProperties"].iter().any(|key| schema.contains_key(*key));
    // Without any name, the schema describes no arguments at all.
    let names_some =
        schema.get("properties").and_then(Value::as_object).is_some_and(|names| !names.is_empty());
    if says_more || !names_some { UnnamedArguments::Allowed } else { UnnamedArguments::Unmentioned }
}

/// All that is required and not written, as one mistake: it is mended in one place.
fn missing(arguments: &[(&str, Option<&Value>)], schema: &Map<String, Value>) -> Option<Mistake> {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    let missing: Vec<String> = required
        .filter_map(Value::as_str)
        .filter(|name| !arguments.iter().any(|(written, _)| written == name))
        .map(|name| format!("`{name}`"))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let arguments = if missing.len() == 1 { "the argument" } else { "the arguments" };
    let missing = missing.join(", ");
    Some(Mistake {
        mistake: CallMistake::MissingArgument,
        message: format!("the tool requires {arguments} {missing}"),
        help: format!("add {missing} to `with`"),
    })
}

/// A value that is of none of the types that the schema allows.
fn of_type(name: &str, value: &Value, schema: &Value) -> Option<Mistake> {
    let wanted = types(schema, name)?;
    if wanted.iter().any(|wanted| has_type(value, wanted)) {
        return None;
    }
    let wanted = wanted.into_iter().collect::<Vec<_>>().join(" or ");
    Some(Mistake {
        mistake: CallMistake::ArgumentType(name.to_owned()),
        message: format!("the argument `{name}` must be of type {wanted}, and this is {}", type_of(value)),
        help: format!("write a value of type {wanted}, or an expression that gives one"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(arguments: &Value, schema: &Value, expected: &[&str]) {
        let arguments: Vec<_> = arguments.as_object().expect("a map").iter().collect();
        // A text `$` stands for an expression.
        let arguments: Vec<_> = arguments
            .iter()
            .map(|(name, value)| (name.as_str(), (**value != json!("$")).then_some(*value)))
            .collect();
        let found: Vec<_> = mistakes("s/t", &arguments, schema).into_iter().map(|one| one.message).collect();
        assert_eq!(found, expected, "{arguments:?}");
    }

    #[test]
    fn arguments_are_held_against_names_and_types() {
        let schema = json!({
            "type": "object",
            "properties": { "file": { "type": "string" }, "limit": { "type": ["integer", "null"] }, "any": {} },
            "required": ["file", "mode"],
            "additionalProperties": false,
        });
        check(&json!({ "file": "a.csv", "mode": "$" }), &schema, &["the tool takes no argument `mode`"]);
        check(
            &json!({ "file": 7, "fiel": "$", "limit": 1.5 }),
            &schema,
            &[
                "the tool takes no argument `fiel`",
                "the argument `file` must be of type string, and this is number",
                "the argument `limit` must be of type integer or null, and this is number",
                "the tool requires the argument `mode`",
            ],
        );
        check(
            &json!({ "limit": 2.0, "any": [] }),
            &schema,
            &["the tool requires the arguments `file`, `mode`"],
        );
        check(&json!({ "file": "$", "limit": "$" }), &schema, &["the tool requires the argument `mode`"]);
    }

    #[test]
    fn a_schema_that_is_open_takes_any_name() {
        check(&json!({ "more": 1 }), &json!({ "type": "object" }), &[]);
        check(&json!({ "more": 1 }), &json!(true), &[]);
        let schema = json!({ "additionalProperties": false, "patternProperties": { "^m": {} } });
        check(&json!({ "more": 1 }), &schema, &[]);
        check(&json!({ "x": 1 }), &json!({ "properties": { "x": { "type": "date" } } }), &[]);
        let optional =
            json!({ "properties": { "x": { "anyOf": [{ "type": "string" }, { "type": "null" }] } } });
        check(&json!({ "x": null }), &optional, &[]);
        check(
            &json!({ "x": 1 }),
            &optional,
            &["the argument `x` must be of type null or string, and this is number"],
        );
    }

    #[test]
    fn name_that_the_schema_neither_names_nor_forbids_is_a_warning() {
        let schema = json!({ "properties": { "max_count": { "type": "integer" } } });
        let given = json!(1);
        let found = mistakes("s/t", &[("max_cuont", Some(&given))], &schema);
        let [one] = &found[..] else { panic!("{found:?}") };
        assert_eq!(one.mistake, CallMistake::UnnamedArgument("max_cuont".to_owned()));
        assert_eq!(one.message, "`max_cuont` is not an argument of `s/t`");
        assert_eq!(one.help, "did you mean `max_count`? Known: `max_count`");
        for others in [
            json!({ "additionalProperties": true }),
            json!({ "additionalProperties": { "type": "integer" } }),
            json!({ "allOf": [{ "$ref": "#/$defs/more" }] }),
            json!({ "patternProperties": { "^max_": {} }, "additionalProperties": false }),
            json!({ "properties": {} }),
        ] {
            let mut schema = schema.clone();
            schema.as_object_mut().expect("an object").extend(others.as_object().expect("an object").clone());
            check(&json!({ "max_cuont": 1 }), &schema, &[]);
        }
        let closed = json!({ "properties": { "a": {} }, "unevaluatedProperties": false });
        check(&json!({ "b": 1 }), &closed, &["the tool takes no argument `b`"]);
    }
}
