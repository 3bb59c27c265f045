//! A refused submit without values that may be secrets.
//!
//! A dead letter is kept for weeks and read by people. For a workflow that declares secret inputs, only these parts of a body are
//! kept: the id, the version, values of inputs that are declared and not secret, and references to secrets (`secret:NAME`).
//! Anything else may be a secret: given in place of its name, under a misspelled name, or outside of `inputs`. Of a body that
//! cannot be read, nothing is kept.

use longshore_proto::SecretName;
use longshore_workflow::Plan;
use serde_json::{Map, Value};

use crate::nodes::{REQUEST_NODES, check_json};

/// The text in the place of a value.
const MASK: &str = "***";

/// A body to keep.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct KeptBody {
    /// The text.
    pub(super) text: String,
    /// Nothing was masked.
    pub(super) is_whole: bool,
}

/// Reads a body for [`without_secrets`]. Returns `None` if it is no JSON or holds too many values. An empty body is an empty
/// object, as it is for a submit.
pub(super) fn read(text: &str) -> Option<Value> {
    if text.trim().is_empty() {
        return Some(Value::Object(Map::new()));
    }
    check_json(text.as_bytes(), REQUEST_NODES).ok()?;
    serde_json::from_str(text).ok()
}

/// Returns what is kept of a body, or `None` if the workflow declares no secret inputs.
pub(super) fn without_secrets(body: Option<Value>, plan: &Plan) -> Option<KeptBody> {
    if !plan.inputs.iter().any(|spec| spec.secret) {
        return None;
    }
    let Some(Value::Object(mut fields)) = body else {
        return Some(KeptBody { text: MASK.to_owned(), is_whole: false });
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
            ("inputs", Value::Object(inputs)) => {
                let secret = inputs.iter_mut().filter(|(name, _)| may_be_secret(name, plan));
                secret.for_each(|(_, value)| hide(value));
            }
            (_, value) => hide(value),
        }
    }
    // Written again even where nothing was masked: of a name that came twice, the text that came holds both values.
    Some(KeptBody { text: Value::Object(fields).to_string(), is_whole })
}

/// Whether an input is secret, or undeclared and so perhaps a secret under a misspelled name.
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

    /// What is kept of a body for a workflow with the secret inputs `card` and `other`.
    fn kept(text: &str) -> (String, bool) {
        let plan = plan("{ card: { secret: true }, other: { secret: true }, count: { type: integer } }");
        let KeptBody { text, is_whole } = without_secrets(read(text), &plan).expect("it has secret inputs");
        (text, is_whole)
    }

    #[test]
    fn values_that_may_be_secrets_are_not_kept() {
        for (came, left) in [
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
            ("cut {", "***"),
            (r#"{"inputs":{"card":"4111"}"#, "***"),
            (r#"["4111"]"#, "***"),
        ] {
            assert_eq!(kept(came), (left.to_owned(), false), "{came}");
        }
    }

    #[test]
    fn a_body_without_such_values_is_kept_whole() {
        for came in [r#"{"inputs":{"card":"secret:CARD","count":"x"},"version":"0"}"#, "{}"] {
            assert_eq!(kept(came), (came.to_owned(), true));
        }
        assert_eq!(kept(" "), ("{}".to_owned(), true));
        let twice = r#"{"inputs":{"card":"4111","card":"secret:CARD"}}"#;
        assert_eq!(kept(twice), (r#"{"inputs":{"card":"secret:CARD"}}"#.to_owned(), true));
    }

    #[test]
    fn bodies_for_workflows_without_secret_inputs_are_left_as_they_came() {
        assert_eq!(without_secrets(read("cut {"), &plan("{ count: { type: integer } }")), None);
    }
}
