//! From a tool's result to what the next steps see. Pure.

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::Value;

use super::call::Answer;
use super::classify::{INVALID_PARAMS, Observation};

/// What a tool's result means; or that it is the library of the server, not the tool, that speaks in it.
pub(crate) fn answer(result: CallToolResult) -> Result<Answer, Observation> {
    let text = text_of(&result.content);
    let is_error = result.is_error == Some(true);
    if is_error && let Some(seen) = reported(&text) {
        return Err(seen);
    }
    let content = serde_json::to_value(&result.content)
        .map_err(|error| Observation::Unreadable(format!("its content cannot be kept: {error}")))?;
    let mut error_text = if is_error { text.trim().to_owned() } else { String::new() };
    // A server of the handshake era may write `null` for "there is none"; its text is all that it says.
    let structured = result.structured_content.filter(|value| !value.is_null() || result.content.is_empty());
    let value = match structured {
        Some(value) => value,
        None if has_links_only(&result.content) => content.clone(),
        None => from_text(&result.content, text),
    };
    if is_error && error_text.is_empty() {
        error_text = value.to_string();
    }
    Ok(Answer { value, content, is_error, error_text })
}

/// A single text block that is a JSON object or list is that: most servers still answer so. Anything else stays text, because a
/// commit, a version or a phone number may look like a number, and would come back as another one.
fn from_text(content: &[ContentBlock], text: String) -> Value {
    match (content, serde_json::from_str(&text)) {
        ([ContentBlock::Text(_)], Ok(value @ (Value::Object(_) | Value::Array(_)))) => value,
        _ => Value::String(text),
    }
}

/// Returns true for a result of links to resources and resources alone, which a later step reads.
fn has_links_only(content: &[ContentBlock]) -> bool {
    let is_link =
        |block: &ContentBlock| matches!(block, ContentBlock::ResourceLink(_) | ContentBlock::Resource(_));
    !content.is_empty() && content.iter().all(is_link)
}

fn text_of(content: &[ContentBlock]) -> String {
    let texts: Vec<&str> =
        content.iter().filter_map(|block| block.as_text()).map(|text| text.text.as_str()).collect();
    texts.join("\n")
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
        answer(serde_json::from_value(result).expect("a result"))
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
        ];
        for (result, wanted) in cases {
            assert_eq!(of(result.clone()).expect("an answer").value, wanted, "{result}");
        }
    }

    #[test]
    fn the_content_is_kept_as_it_came() {
        let content = json!([text("a"), {"type": "resource_link", "uri": "file:///x", "name": "x"}]);
        assert_eq!(of(json!({"content": content})).expect("an answer").content, content);
    }

    #[test]
    fn an_error_has_a_text() {
        let plain = of(json!({"isError": true, "content": [text("no such city")]})).expect("an answer");
        assert_eq!((plain.is_error, plain.error_text.as_str()), (true, "no such city"));
        let bare =
            of(json!({"isError": true, "content": [], "structuredContent": {"e": 1}})).expect("an answer");
        assert_eq!(bare.error_text, "{\"e\":1}");
        assert_eq!(of(json!({"content": [text("fine")]})).expect("an answer").error_text, "");
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
}
