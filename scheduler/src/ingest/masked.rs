//! Removal of possible secrets from the body of a refused submit.
//!
//! A dead letter is stored for weeks and read by people. For a workflow that declares secret inputs, only these parts of a
//! body are stored: the names of its subject, the id, the version, values of inputs that are declared and not secret, and
//! references to secrets (`secret:NAME`). Any other value may be a secret: given in place of its name, under a misspelled
//! name, or outside of `inputs`. Of a body that cannot be decoded, nothing is stored.

use longshore_proto::SecretName;
use longshore_workflow::Plan;
use serde_json::{Map, Value};

use crate::value_count::{REQUEST_VALUE_LIMIT, check_json};

/// Replacement of a value.
const MASK: &str = "***";

/// Body of a dead letter.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct StoredBody {
    /// The text.
    pub(super) text: String,
    /// No value was masked.
    pub(super) is_whole: bool,
}

/// Decodes a body for [`without_secrets`]. Returns `None` if it is not JSON or has too many values. An empty body means an empty
/// object, as it does for a submit.
pub(super) fn decode_json(text: &str) -> Option<Value> {
    if text.trim().is_empty() {
        return Some(Value::Object(Map::new()));
    }
    check_json(text.as_bytes(), REQUEST_VALUE_LIMIT).ok()?;
    serde_json::from_str(text).ok()
}

/// Returns the body without values that may be secrets, or `None` if the workflow declares no secret inputs. `namespace` is
/// that of the subject.
pub(super) fn without_secrets(body: Option<Value>, plan: &Plan, namespace: &str) -> Option<StoredBody> {
    if !plan.inputs.iter().any(|spec| spec.secret) {
        return None;
    }
    let Some(Value::Object(mut fields)) = body else {
        return Some(StoredBody { text: MASK.to_owned(), is_whole: false });
    };
    let mut is_whole = true;
    let mut hide = |value: &mut Value| {
        if !names_a_secret(value) {
            *value = MASK.into();
            is_whole = false;
        }
    };
    for (field, value) in &mut fields {
        match (field.as_str(), value) {
            ("id" | "version", Value::String(_) | Value::Null) => {}
            ("namespace", Value::String(named)) if named == namespace => {}
            ("workflow", Value::String(named)) if named == plan.name.as_str() => {}
            ("inputs", Value::Object(inputs)) => {
                let secret = inputs.iter_mut().filter(|(name, _)| may_be_secret(name, plan));
                secret.for_each(|(_, value)| hide(value));
            }
            (_, value) => hide(value),
        }
    }
    // Serialized again even if nothing was masked: if a name occurs twice, the original text has both values.
    Some(StoredBody { text: Value::Object(fields).to_string(), is_whole })
}

/// Returns true for an input that is secret, or undeclared and so perhaps a secret under a misspelled name.
fn may_be_secret(name: &str, plan: &Plan) -> bool {
    plan.inputs.iter().find(|spec| spec.name == name).is_none_or(|spec| spec.secret)
}

fn names_a_secret(value: &Value) -> bool {
    value.as_str().is_some_and(|text| SecretName::from_reference(text).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(inputs: &str) -> Plan {
        let text = format!("longshore: v1\nname: demo\ninputs: {inputs}\nsteps: [{{ set: {{ a: 1 }} }}]\n");
        longshore_workflow::compile(&text).expect("compiles")
    }

    /// Returns the stored body for a workflow with the secret inputs `card` and `other`.
    fn stored(text: &str) -> (String, bool) {
        let plan = plan("{ card: { secret: true }, other: { secret: true }, count: { type: integer } }");
        let StoredBody { text, is_whole } =
            without_secrets(decode_json(text), &plan, "team").expect("it has secret inputs");
        (text, is_whole)
    }

    #[test]
    fn values_that_may_be_secrets_are_not_stored() {
        for (original, masked) in [
            (
                r#"{"id":"a","inputs":{"card":"4111","count":1,"other":"secret:OTHER"}}"#,
                r#"{"id":"a","inputs":{"card":"***","count":1,"other":"secret:OTHER"}}"#,
            ),
            (r#"{"inputs":{"card":{"deep":["4111"]}}}"#, r#"{"inputs":{"card":"***"}}"#),
            (r#"{"id":"bad\n","inputs":{"card":4111}}"#, r#"{"id":"bad\n","inputs":{"card":"***"}}"#),
            (r#"{"inputs":{"crad":"4111","count":"x"}}"#, r#"{"inputs":{"count":"x","crad":"***"}}"#),
            (r#"{"bogus":1,"inputs":{"card":"4111"}}"#, r#"{"bogus":"***","inputs":{"card":"***"}}"#),
            (r#"{"card":"4111"}"#, r#"{"card":"***"}"#),
            (r#"{"inputs":["4111"]}"#, r#"{"inputs":"***"}"#),
            (r#"{"id":{"card":"4111"}}"#, r#"{"id":"***"}"#),
            (r#"{"workflow":"4111","namespace":"other"}"#, r#"{"namespace":"***","workflow":"***"}"#),
            ("cut {", "***"),
            (r#"{"inputs":{"card":"4111"}"#, "***"),
            (r#"["4111"]"#, "***"),
        ] {
            assert_eq!(stored(original), (masked.to_owned(), false), "{original}");
        }
    }

    #[test]
    fn a_body_without_possible_secrets_is_stored_whole() {
        for original in [
            r#"{"inputs":{"card":"secret:CARD","count":"x"},"version":"0"}"#,
            r#"{"namespace":"team","workflow":"demo"}"#,
            "{}",
        ] {
            assert_eq!(stored(original), (original.to_owned(), true));
        }
        assert_eq!(stored(" "), ("{}".to_owned(), true));
        let twice = r#"{"inputs":{"card":"4111","card":"secret:CARD"}}"#;
        assert_eq!(stored(twice), (r#"{"inputs":{"card":"secret:CARD"}}"#.to_owned(), true));
    }

    #[test]
    fn bodies_for_workflows_without_secret_inputs_are_not_changed() {
        let plan = plan("{ count: { type: integer } }");
        assert_eq!(without_secrets(decode_json("cut {"), &plan, "team"), None);
    }
}
