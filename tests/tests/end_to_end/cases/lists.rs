//! Lists of tools: unusual pages, names and schemas, and lists that change.

use longshore_proto::StepStatus;
use serde_json::json;

use crate::cases::folder::{Case, SERVERS, WORKFLOW};

async fn one_page_is_enough(name: &'static str) {
    let case = Case::of(name);
    assert_eq!(case.servers(&["tools", "s"]).await.expecting(0).stdout, "s/echo    echo\n");
    assert_eq!(case.received("tools/list"), 2, "the second page was the first one");
    assert_eq!(case.outputs().await, json!({ "out": "got hello" }));
}

#[tokio::test]
async fn empty_cursor_is_requested_once() {
    one_page_is_enough("03-cursor-empty").await;
}

#[tokio::test]
async fn repeated_cursor_ends_the_list() {
    one_page_is_enough("03-cursor-stuck").await;
}

#[tokio::test]
async fn unusual_root_schemas_are_applied() {
    let case = Case::of("05-root-schemas");
    let validate = ["validate", WORKFLOW, "--online", "--mcp-config", SERVERS];
    case.longshore(validate).run().await.expecting(0);
    let found = case.outputs().await;
    let node = json!({ "node": { "size": "m", "next": { "size": "s", "next": null } } });
    let taken = json!([
        { "x": 1 }, { "n": 3 }, node, { "n": 3 }, { "limit": null }, { "n": 4_294_967_295_u32 }, { "n": 3.0 }
    ]);
    let refused = json!([
        "failed",
        "the arguments do not fit the tool `any_root`: value is not valid under any of the schemas listed in the 'anyOf' keyword",
        "the arguments do not fit the tool `ref_defs`: /node/size: the value is not one of \"s\" or \"m\"",
    ]);
    assert_eq!(found, json!({ "a": taken, "bad": refused }));
}

#[tokio::test]
async fn tools_with_unusual_names_are_called_or_listed_with_the_reason() {
    let case = Case::of("20-tool-names");
    let names = ["github/git_commit", "calendar.respondToEvent", "a:b", "查询/天气", "emoji🚀"];
    let called: Vec<String> = names.iter().map(|name| format!("called {name}")).collect();
    assert_eq!(case.outputs().await, json!({ "all": called }));
    let rule = "is not a tool name: 1 to 128 printable characters without spaces";
    let tools = case.servers(&["tools", "s"]).await.expecting(0);
    let left_out = "s/\"Create CIFS Share\" cannot be called: `Create CIFS Share`";
    let tools = tools.saying(&[&format!("{left_out} {rule}"), &format!("s/\"{}", "x".repeat(60))]);
    assert!(names.iter().all(|name| tools.stdout.contains(&format!("s/{name} "))), "{tools}");
    case.run("space.yaml").await.expecting(3).saying(&["space.yaml:4:20", rule]);
    case.servers(&["call", "s/Create CIFS Share"]).await.expecting(2).saying(&[rule]);
}

#[tokio::test]
async fn tool_that_appears_after_a_call_is_called() {
    let case = Case::of("34-list-changed");
    assert_eq!(case.outputs().await, json!({ "a": "ran merge_pr" }));
    assert!(case.newest().await.steps.iter().all(|step| step.status == StepStatus::Succeeded));
}

#[tokio::test]
async fn tool_that_may_appear_later_is_a_warning_and_a_misspelt_one_an_error() {
    let case = Case::of("34-list-changed");
    let validate = |file| case.longshore(["validate", file, "--online", "--mcp-config", SERVERS]).run();
    let words = [
        "warning[LS0507]: the server `s` does not list the tool `merge_pr` now, and declares that its list changes",
        "workflow.yaml:5:22",
        "known: `enable_toolset`",
    ];
    let ended = validate(WORKFLOW).await.expecting(0).saying(&words);
    assert_eq!(ended.stdout, "workflow.yaml: `dynamic` is valid, with one warning\n");
    let words =
        ["error[LS0403]: the server `s` has no tool `enable_tolset`", "did you mean `enable_toolset`?"];
    validate("misspelt.yaml").await.expecting(3).saying(&words);
}
