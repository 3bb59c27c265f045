//! Reads the result of a `tools/call`, and takes the output for later steps from it.
//!
//! The content is kept unchanged. A part of it that is not understood, such as a block of an unknown type, does not affect the
//! others.

use longshore_attempt::Answer;
use longshore_ports::run_by_size;
use longshore_proto::{BLOB_VALUE_LIMIT, find_lossy_number, has_too_many_values};
use serde_json::{Map, Value, json};

use crate::large_values::approximate_bytes;

use super::classify::{INVALID_PARAMS, McpFailure};
use super::task_state::McpTask;
use super::wire::exceeds_memory;

/// The result of a `tools/call`.
#[derive(Debug, PartialEq)]
pub(crate) enum ToolResult {
    /// The answer of the tool.
    Answer(Answer),
    /// The tool runs as this task, which will have the answer.
    Task(McpTask),
    /// The server asks for the call again, with this state and with answers to these questions.
    InputRequired {
        /// State of the server, to be sent back unchanged.
        state: Option<String>,
        /// The questions by their keys.
        questions: Map<String, Value>,
    },
}

/// Reads a result, on a blocking thread if it is large. `rounded` is a number of its message that 64 bits cannot hold.
pub(crate) async fn read_result_by_size(
    result: Map<String, Value>,
    rounded: Option<String>,
) -> Result<ToolResult, McpFailure> {
    let bytes = approximate_bytes(result.values());
    let mut read = run_by_size(bytes, move || read_result(result)).await?;
    if let ToolResult::Answer(answer) = &mut read {
        answer.rounded = rounded.or_else(|| answer.rounded.take());
    }
    Ok(read)
}

/// Reads a result. Returns a failure if it cannot be read, or if the MCP library of the server reports an error in it.
fn read_result(mut result: Map<String, Value>) -> Result<ToolResult, McpFailure> {
    match result.remove("resultType") {
        None | Some(Value::Null) => {}
        Some(Value::String(kind)) if kind == "complete" => {}
        Some(Value::String(kind)) if kind == "input_required" => return Ok(input_required(result)),
        Some(Value::String(kind)) if kind == "task" => return read_task(&result),
        Some(kind) => return Err(McpFailure::BadAnswer(format!("its `resultType` is {kind}"))),
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
        // The form of MCP 2025-11-25.
        return read_task(&result);
    }
    let has_content = content.is_some();
    let blocks = content.unwrap_or_default();
    let text = text_of(&blocks);
    if is_error && let Some(failure) = library_error(&text) {
        return Err(failure);
    }
    let mut error_text = if is_error { text.trim().to_owned() } else { String::new() };
    // A server of the handshake era may write `null` if it has no structured content.
    let structured = structured.filter(|value| !value.is_null() || blocks.is_empty());
    let content = Value::Array(blocks);
    let (value, rounded) = match structured {
        Some(value) => (value, None),
        None if !has_content => (without_content(result), None),
        None => from_blocks(&content, text),
    };
    // A run could not read it, and would fail only there.
    if has_too_many_values(&value) || has_too_many_values(&content) {
        return Err(McpFailure::BadAnswer(format!(
            "it holds more than {BLOB_VALUE_LIMIT} values (elements, names and values of objects), the most that a run reads: \
             ask for fewer, or let the tool keep them in a file"
        )));
    }
    if is_error && error_text.is_empty() {
        error_text = value.to_string();
    }
    Ok(ToolResult::Answer(Answer { value, content, meta, is_error, error_text, rounded }))
}

fn input_required(mut result: Map<String, Value>) -> ToolResult {
    let state = match result.remove("requestState") {
        Some(Value::String(state)) => Some(state),
        _ => None,
    };
    let questions = match result.remove("inputRequests") {
        Some(Value::Object(questions)) => questions,
        _ => Map::new(),
    };
    ToolResult::InputRequired { state, questions }
}

fn read_task(result: &Map<String, Value>) -> Result<ToolResult, McpFailure> {
    let task = result.get("task").and_then(Value::as_object).unwrap_or(result);
    McpTask::read(task).map(ToolResult::Task).map_err(McpFailure::BadAnswer)
}

/// Returns the output of a result that has neither content nor structured content: `toolResult`, as in MCP 2024-10-07, or all
/// fields of the result.
fn without_content(mut result: Map<String, Value>) -> Value {
    match result.remove("toolResult") {
        Some(value) => value,
        None if result.is_empty() => Value::String(String::new()),
        None => Value::Object(result),
    }
}

