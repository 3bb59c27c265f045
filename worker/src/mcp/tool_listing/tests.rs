//! Listings of tools, and arguments that fit them or do not.

use serde_json::json;

use super::*;

fn listing(schema: Value) -> ToolListing {
    let tool = |name: &str, schema: &Value| Tool {
        name: name.parse().expect("a name"),
        description: None,
        input_schema: schema.clone(),
        output_schema: None,
        hints: ToolHints::default(),
    };
    let kept = vec![tool("charge", &schema), tool("refund", &schema)];
    ToolListing::new(PageTools { kept, ..PageTools::default() }, true, LONGEST_USE)
}

fn secrets() -> Secrets {
    let mut secrets = Secrets::default();
    secrets.add("s3cret-token");
    secrets
}

fn arguments(listing: &ToolListing, tool: &str, given: Value) -> Result<Value, String> {
    let tool = tool.parse().expect("a name");
    let given = given.as_object().cloned().expect("an object");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let secrets = secrets();
    let checked = listing.arguments(&tool, &given, "run/step", (Duration::from_secs(30), &secrets));
    runtime.block_on(checked).map(Value::Object).map_err(|failure| failure.to_string())
}

#[test]
fn unknown_tool_is_reported_with_the_existing_tools() {
    let listing = listing(json!({"type": "object"}));
    assert_eq!(
        arguments(&listing, "chrage", json!({})),
        Err("the server has no tool `chrage`; did you mean `charge`? It has charge, refund".to_owned())
    );
    assert_eq!(
        arguments(&listing, "x", json!({})),
        Err("the server has no tool `x`; it has charge, refund".to_owned())
    );
}

#[test]
fn wrong_arguments_are_reported_by_path_without_their_values() {
    let listing = listing(json!({"type": "object", "required": ["city"], "properties": {
        "days": {"type": "integer"}, "city": {"type": "string"}, "to": {"items": {"pattern": "^[a-z]+$"}}}}));
    let refused =
        arguments(&listing, "charge", json!({"days": "s3cret", "to": ["a", "S3CRET"]})).unwrap_err();
    assert!(refused.contains("/days: the value is not of type \"integer\""), "{refused}");
    assert!(refused.contains("/to/1: the value does not match"), "{refused}");
    assert!(refused.contains("\"city\" is a required property"), "{refused}");
    assert!(!refused.to_lowercase().contains("s3cret"), "{refused}");
    assert!(arguments(&listing, "charge", json!({"city": "Ghent", "days": 2})).is_ok());
}

#[test]
fn null_argument_is_left_out_if_the_schema_refuses_it_and_does_not_require_it() {
    let schema = json!({"type": "object", "required": ["city"],
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "note": {}}});
    let listing = listing(schema);
    let given = json!({"city": "Ghent", "days": null, "note": null});
    assert_eq!(arguments(&listing, "charge", given), Ok(json!({"city": "Ghent"})));
    let kept = json!({"city": "Ghent", "note": null});
    assert_eq!(arguments(&listing, "charge", kept.clone()), Ok(kept));
    assert!(arguments(&listing, "charge", json!({"city": null})).is_err());
    assert!(arguments(&listing, "charge", json!({"city": 7, "days": null})).unwrap_err().contains("/days"));
}

#[test]
fn idempotency_key_becomes_an_argument_if_the_tool_has_one() {
    let with = listing(json!({"type": "object", "properties": {"idempotency_key": {"type": "string"}}}));
    assert_eq!(arguments(&with, "charge", json!({})), Ok(json!({"idempotency_key": "run/step"})));
    assert_eq!(
        arguments(&with, "charge", json!({"idempotency_key": "mine"})),
        Ok(json!({"idempotency_key": "mine"}))
    );
    let without = listing(json!({"type": "object"}));
    assert_eq!(arguments(&without, "charge", json!({})), Ok(json!({})));
}

#[test]
fn arguments_are_not_checked_against_an_unusable_schema() {
    for schema in
        [json!({"$ref": "https://example.test/schema"}), json!({"type": "nothing"}), json!({"pattern": "("})]
    {
        assert!(arguments(&listing(schema.clone()), "charge", json!({"a": 1})).is_ok(), "{schema}");
    }
}

#[test]
fn tool_that_is_too_large_is_left_out_and_the_others_are_kept() {
    let server: ServerName = "s".parse().expect("a name");
    let tool = |name: &str, bytes: usize| {
        let tool = json!({ "name": name, "description": "x".repeat(bytes), "inputSchema": {} });
        serde_json::from_value::<rmcp::model::Tool>(tool).expect("a tool")
    };
    let page = ListToolsResult::with_all_items;
    let mut tools = PageTools::default();
    let spaced = tool("two words", 1);
    tools
        .add(&server, &mut page(vec![tool("small", 10), tool("huge", MOST_TOOL_BYTES), spaced]), &secrets())
        .expect("fits");
    let found = ToolListing::new(tools, true, LONGEST_USE);
    assert!(arguments(&found, "small", json!({})).is_ok());
    assert_eq!(found.left_out().len(), 2, "{:?}", found.left_out());
    let refused = arguments(&found, "huge", json!({})).unwrap_err();
    assert!(
        refused.starts_with("the tool `huge` was left out of the server's list: it takes 1048"),
        "{refused}"
    );
    let mut tools = PageTools::default();
    let mut pages = (0..100)
        .map(|number| tools.add(&server, &mut page(vec![tool(&format!("t{number}"), 900_000)]), &secrets()));
    let full = pages.find_map(Result::err).expect("bounded as a whole");
    assert!(full.to_string().contains("the list of tools takes more than 33554432 bytes"), "{full}");
}

#[test]
fn server_without_a_listing_gets_every_call() {
    let incomplete = ToolListing::new(PageTools::default(), false, LONGEST_USE);
    assert_eq!(arguments(&incomplete, "anything", json!({"a": 1})), Ok(json!({"a": 1})));
}

#[test]
fn secret_at_the_cut_of_a_name_or_a_mistake_is_hidden() {
    let server: ServerName = "s".parse().expect("a name");
    let mut tools = PageTools::default();
    // Names are cut at 200 characters, and the error of a name repeats 80 of them.
    for before in [MOST_NAME_CHARS - 6, 74] {
        let name = format!("{} s3cret-token", "x".repeat(before - 1));
        let tool = serde_json::from_value(json!({ "name": name, "inputSchema": {} })).expect("a tool");
        tools.add(&server, &mut ListToolsResult::with_all_items(vec![tool]), &secrets()).expect("fits");
    }
    let shown = format!("{:?}", tools.left_out);
    assert!(tools.left_out.len() == 2 && !shown.contains("s3c"), "{shown}");

    let allowed = format!("{}s3cret-token", "x".repeat(MOST_MISTAKE_CHARS - 35));
    for length in 0..40 {
        let allowed = allowed.get(length..).expect("longer").to_owned();
        let refused = arguments(
            &listing(json!({ "properties": { "a": { "const": allowed } } })),
            "charge",
            json!({"a": 1}),
        );
        let refused = refused.expect_err("not allowed");
        assert!(!refused.contains("s3c") && refused.contains("xxx"), "{refused}");
    }
}
