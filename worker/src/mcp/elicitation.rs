//! Questions of servers to a person during a call (elicitation), and the answers that the servers file allows. Pure.
//!
//! A worker has no user. By default a question makes its call a fault. With `"elicitation": "defaults"` the answer is the form
//! with the default values that the server itself set.

use serde_json::{Map, Value};

/// The answer to questions of a server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Elicitation {
    /// Questions are answered with an error.
    #[default]
    Refuse,
    /// Forms are answered with their default values, if each required field has one.
    Defaults,
}

/// Reason why a question has no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum ElicitationRefusal {
    /// The servers file allows no answers.
    #[error(
        "answering such questions is not built yet, but for the defaults of a form (\"longshore\": {{\"elicitation\": \
         \"defaults\"}} in the servers file)"
    )]
    Refused,
    /// The form requires these fields, and the server gave them no default.
    #[error("the form is answered with its defaults, and the server gave none for {}, which it requires", listed(.0))]
    NoDefault(Vec<String>),
    /// The question is not a form.
    #[error("only a form is answered with its defaults, and this is not a form")]
    NoForm,
}

impl Elicitation {
    /// Returns the content of the answer to a question with these parameters.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub(super) fn content(self, params: &Value) -> Result<Map<String, Value>, ElicitationRefusal> {
        if self == Self::Refuse {
            return Err(ElicitationRefusal::Refused);
        }
        let is_form = params.get("mode").is_none_or(|mode| mode == "form");
        let schema = params.get("requestedSchema").filter(|_| is_form).ok_or(ElicitationRefusal::NoForm)?;
        let fields = schema.get("properties").and_then(Value::as_object).ok_or(ElicitationRefusal::NoForm)?;
        let default = |name: &str| fields.get(name)?.get("default");
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let missing: Vec<String> = required
            .filter_map(Value::as_str)
            .filter(|name| default(name).is_none())
            .map(str::to_owned)
            .collect();
        if !missing.is_empty() {
            return Err(ElicitationRefusal::NoDefault(missing));
        }
        let filled = fields.keys().filter_map(|name| Some((name.clone(), default(name)?.clone())));
        Ok(filled.collect())
    }

    /// Returns the answers to the questions of a call that continues with them (`inputRequests`, MCP 2026-07-28), by their keys.
    ///
    /// # Errors
    /// The text of the first question without an answer, and the reason why it has none.
    pub(super) fn responses(self, requests: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        let answer = |(key, request): (&String, &Value)| match self.answer(request) {
            Ok(content) => Ok((key.clone(), serde_json::json!({ "action": "accept", "content": content }))),
            Err(why) => Err(describe_unanswered(request, &why)),
        };
        requests.iter().map(answer).collect()
    }

    fn answer(self, request: &Value) -> Result<Map<String, Value>, ElicitationRefusal> {
        let is_question = request.get("method").is_some_and(|method| method == "elicitation/create");
        let content = self.content(request.get("params").unwrap_or(&Value::Null))?;
        if is_question { Ok(content) } else { Err(ElicitationRefusal::NoForm) }
    }
}

/// Fields that a fault names. With [`NAME_CHARS`] for each, the list takes one or two lines of a terminal.
const MOST_FIELDS: usize = 5;
/// Characters of a field's name in a fault, since a server may choose a name of any length.
const NAME_CHARS: usize = 60;

fn listed(names: &[String]) -> String {
    let shown = |name: &String| format!("`{}`", name.chars().take(NAME_CHARS).collect::<String>());
    let shown: Vec<String> = names.iter().take(MOST_FIELDS).map(shown).collect();
    match names.len().saturating_sub(MOST_FIELDS) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Returns the text of a question and the reason why it has no answer.
pub(super) fn describe_unanswered(request: &Value, why: &ElicitationRefusal) -> String {
    let text = |key: &str| request.get("params")?.get(key)?.as_str();
    let method = request.get("method").and_then(Value::as_str).unwrap_or_default();
    format!("{:?}; {why}", text("message").unwrap_or(method))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn form_is_answered_with_its_defaults_if_each_required_field_has_one() {
        let form = |required: Value| json!({"requestedSchema": {"properties": {"a": {"default": 1}, "b": {}}, "required": required}});
        let of = |params: &Value| Elicitation::Defaults.content(params).map(Value::Object);
        assert_eq!(of(&form(json!([]))), Ok(json!({"a": 1})));
        assert_eq!(of(&form(json!(["a"]))), Ok(json!({"a": 1})));
        let missing = of(&form(json!(["a", "b", "c"]))).expect_err("no default");
        assert!(missing.to_string().ends_with("gave none for `b`, `c`, which it requires"), "{missing}");
        assert_eq!(of(&json!({"mode": "url", "url": "https://h/"})), Err(ElicitationRefusal::NoForm));
        assert_eq!(Elicitation::Refuse.content(&form(json!([]))), Err(ElicitationRefusal::Refused));
    }

    #[test]
    fn call_with_a_question_without_answer_is_refused() {
        let ask = |method: &str| json!({"method": method, "params": {"message": "Sure?", "requestedSchema": {"properties": {}}}});
        let requests = |value: Value| value.as_object().cloned().expect("an object");
        let good = requests(json!({"q": ask("elicitation/create")}));
        let answers = Elicitation::Defaults.responses(&good).map(Value::Object);
        assert_eq!(answers, Ok(json!({"q": {"action": "accept", "content": {}}})));
        let refused = Elicitation::Refuse.responses(&good).expect_err("refused");
        assert!(refused.starts_with("\"Sure?\"; answering such questions is not built yet"), "{refused}");
        let sampling = requests(json!({"q": {"method": "sampling/createMessage"}}));
        let refused = Elicitation::Defaults.responses(&sampling).expect_err("no form");
        assert!(refused.starts_with("\"sampling/createMessage\"; only a form"), "{refused}");
    }
}
