//! Checks the arguments of a call against the schema of its tool, as far as the text of a workflow or command allows.
//!
//! Values of expressions are known only when the step runs; then the worker checks them against the whole schema. Here only
//! names and types are checked, and other rules of a schema are ignored.

use longshore_workflow::CallMistake;
use serde_json::{Map, Value};

use super::{has_type, type_of, types};
use crate::suggest;

/// An argument that the tool would refuse, or most likely ignore.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct ArgumentMistake {
    pub(crate) mistake: CallMistake,
    pub(crate) message: String,
    pub(crate) help: String,
}

/// Returns the mistakes in the arguments of `call`. An argument has no value if an expression computes it.
pub(crate) fn mistakes(
    call: &str,
    arguments: &[(&str, Option<&Value>)],
    schema: &Value,
) -> Vec<ArgumentMistake> {
    let input = schema;
    let Value::Object(schema) = input else { return Vec::new() };
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let names: Vec<&str> = properties.keys().map(String::as_str).collect();
    let mut found = Vec::new();
    for (name, value) in arguments {
        match properties.get(*name) {
            None => match unnamed_arguments(schema) {
                UnnamedArguments::Forbidden => found.push(ArgumentMistake {
                    mistake: CallMistake::UnknownArgument((*name).to_owned()),
                    message: format!("the tool takes no argument `{name}`"),
                    help: suggest::among(name, &names),
                }),
                UnnamedArguments::Unmentioned => found.push(ArgumentMistake {
                    mistake: CallMistake::UnnamedArgument((*name).to_owned()),
                    message: format!("`{name}` is not an argument of `{call}`"),
                    help: suggest::among(name, &names),
                }),
                UnnamedArguments::Allowed => {}
            },
            Some(_) => found.extend(value.and_then(|value| type_mistake(name, value, input))),
        }
    }
    found.extend(missing(arguments, schema));
    found
}

/// The rule of a schema for arguments that its `properties` do not name.
enum UnnamedArguments {
    /// Calls with such an argument are refused.
    Forbidden,
    /// The schema has no rule, so they are allowed by default, probably not on purpose.
    Unmentioned,
    /// Such arguments are allowed on purpose, or another part of the schema may name them.
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
    // A schema without names describes no arguments at all.
    let names_some =
        schema.get("properties").and_then(Value::as_object).is_some_and(|names| !names.is_empty());
    if says_more || !names_some { UnnamedArguments::Allowed } else { UnnamedArguments::Unmentioned }
}

/// Returns the missing required arguments as one mistake, because they are added in one place.
fn missing(arguments: &[(&str, Option<&Value>)], schema: &Map<String, Value>) -> Option<ArgumentMistake> {
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
    Some(ArgumentMistake {
        mistake: CallMistake::MissingArgument,
        message: format!("the tool requires {arguments} {missing}"),
        help: format!("add {missing} to `with`"),
    })
}

/// Returns the mistake of a value whose type the schema does not allow.
fn type_mistake(name: &str, value: &Value, schema: &Value) -> Option<ArgumentMistake> {
    let wanted = types(schema, name)?;
    if wanted.iter().any(|wanted| has_type(value, wanted)) {
        return None;
    }
    let is_quoted = wanted.contains("string") && (value.is_number() || value.is_boolean());
    let quotes = if is_quoted { "put quotes round it, or " } else { "" };
    let wanted = wanted.into_iter().collect::<Vec<_>>().join(" or ");
    Some(ArgumentMistake {
        mistake: CallMistake::ArgumentType(name.to_owned()),
        message: format!("the argument `{name}` must be of type {wanted}, and this is {}", type_of(value)),
        help: format!("{quotes}write a value of type {wanted}, or an expression that gives one"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(arguments: &Value, schema: &Value, expected: &[&str]) {
        let arguments: Vec<_> = arguments.as_object().expect("a map").iter().collect();
        // The text `$` represents an expression.
        let arguments: Vec<_> = arguments
            .iter()
            .map(|(name, value)| (name.as_str(), (**value != json!("$")).then_some(*value)))
            .collect();
        let found: Vec<_> = mistakes("s/t", &arguments, schema).into_iter().map(|one| one.message).collect();
        assert_eq!(found, expected, "{arguments:?}");
    }

    #[test]
    fn arguments_are_checked_by_names_and_types() {
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
    fn number_in_the_place_of_a_text_wants_quotes() {
        let schema =
            json!({ "properties": { "file": { "type": "string" }, "limit": { "type": "integer" } } });
        let (number, text) = (json!(2142), json!("x"));
        let found = mistakes("s/t", &[("file", Some(&number)), ("limit", Some(&text))], &schema);
        let help: Vec<&str> = found.iter().map(|one| one.help.as_str()).collect();
        let wanted = [
            "put quotes round it, or write a value of type string, or an expression that gives one",
            "write a value of type integer, or an expression that gives one",
        ];
        assert_eq!(help, wanted);
    }

    #[test]
    fn open_schema_allows_any_name() {
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
