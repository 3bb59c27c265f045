//! The arguments of `servers call`: a JSON object, and single arguments that are parsed by the types of the tool's schema
//! and override it.

use longshore_workflow::{CallMistake, JsonInputError, RewrittenNumber, parse_json, parse_untyped};
use serde_json::{Map, Value};

use crate::args::{NameValue, ToolTarget, given_twice};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::inputs::A_NUMBER;
use crate::output::Output;
use crate::schema::{ArgumentMistake, has_type, mistakes, types};

/// Parses the JSON object.
pub(super) fn object(text: Option<&str>) -> Result<Map<String, Value>, Failure> {
    let is_file = |text: &str| text == "-" || text.starts_with('@') || text.ends_with(".json");
    let help = if text.is_some_and(is_file) {
        "the object is written on the command line; of a file, give the content: \"$(cat arguments.json)\""
    } else {
        "write them as a JSON object: '{\"file\": \"north.csv\"}', or one by one: -a file=north.csv"
    };
    let invalid = |why: String, help| {
        Failure::new(Exit::Invalid, format!("the text of the arguments {why}")).help(help)
    };
    match text.map(parse_json) {
        None => Ok(Map::new()),
        Some(Ok(Value::Object(object))) => Ok(object),
        Some(Ok(_)) => Err(invalid("is not a JSON object".to_owned(), help)),
        Some(Err(why)) => Err(invalid(why.to_string(), if why.is_number() { A_NUMBER } else { help })),
    }
}

/// Overrides arguments by single ones, each parsed by its type in `schema`, which is that of the tool's input.
pub(super) fn override_with(
    mut arguments: Map<String, Value>,
    pairs: &[NameValue],
    schema: &Value,
    output: &Output,
) -> Result<Map<String, Value>, Failure> {
    if let Some(name) = given_twice(pairs) {
        let message = format!("the argument `{name}` is given twice");
        return Err(Failure::new(Exit::Usage, message)
            .help(format!("give it once; a list is written as JSON: -a '{name}=[\"a\", \"b\"]'")));
    }
    for NameValue { name, value: text } in pairs {
        let value = typed(text, schema, name).map_err(|why| {
            let digits = "put a number into double quotes to pass its digits on as text";
            Failure::new(Exit::Invalid, format!("the argument `{name}` {why}")).help(if why.is_number() {
                A_NUMBER
            } else {
                digits
            })
        })?;
        let is_typed = types(schema, name).is_some();
        if let Some(number) = RewrittenNumber::find(text, &value).filter(|_| !is_typed) {
            output.warning(&format!(
                "the schema gives the argument `{name}` no type, and {number}; give it within the JSON object to be exact"
            ));
        }
        arguments.insert(name.clone(), value);
    }
    Ok(arguments)
}

/// Refuses an argument that the schema forbids, and warns about one that it does not name: most tools ignore it.
pub(super) fn refuse_unknown(
    arguments: &Map<String, Value>,
    ToolTarget { server, tool }: &ToolTarget,
    schema: &Value,
    output: &Output,
) -> Result<(), Failure> {
    let given: Vec<_> = arguments.iter().map(|(name, value)| (name.as_str(), Some(value))).collect();
    for ArgumentMistake { mistake, message, help } in mistakes(&format!("{server}/{tool}"), &given, schema) {
        match mistake {
            CallMistake::UnknownArgument(_) => return Err(Failure::new(Exit::Invalid, message).help(help)),
            CallMistake::UnnamedArgument(_) => output.warning(&format!("{message}; {help}")),
            // The worker checks the rest, against the whole schema.
            _ => {}
        }
    }
    Ok(())
}

