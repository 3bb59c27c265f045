//! Pages of tools and answers to a handshake, from servers that do not follow the protocol in every part.
//!
//! The library refuses a whole page because of one tool that does not fit its types. Here an unusable tool is left out of the page
//! and named, and an unusable part is left out of its tool.

use rmcp::model::{ListToolsResult, MetaObject, ServerCapabilities, ServerResult, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

/// Key in the `_meta` of a page with the names of the tools that were left out, each with the reason.
const LEFT_OUT: &str = "dev.longshore/left-out";
/// Key with the names of all tools that were kept: the library leaves some out itself.
const KEPT: &str = "dev.longshore/kept";
/// Key with the names of tools that can be called as tasks only: the library does not know `execution`.
const TASK_TOOLS: &str = "dev.longshore/task-tools";
/// Extension in the answer to a handshake that means that the server performs calls as tasks: the library does not know this
/// capability of 2025-11-25.
const TAKES_TASKS: &str = "dev.longshore/takes-tasks";
/// Maximum number of tools of one page that are named as left out.
const MOST_LEFT_OUT: usize = 100;

/// Reads a page with its usable tools.
pub(super) fn page(mut page: Map<String, Value>) -> Result<ServerResult, String> {
    let Some(Value::Array(listed)) = page.remove("tools") else {
        return Err("its `tools` is no list".to_owned());
    };
    let (mut tools, mut left_out, mut task_tools) = (Vec::new(), Vec::new(), Vec::new());
    for (index, tool) in listed.into_iter().enumerate() {
        let needs_task = tool.pointer("/execution/taskSupport").is_some_and(|support| support == "required");
        match read(tool) {
            Ok(tool) => {
                if needs_task {
                    task_tools.push(Value::from(tool.name.to_string()));
                }
                tools.push(tool);
            }
            Err((name, why)) if left_out.len() < MOST_LEFT_OUT => {
                left_out.push(json!([name.unwrap_or_else(|| format!("number {}", index + 1)), why]));
            }
            Err(_) => {}
        }
    }
    let kept: Value = tools.iter().map(|tool: &Tool| tool.name.to_string()).collect();
    let mut result = ListToolsResult::with_all_items(tools);
    result.next_cursor = page.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
    result.ttl_ms = page.get("ttlMs").and_then(Value::as_u64);
    let meta = [
        (LEFT_OUT.to_owned(), Value::Array(left_out)),
        (KEPT.to_owned(), kept),
        (TASK_TOOLS.to_owned(), Value::Array(task_tools)),
    ];
    result.meta = Some(MetaObject(Map::from_iter(meta)));
    Ok(ServerResult::ListToolsResult(result))
}

/// Returns the names of the tools that were left out of a page, each with the reason.
pub(crate) fn left_out_of(page: &ListToolsResult) -> Vec<(String, String)> {
    let Some(MetaObject(meta)) = &page.meta else { return Vec::new() };
    let left_out = meta.get(LEFT_OUT).and_then(|left_out| serde_json::from_value(left_out.clone()).ok());
    let mut left_out: Vec<(String, String)> = left_out.unwrap_or_default();
    let kept = meta.get(KEPT).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let dropped = kept.filter(|name| !page.tools.iter().any(|tool| tool.name == *name));
    let why = "its `x-mcp-header` annotations do not follow the protocol";
    left_out.extend(dropped.take(MOST_LEFT_OUT).map(|name| (name.to_owned(), why.to_owned())));
    left_out
}

/// Returns the names of the tools of a page that can be called as tasks only (`taskSupport: required`, MCP 2025-11-25).
pub(crate) fn task_tools_of(page: &ListToolsResult) -> Vec<String> {
    let named =
        page.meta.as_ref().and_then(|MetaObject(meta)| meta.get(TASK_TOOLS)).and_then(Value::as_array);
    named.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Returns true if these capabilities, read by [`handshake`], mean that the server performs calls as tasks.
pub(crate) fn takes_tasks(capabilities: &ServerCapabilities) -> bool {
    capabilities.extensions.as_ref().is_some_and(|extensions| extensions.contains_key(TAKES_TASKS))
}

fn read(tool: Value) -> Result<Tool, (Option<String>, String)> {
    let Value::Object(mut tool) = tool else { return Err((None, "it is no object".to_owned())) };
    let Some(Value::String(name)) = tool.get("name").cloned() else {
        return Err((None, "its `name` is missing or no text".to_owned()));
    };
    // Without a valid schema only the server checks the arguments.
    if !tool.get("inputSchema").is_some_and(Value::is_object) {
        tool.insert("inputSchema".to_owned(), json!({}));
    }
    let error = match serde_json::from_value(Value::Object(tool.clone())) {
        Ok(tool) => return Ok(tool),
        Err(error) => error,
    };
    // Keeps the parts that calls need, without those that do not fit.
    tool.retain(|key, value| match key.as_str() {
        "name" | "inputSchema" => true,
        "description" | "title" => value.is_string(),
        "annotations" => serde_json::from_value::<ToolAnnotations>(value.clone()).is_ok(),
        _ => false,
    });
    serde_json::from_value(Value::Object(tool)).map_err(|_| (Some(name), error.to_string()))
}

/// Reads the answer to a handshake. Adds the unimportant parts that some servers leave out.
pub(super) fn handshake(mut result: Map<String, Value>) -> Result<ServerResult, String> {
    if !result.get("protocolVersion").is_some_and(Value::is_string) {
        return Err("its `protocolVersion` is missing".to_owned());
    }
    let offered = result.get("capabilities").cloned().unwrap_or_default();
    if serde_json::from_value::<ServerCapabilities>(offered.clone()).is_err() {
        // No other capability is used.
        let has_tools =
            offered.get("tools").is_some_and(|tools| *tools != Value::Bool(false) && !tools.is_null());
        let readable = if has_tools { json!({ "tools": {} }) } else { json!({}) };
        result.insert("capabilities".to_owned(), readable);
    }
    if let Some(Value::Object(capabilities)) = result.get_mut("capabilities") {
        // No extension of the handshake era is used, so only the one added here remains.
        capabilities.remove("extensions");
        if offered.pointer("/tasks/requests/tools/call").is_some_and(Value::is_object) {
            capabilities.insert("extensions".to_owned(), json!({ TAKES_TASKS: {} }));
        }
    }
    let text = |of: &Map<String, Value>, key: &str| {
        of.get("serverInfo")
            .and_then(|info| info.get(key))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let info = json!({ "name": text(&result, "name"), "version": text(&result, "version") });
    result.insert("serverInfo".to_owned(), info);
    result.retain(|key, _| matches!(key.as_str(), "protocolVersion" | "capabilities" | "serverInfo"));
    serde_json::from_value(Value::Object(result)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(result: Value) -> ListToolsResult {
        let Value::Object(result) = result else { panic!("an object") };
        match page(result) {
            Ok(ServerResult::ListToolsResult(page)) => page,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn unusable_tool_does_not_affect_the_others() {
        let page = listed(json!({"nextCursor": "2", "tools": [
            {"name": "good", "inputSchema": {"type": "object"}},
            {"name": "bare"},
            {"name": "null", "inputSchema": null},
            {"name": "text", "inputSchema": "object"},
            {"name": "odd", "inputSchema": {}, "description": 7, "annotations": {"readOnlyHint": "yes"}, "icons": 3},
            {"inputSchema": {}},
            {"name": 7},
            "tool",
        ]}));
        let names: Vec<&str> = page.tools.iter().map(|tool| tool.name.as_ref()).collect();
        assert_eq!(names, ["good", "bare", "null", "text", "odd"]);
        assert_eq!(page.next_cursor.as_deref(), Some("2"));
        let missing = "its `name` is missing or no text".to_owned();
        assert_eq!(
            left_out_of(&page),
            [
                ("number 6".to_owned(), missing.clone()),
                ("number 7".to_owned(), missing),
                ("number 8".to_owned(), "it is no object".to_owned()),
            ]
        );
    }

    #[test]
    fn tools_that_can_be_called_as_tasks_only_are_named() {
        let tool = |name: &str, support: Value| json!({"name": name, "execution": {"taskSupport": support}, "icons": 3});
        let page = listed(json!({"tools": [
            tool("needs", json!("required")), tool("may", json!("optional")), tool("never", json!("forbidden")),
            tool("odd", json!(7)), {"name": "plain", "execution": "required"},
        ]}));
        assert_eq!((task_tools_of(&page), page.tools.len()), (vec!["needs".to_owned()], 5));
        assert_eq!(task_tools_of(&ListToolsResult::default()), Vec::<String>::new());
    }

    #[test]
    fn handshake_with_the_task_capability_takes_tasks() {
        let said = |capabilities: Value| {
            let result = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities});
            match handshake(result.as_object().cloned().expect("an object")) {
                Ok(ServerResult::InitializeResult(result)) => takes_tasks(&result.capabilities),
                other => panic!("{other:?}"),
            }
        };
        let tasks = json!({"requests": {"tools": {"call": {}}}});
        assert!(said(json!({"tools": {}, "tasks": tasks})));
        assert!(said(json!({"tools": true, "tasks": tasks})), "with another part that does not fit");
        for other in [json!({"list": {}}), json!({"requests": {"sampling": {}}}), Value::Null] {
            assert!(!said(json!({"tools": {}, "tasks": other})), "{other}");
        }
        assert!(!said(json!({"extensions": {TAKES_TASKS: {}}})), "the server's own extensions are removed");
    }

    #[test]
    fn page_without_a_list_is_an_error() {
        for result in [json!({}), json!({"tools": null}), json!({"tools": {}})] {
            let Value::Object(result) = result else { panic!("an object") };
            assert_eq!(page(result).map(|_| ()), Err("its `tools` is no list".to_owned()));
        }
    }

    #[test]
    fn tool_that_the_library_left_out_is_named() {
        let mut page = listed(json!({"tools": [{"name": "good"}, {"name": "dropped"}]}));
        page.tools.retain(|tool| tool.name == "good");
        let why = "its `x-mcp-header` annotations do not follow the protocol".to_owned();
        assert_eq!(left_out_of(&page), [("dropped".to_owned(), why)]);
    }

    #[test]
    fn handshake_needs_only_its_version() {
        let good = [
            json!({"protocolVersion": "2025-06-18", "serverInfo": {"name": "x"}, "instructions": null}),
            json!({"protocolVersion": "2025-06-18", "serverInfo": null, "capabilities": {"tools": true}}),
            json!({"protocolVersion": "2025-06-18", "capabilities": null}),
        ];
        for result in good {
            let read = handshake(result.as_object().cloned().expect("an object"));
            assert!(matches!(read, Ok(ServerResult::InitializeResult(_))), "{result}");
        }
        let none = handshake(Map::new()).map(|_| ());
        assert_eq!(none, Err("its `protocolVersion` is missing".to_owned()));
    }
}
