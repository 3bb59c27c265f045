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

/// Why a question has no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Unanswered {
    /// The servers file allows no answers.
    #[error(
        "answering such questions is not built yet, but for the defaults of a form (\"longshore\": {{\"elicitation\": \
         \"defaults\"}} in the servers file)"
    )]
    Refused,
    /// The form requires these fields, and the server gave them no default.
    #[error("the form is answered with its defaults, and the server gave none for {}, which it requires", listed(.0))]
    NoDefault(Vec<String>),
    /// It is not a form.
    #[error("only a form is answered with its defaults, and this is not a form")]
    NoForm,
}

impl Elicitation {
    /// Returns the content of the answer to a question with these parameters.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) fn content(self, params: &Value) -> Result<Map<String, Value>, Unanswered> {
        if self == Self::Refuse {
            return Err(Unanswered::Refused);
        }
        let is_form = params.get("mode").is_none_or(|mode| mode == "form");
        let schema = params.get("requestedSchema").filter(|_| is_form).ok_or(Unanswered::NoForm)?;
        let fields = schema.get("properties").and_then(Value::as_object).ok_or(Unanswered::NoForm)?;
        let default = |name: &str| fields.get(name)?.get("default");
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let missing: Vec<String> = required
            .filter_map(Value::as_str)
            .filter(|name| default(name).is_none())
            .map(str::to_owned)
            .collect();
        if !missing.is_empty() {
            return Err(Unanswered::NoDefault(missing));
        }
        let filled = fields.keys().filter_map(|name| Some((name.clone(), default(name)?.clone())));
        Ok(filled.collect())
    }

    /// Returns the answers to the questions of a call that continues with them (`inputRequests`, MCP 2026-07-28), by their keys.
    ///
    /// # Errors
    /// The first question without an answer, in words, and why it has none.
    pub(super) fn responses(self, requests: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        let answer = |(key, request): (&String, &Value)| match self.answer(request) {
            Ok(content) => Ok((key.clone(), serde_json::json!({ "action": "accept", "content": content }))),
            Err(why) => Err(unanswered(request, &why)),
        };
        requests.iter().map(answer).collect()
    }

    fn answer(self, request: &Value) -> Result<Map<String, Value>, Unanswered> {
        let is_question = request.get("method").is_some_and(|method| method == "elicitation/create");
        let content = self.content(request.get("params").unwrap_or(&Value::Null))?;
        if is_question { Ok(content) } else { Err(Unanswered::NoForm) }
    }
}

/// Fields that a fault names. With [`SHOWN_CHARS`] for each, a list of them takes one or two lines of a terminal.
const MOST_FIELDS: usize = 5;
/// Characters of a field's name that a fault shows: the server chooses names of any length.
const SHOWN_CHARS: usize = 60;

fn listed(names: &[String]) -> String {
    let shown = |name: &String| format!("`{}`", name.chars().take(SHOWN_CHARS).collect::<String>());
    let shown: Vec<String> = names.iter().take(MOST_FIELDS).map(shown).collect();
    match names.len().saturating_sub(MOST_FIELDS) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The words of a question, and why it has no answer.
pub(super) fn unanswered(request: &Value, why: &Unanswered) -> String {
    let text = |key: &str| request.get("params")?.get(key)?.as_str();
    let method = request.get("method").and_then(Value::as_str).unwrap_or_default();
    format!("{:?}; {why}", text("message").unwrap_or(method))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_is_answered_with_its_defaults_if_nothing_else_is_required() {
        let form = |required: Value| json!({"requestedSchema": {"properties": {"a": {"default": 1}, "b": {}}, "required": required}});
        let of = |params: &Value| Elicitation::Defaults.content(params).map(Value::Object);
        assert_eq!(of(&form(json!([]))), Ok(json!({"a": 1})));
        assert_eq!(of(&form(json!(["a"]))), Ok(json!({"a": 1})));
        let missing = of(&form(json!(["a", "b", "c"]))).expect_err("no default");
        assert!(missing.to_string().ends_with("gave none for `b`, `c`, which it requires"), "{missing}");
        assert_eq!(of(&json!({"mode": "url", "url": "https://h/"})), Err(Unanswered::NoForm));
        assert_eq!(Elicitation::Refuse.content(&form(json!([]))), Err(Unanswered::Refused));
    }

    #[test]
    fn every_question_of_a_call_needs_an_answer() {
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