/// Parses a value by the types of its argument. If only text is allowed, the value is text. If text and other types are
/// allowed, it has another type if it can be parsed as that. If the types are not known, it is parsed as an input without a
/// type.
fn typed(text: &str, schema: &Value, name: &str) -> Result<Value, JsonInputError> {
    let as_text = || Value::String(text.to_owned());
    let Some(mut types) = types(schema, name) else { return parse_untyped(text) };
    let allows_text = types.remove("string");
    if allows_text && types.is_empty() {
        return Ok(as_text());
    }
    match parse_json(text.trim()) {
        Ok(value) if types.iter().any(|wanted| has_type(&value, wanted)) => Ok(value),
        _ if allows_text => Ok(as_text()),
        // The check against the tool's schema refuses it.
        Ok(value) => Ok(value),
        Err(why) if why.is_number() => Err(why),
        Err(JsonInputError::Invalid(_)) => Ok(as_text()),
        Err(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: Option<&str>, pairs: &[&str], schema: &Value) -> Result<Value, Failure> {
        let pairs: Vec<NameValue> = pairs.iter().map(|pair| pair.parse().expect("a pair")).collect();
        override_with(object(text)?, &pairs, schema, &Output::new()).map(Value::Object)
    }

    #[test]
    fn single_arguments_go_over_the_object_and_are_json_where_no_type_is_known() {
        let pairs = ["file=north.csv", "limit=3", r#"columns=["a"]"#, "version=1.10"];
        let arguments = read(Some(r#"{"limit": 1, "deep": true}"#), &pairs, &json!({})).expect("arguments");
        let expected =
            json!({ "limit": 3, "deep": true, "file": "north.csv", "columns": ["a"], "version": "1.10" });
        assert_eq!(arguments, expected);
    }

    #[test]
    fn single_arguments_have_the_types_of_the_schema() {
        let schema = json!({ "properties": {
            "zip": { "type": "string" },
            "count": { "type": "integer" },
            "flag": { "type": "boolean" },
            "tags": { "type": "array" },
            "maybe": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
            "either": { "type": ["string", "integer"] },
        }});
        for (pair, wanted) in [
            ("zip=02142", json!("02142")),
            ("zip=5", json!("5")),
            ("zip=true", json!("true")),
            ("zip=\"x\"", json!("\"x\"")),
            ("zip= 12345678901234567890123", json!(" 12345678901234567890123")),
            ("count=5", json!(5)),
            ("count=5.0", json!(5.0)),
            ("count=many", json!("many")),
            ("flag=true", json!(true)),
            ("tags=[1]", json!([1])),
            ("maybe=null", json!(null)),
            ("maybe=5", json!("5")),
            ("either=5", json!(5)),
            ("either=05", json!("05")),
            ("either=12345678901234567890123", json!("12345678901234567890123")),
        ] {
            let (name, _) = pair.split_once('=').expect("a pair");
            assert_eq!(read(None, &[pair], &schema).expect(pair)[name], wanted, "{pair}");
        }
        let zeros = read(None, &["count=007"], &schema).expect_err("no number");
        assert_eq!(zeros.help.as_deref(), Some(A_NUMBER));
        for pair in
            ["count=12345678901234567890123", "other=12345678901234567890123", "tags=[{\"a\":1,\"a\":2}]"]
        {
            assert_eq!(read(None, &[pair], &schema).expect_err(pair).exit, Exit::Invalid, "{pair}");
        }
    }

    #[test]
    fn argument_that_the_tool_does_not_take_is_named_with_the_one_that_is_meant() {
        let refused = |schema: Value| {
            let arguments = Map::from_iter([("flie".to_owned(), json!("a.csv"))]);
            let target = "tables/read".parse().expect("a target");
            refuse_unknown(&arguments, &target, &schema, &Output::new()).err()
        };
        let properties = json!({ "file": { "type": "string" } });
        let closed =
            refused(json!({ "properties": properties, "additionalProperties": false })).expect("refused");
        assert_eq!(
            (closed.exit, closed.message.as_str()),
            (Exit::Invalid, "the tool takes no argument `flie`")
        );
        assert_eq!(closed.help.as_deref(), Some("did you mean `file`? Known: `file`"));
        assert!(refused(json!({ "properties": properties })).is_none(), "a warning");
    }

    #[test]
    fn arguments_that_are_no_object_or_given_twice_are_refused() {
        for bad in ["[1]", "{", "north.csv", r#"{"a": 1, "a": 2}"#, r#"{"a": 12345678901234567890123}"#] {
            assert_eq!(read(Some(bad), &[], &json!({})).expect_err("refused").exit, Exit::Invalid, "{bad}");
        }
        let twice = read(None, &["a=1", "a=2"], &json!({})).expect_err("refused");
        assert_eq!(twice.message, "the argument `a` is given twice");
    }
}
