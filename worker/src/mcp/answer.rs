//! From a tool's result to what the next steps see. Pure.
//!
//! A result is read as it came, and one odd part costs no other: blocks of a kind that is not known stay in the content.

use longshore_attempt::Answer;
use serde_json::{Map, Value, json};

use super::classify::{INVALID_PARAMS, Observation};
use super::task::Task;
use super::wire::exceeds_memory;

/// What a result says.
#[derive(Debug, PartialEq)]
pub(crate) enum Answered {
    /// The answer.
    Now(Answer),
    /// The answer comes later, from this task.
    ByTask(Task),
    /// The call is to be repeated with this state, and with answers to these questions.
    Again {
        /// The state as it came, to be sent back.
        state: Option<String>,
        /// The questions, by their keys.
        questions: Map<String, Value>,
    },
}

/// What a tool's result means; or that it is the library of the server, not the tool, that speaks in it.
pub(crate) fn answer(mut result: Map<String, Value>) -> Result<Answered, Observation> {
    match result.remove("resultType") {
        None | Some(Value::Null) => {}
        Some(Value::String(kind)) if kind == "complete" => {}
        Some(Value::String(kind)) if kind == "input_required" => return Ok(again(result)),
        Some(Value::String(kind)) if kind == "task" => return by_task(&result),
        Some(kind) => return Err(Observation::BadAnswer(format!("its `resultType` is {kind}"))),
    }
    let meta = result.remove("_meta").unwrap_or_default();
    let is_error = match result.remove("isError") {
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        flag => flag == Some(Value::Bool(true)),
    };
    let structured = result.remove("structuredContent");
    let content = match result.remove("content") {
        Some(Value::Array(blocks)) => Some(blocks),
        Some(Value::String(text)) => Some(vec![json!({ "type": "text", "text": text })]),
        Some(block @ Value::Object(_)) => Some(vec![block]),
        _ => None,
    };
    if content.is_none() && structured.is_none() && result.get("task").is_some_and(Value::is_object) {
        // A server of 2025-11-25 answers so.
        return by_task(&result);
    }
    let has_content = content.is_some();
    let blocks = content.unwrap_or_default();
    let text = text_of(&blocks);
    if is_error && let Some(seen) = reported(&text) {
        return Err(seen);
    }
    let mut error_text = if is_error { text.trim().to_owned() } else { String::new() };
    // A server of the handshake era may write `null` for "there is none"; its text is all that it says.
    let structured = structured.filter(|value| !value.is_null() || blocks.is_empty());
    let content = Value::Array(blocks);
    let value = match structured {
        Some(value) => value,
        None if !has_content => without_content(result),
        None => from_blocks(&content, text),
    };
    if is_error && error_text.is_empty() {
        error_text = value.to_string();
    }
    Ok(Answered::Now(Answer { value, content, meta, is_error, error_text }))
}

fn again(mut result: Map<String, Value>) -> Answered {
    let state = match result.remove("requestState") {
        Some(Value::String(state)) => Some(state),
        _ => None,
    };
    let questions = match result.remove("inputRequests") {
        Some(Value::Object(questions)) => questions,
        _ => Map::new(),
    };
    Answered::Again { state, questions }
}

fn by_task(result: &Map<String, Value>) -> Result<Answered, Observation> {
    let task = result.get("task").and_then(Value::as_object).unwrap_or(result);
    Task::read(task).map(Answered::ByTask).map_err(Observation::BadAnswer)
}

/// The output of a result that has neither content nor structured content: what it has instead. Servers of 2024-10-07 name it
/// `toolResult`.
fn without_content(mut result: Map<String, Value>) -> Value {
    match result.remove("toolResult") {
        Some(value) => value,
        None if result.is_empty() => Value::String(String::new()),
        None => Value::Object(result),
    }
}

/// A single text block that is a JSON object or list is that: most servers still answer so. Anything else stays text, because a
/// commit, a version or a phone number may look like a number, and would come back as another one. Content that is neither
/// text nor media, such as links, is the output itself, which a later step reads.
fn from_blocks(content: &Value, text: String) -> Value {
    let blocks = content.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_shown = |block: &Value| matches!(kind(block), Some("text" | "image" | "audio"));
    if !blocks.is_empty() && !blocks.iter().any(is_shown) {
        return content.clone();
    }
    let is_single = matches!(blocks, [block] if kind(block) == Some("text"));
    if !is_single || exceeds_memory(text.as_bytes()) {
        return Value::String(text);
    }
    match serde_json::from_str(&text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        _ => Value::String(text),
    }
}

fn kind(block: &Value) -> Option<&str> {
    block.get("type")?.as_str()
}

