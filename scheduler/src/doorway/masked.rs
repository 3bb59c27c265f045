//! A refused submit without the values that were given where the name of a secret belongs.
//!
//! A dead letter is kept for weeks and read by people. Which inputs are secret is known only where the workflow is: a body
//! that cannot be read, or that names an unknown workflow, is kept as it came.

use longshore_workflow::InputProblems;
use serde_json::Value;

use crate::desk::Refusal;
use crate::intake::SubmitError;

/// The text in the place of a value.
const MASK: &str = "***";

/// Returns the text of a body without the values given to secret inputs, or `None` if there are no such values.
pub(super) fn without_secrets(text: &str, refusal: &Refusal) -> Option<String> {
    let Refusal::Submit(SubmitError::Inputs(problems)) = refusal else { return None };
    let names: Vec<&str> = InputProblems::literal_secrets(problems).collect();
    if names.is_empty() {
        return None;
    }
    let Ok(mut body) = serde_json::from_str::<Value>(text) else { return Some(MASK.to_owned()) };
    let inputs = body.get_mut("inputs").and_then(Value::as_object_mut);
    for (_, value) in inputs.into_iter().flatten().filter(|(name, _)| names.contains(&name.as_str())) {
        *value = MASK.into();
    }
    Some(body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_inputs_are_not_kept() {
        let text = "
longshore: v1
name: demo
inputs: { card: { secret: true }, other: { secret: true }, count: { type: integer } }
steps: [{ set: { a: 1 } }]
";
        let plan = longshore_workflow::compile(text).expect("compiles");
        let refusal = |body: &str| {
            let inputs: Value = serde_json::from_str(body).expect("JSON");
            let inputs = inputs.get("inputs").and_then(Value::as_object).cloned().unwrap_or_default();
            let problems = plan.accept_inputs(inputs).expect_err("refused");
            Refusal::Submit(SubmitError::Inputs(problems))
        };
        let body = r#"{"id":"a","inputs":{"card":"4111","count":1,"other":"secret:OTHER"}}"#;
        let kept = without_secrets(body, &refusal(body)).expect("masked");
        assert_eq!(kept, r#"{"id":"a","inputs":{"card":"***","count":1,"other":"secret:OTHER"}}"#);
        let nested = r#"{"inputs":{"card":{"deep":["4111"]}}}"#;
        assert_eq!(
            without_secrets(nested, &refusal(nested)).as_deref(),
            Some(r#"{"inputs":{"card":"***"}}"#)
        );
        let harmless = r#"{"inputs":{"count":"x"}}"#;
        assert_eq!(without_secrets(harmless, &refusal(harmless)), None);
        assert_eq!(without_secrets("cut {", &refusal(body)).as_deref(), Some("***"));
    }
}
