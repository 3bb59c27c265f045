//! Questions that servers ask a person during a call, and the answers that a servers file allows. Pure.
//!
//! Nobody sits in front of a worker. By default a question makes its call a fault; with `"elicitation": "defaults"` the form is
//! sent back with the default values that the server itself put into it.

use serde_json::{Map, Value};

/// The answer to a question.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Elicitation {
    /// An error: no person answers here.
    #[default]
    Refuse,
    /// The default values of the form, if they are all that is required.
    Defaults,
}

impl Elicitation {
    /// The content of the answer to a question with these parameters. `None` if there is no answer: a page to visit, or a
    /// required field without a default.
    pub(super) fn content(self, params: &Value) -> Option<Map<String, Value>> {
        let is_form = params.get("mode").is_none_or(|mode| mode == "form");
        if self == Self::Refuse || !is_form {
            return None;
        }
        let schema = params.get("requestedSchema")?;
        let fields = schema.get("properties")?.as_object()?;
        let required =
            schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut content = Map::new();
        for (name, field) in fields {
            match field.get("default") {
                Some(value) => {
                    content.insert(name.clone(), value.clone());
                }
                None if required.iter().any(|required| required == name) => return None,
                None => {}
            }
        }
        Some(content)
    }

    /// The answers to the questions of a call that goes on with them (`inputRequests`, MCP 2026-07-28), by their keys. An error
    /// is the question that has no answer.
    pub(super) fn responses(self, requests: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        let answer = |(key, request): (&String, &Value)| {
            let nothing = Value::Null;
            let params = request.get("params").unwrap_or(&nothing);
            let is_question = request.get("method").is_some_and(|method| method == "elicitation/create");
            match self.content(params).filter(|_| is_question) {
                Some(content) => {
                    Ok((key.clone(), serde_json::json!({ "action": "accept", "content": content })))
                }
                None => Err(question(request)),
            }
        };
        requests.iter().map(answer).collect()
    }
}

/// The words of a question.
pub(super) fn question(request: &Value) -> String {
    let text = |key: &str| request.get("params")?.get(key)?.as_str();
    let method = request.get("method").and_then(Value::as_str).unwrap_or_default();
    text("message").unwrap_or(method).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_is_answered_with_its_defaults_if_nothing_else_is_required() {
        let form = |required: Value| json!({"requestedSchema": {"properties": {"a": {"default": 1}, "b": {}}, "required": required}});
        let of = |params: &Value| Elicitation::Defaults.content(params).map(Value::Object);
        assert_eq!(of(&form(json!([]))), Some(json!({"a": 1})));
        assert_eq!(of(&form(json!(["a"]))), Some(json!({"a": 1})));
        assert_eq!(of(&form(json!(["b"]))), None);
        assert_eq!(of(&json!({"mode": "url", "url": "https://h/"})), None);
        assert_eq!(Elicitation::Refuse.content(&form(json!([]))), None);
    }

    #[test]
    fn every_question_of_a_call_needs_an_answer() {
        let ask = |method: &str| json!({"method": method, "params": {"message": "Sure?", "requestedSchema": {"properties": {}}}});
        let requests = |value: Value| value.as_object().cloned().expect("an object");
        let good = requests(json!({"q": ask("elicitation/create")}));
        let answers = Elicitation::Defaults.responses(&good).map(Value::Object);
        assert_eq!(answers, Ok(json!({"q": {"action": "accept", "content": {}}})));
        assert_eq!(Elicitation::Refuse.responses(&good), Err("Sure?".to_owned()));
        let sampling = requests(json!({"q": {"method": "sampling/createMessage"}}));
        assert_eq!(Elicitation::Defaults.responses(&sampling), Err("sampling/createMessage".to_owned()));
    }
}