/// Returns the output of a list of content blocks. A single text block that is a JSON object or list is parsed, because most
/// servers still answer in this way. Any other text stays text: a commit, a version or a phone number may look like a number, and
/// parsing would change it. Content that is neither text nor media, such as links, is the output itself. Also returns a number of
/// a parsed text that 64 bits cannot hold.
fn from_blocks(content: &Value, text: String) -> (Value, Option<String>) {
    let blocks = content.as_array().map(Vec::as_slice).unwrap_or_default();
    let is_shown = |block: &Value| matches!(kind(block), Some("text" | "image" | "audio"));
    if !blocks.is_empty() && !blocks.iter().any(is_shown) {
        return (content.clone(), None);
    }
    let is_single = matches!(blocks, [block] if kind(block) == Some("text"));
    if !is_single || exceeds_memory(text.as_bytes()) {
        return (Value::String(text), None);
    }
    match serde_json::from_str(&text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) if !has_too_many_values(&value) => {
            (value, find_lossy_number(&text).map(str::to_owned))
        }
        _ => (Value::String(text), None),
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

/// Reads a JSON-RPC error that a library reports as the error of a tool. Servers with version 1 of the official TypeScript library
/// report wrong arguments and unknown tools in this way.
fn library_error(text: &str) -> Option<McpFailure> {
    let (code, message) = text.trim().strip_prefix("MCP error ")?.split_once(": ")?;
    let code: i64 = code.parse().ok()?;
    // An error with another code is that of a tool, which happens to use the same words.
    (code == INVALID_PARAMS).then(|| McpFailure::Reported { code, message: message.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer_of(result: Value) -> Result<Answer, McpFailure> {
        let Value::Object(result) = result else { panic!("an object") };
        match read_result(result)? {
            ToolResult::Answer(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    fn text(text: &str) -> Value {
        json!({"type": "text", "text": text})
    }

    #[test]
    fn output_is_the_most_structured_part_of_the_result() {
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
            assert_eq!(answer_of(result.clone()).expect("an answer").value, wanted, "{result}");
        }
    }

    #[test]
    fn content_is_kept_unchanged() {
        let content = json!([
            {"type": "text", "text": "a", "annotations": {"priority": 0.7, "audience": ["robot"]}, "new": 1},
            {"type": "resource_link", "uri": "file:///x"},
            {"type": "image", "data": "AAAA"},
        ]);
        let kept = answer_of(json!({"content": content, "_meta": {"trace": 1}})).expect("an answer");
        assert_eq!((kept.content, kept.meta), (content, json!({"trace": 1})));
    }

    #[test]
    fn error_of_a_tool_has_a_text() {
        let plain =
            answer_of(json!({"isError": true, "content": [text("no such city")]})).expect("an answer");
        assert_eq!((plain.is_error, plain.error_text.as_str()), (true, "no such city"));
        let bare = answer_of(json!({"isError": true, "content": [], "structuredContent": {"e": 1}}))
            .expect("an answer");
        assert_eq!(bare.error_text, "{\"e\":1}");
        assert_eq!(answer_of(json!({"content": [text("fine")]})).expect("an answer").error_text, "");
        assert!(answer_of(json!({"isError": "true", "content": [text("no")]})).expect("an answer").is_error);
    }

    #[test]
    fn error_of_the_library_is_not_an_error_of_the_tool() {
        let said = |text_: &str| answer_of(json!({"isError": true, "content": [text(text_)]}));
        let reported = said("MCP error -32602: Tool x not found");
        assert_eq!(
            reported,
            Err(McpFailure::Reported { code: -32602, message: "Tool x not found".to_owned() })
        );
        assert!(said("MCP error -32603: disk full").is_ok());
        assert!(said("MCP error: odd").is_ok());
    }

    #[test]
    fn answer_with_more_values_than_a_run_reads_is_a_fault_and_such_a_text_stays_text() {
        let of = |result: Value| read_result(result.as_object().cloned().expect("an object"));
        let list = |count| Value::Array(vec![json!(1); count]);
        assert!(matches!(
            of(json!({ "structuredContent": { "a": list(BLOB_VALUE_LIMIT) } })),
            Err(McpFailure::BadAnswer(why)) if why.contains("more than 1000000 values")
        ));
        let text = list(BLOB_VALUE_LIMIT).to_string();
        let Ok(ToolResult::Answer(answer)) = of(json!({ "content": [{ "type": "text", "text": text }] }))
        else {
            panic!("no answer")
        };
        assert_eq!(answer.value, Value::String(text));
        let most = list(BLOB_VALUE_LIMIT - 1);
        let Ok(ToolResult::Answer(answer)) = of(json!({ "structuredContent": most })) else {
            panic!("no answer")
        };
        assert_eq!(answer.value, most);
    }

    #[test]
    fn results_without_an_answer_are_recognised() {
        let of = |result: Value| read_result(result.as_object().cloned().expect("an object"));
        for task in [json!({"resultType": "task", "taskId": "7"}), json!({"task": {"taskId": "7"}})] {
            let Ok(ToolResult::Task(task)) = of(task.clone()) else { panic!("{task}") };
            assert_eq!(task.id, "7");
        }
        assert!(matches!(of(json!({"task": {}})), Err(McpFailure::BadAnswer(_))));
        let questions = json!({"q": {}}).as_object().cloned().expect("an object");
        assert_eq!(
            of(json!({"resultType": "input_required", "requestState": "s", "inputRequests": {"q": {}}})),
            Ok(ToolResult::InputRequired { state: Some("s".to_owned()), questions })
        );
        assert!(matches!(of(json!({"resultType": "later", "content": []})), Err(McpFailure::BadAnswer(_))));
    }
}