fn text_of(blocks: &[Value]) -> String {
    let texts = blocks.iter().filter(|block| kind(block) == Some("text")).filter_map(|block| {
        match block.get("text")? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// Servers on version 1 of the official TypeScript library report wrong arguments and unknown tools as a tool's
/// error with this text.
fn reported(text: &str) -> Option<Observation> {
    let (code, message) = text.trim().strip_prefix("MCP error ")?.split_once(": ")?;
    let code: i64 = code.parse().ok()?;
    // Any other code comes from the tool itself, which calls its errors so.
    (code == INVALID_PARAMS).then(|| Observation::Reported { code, message: message.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(result: Value) -> Result<Answer, Observation> {
        let Value::Object(result) = result else { panic!("an object") };
        match answer(result)? {
            Answered::Now(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    fn text(text: &str) -> Value {
        json!({"type": "text", "text": text})
    }

    #[test]
    fn the_output_is_the_most_structured_that_there_is() {
        let image = json!({"type": "image", "data": "AAAA", "mimeType": "image/png"});
        let cases = [
            (json!({"content": [text("1")], "structuredContent": {"a": 1}}), json!({"a": 1})),
            (json!({"content": [], "structuredContent": null}), Value::Null),
            (json!({"content": [text("{\"a\": [1, 2]}")]}), json!({"a": [1, 2]})),
            (json!({"content": [text("[42]")]}), json!([42])),
            (json!({"content": [text("42")]}), json!("42")),
            (json!({"content": [text("296e115")]}), json!("296e115")),
            (json!({"content": [text("1.10")]}), json!("1.10")),
            (json!({"content": [text("true")]}), json!("true")),
            (json!({"content": [text("null")]}), json!("null")),
            (json!({"content": [text("said")], "structuredContent": null}), json!("said")),
            (json!({"content": [text("plain")]}), json!("plain")),
            (json!({"content": [text("1"), text("2")]}), json!("1\n2")),
            (json!({"content": [text("1"), image]}), json!("1")),
            (json!({"content": []}), json!("")),
            (
                json!({"content": [{"type": "resource_link", "uri": "file:///x", "name": "x"}]}),
                json!([{"type": "resource_link", "uri": "file:///x", "name": "x"}]),
            ),
            (json!({"content": "plain"}), json!("plain")),
            (json!({"content": text("x")}), json!("x")),
            (json!({"content": [{"type": "text", "text": null}]}), json!("")),
            (json!({"content": [{"type": "text", "text": 42}]}), json!("42")),
            (json!({"content": [{"type": "error", "text": "no"}]}), json!([{"type": "error", "text": "no"}])),
            (json!({"content": [text("fine"), {"type": "video"}, 3]}), json!("fine")),
            (json!({"toolResult": {"a": 1}}), json!({"a": 1})),
            (json!({"temperature": 21, "_meta": {}, "resultType": "complete"}), json!({"temperature": 21})),
            (json!({}), json!("")),
        ];
        for (result, wanted) in cases {
            assert_eq!(of(result.clone()).expect("an answer").value, wanted, "{result}");
        }
    }

    #[test]
    fn the_content_is_kept_as_it_came() {
        let content = json!([
            {"type": "text", "text": "a", "annotations": {"priority": 0.7, "audience": ["robot"]}, "new": 1},
            {"type": "resource_link", "uri": "file:///x"},
            {"type": "image", "data": "AAAA"},
        ]);
        let kept = of(json!({"content": content, "_meta": {"trace": 1}})).expect("an answer");
        assert_eq!((kept.content, kept.meta), (content, json!({"trace": 1})));
    }

    #[test]
    fn an_error_has_a_text() {
        let plain = of(json!({"isError": true, "content": [text("no such city")]})).expect("an answer");
        assert_eq!((plain.is_error, plain.error_text.as_str()), (true, "no such city"));
        let bare =
            of(json!({"isError": true, "content": [], "structuredContent": {"e": 1}})).expect("an answer");
        assert_eq!(bare.error_text, "{\"e\":1}");
        assert_eq!(of(json!({"content": [text("fine")]})).expect("an answer").error_text, "");
        assert!(of(json!({"isError": "true", "content": [text("no")]})).expect("an answer").is_error);
    }

    #[test]
    fn an_error_of_the_library_is_not_one_of_the_tool() {
        let said = |text_: &str| of(json!({"isError": true, "content": [text(text_)]}));
        let reported = said("MCP error -32602: Tool x not found");
        assert_eq!(
            reported,
            Err(Observation::Reported { code: -32602, message: "Tool x not found".to_owned() })
        );
        assert!(said("MCP error -32603: disk full").is_ok());
        assert!(said("MCP error: odd").is_ok());
    }

    #[test]
    fn an_answer_that_comes_later_or_is_none_is_said() {
        let of = |result: Value| answer(result.as_object().cloned().expect("an object"));
        for task in [json!({"resultType": "task", "taskId": "7"}), json!({"task": {"taskId": "7"}})] {
            let Ok(Answered::ByTask(task)) = of(task.clone()) else { panic!("{task}") };
            assert_eq!(task.id, "7");
        }
        assert!(matches!(of(json!({"task": {}})), Err(Observation::BadAnswer(_))));
        let questions = json!({"q": {}}).as_object().cloned().expect("an object");
        assert_eq!(
            of(json!({"resultType": "input_required", "requestState": "s", "inputRequests": {"q": {}}})),
            Ok(Answered::Again { state: Some("s".to_owned()), questions })
        );
        assert!(matches!(of(json!({"resultType": "later", "content": []})), Err(Observation::BadAnswer(_))));
    }
}
