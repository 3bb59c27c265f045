//! Workflows over real servers: the example server and four by other authors, over stdio and over HTTP.
//!
//! Values are passed from one server to the next, with their structure, and a problem of a server becomes a fault with
//! advice.

use longshore_proto::{FaultClass, RunStatus, StepStatus};
use longshore_tests::five_servers::{expected, folder, over_stdio};
use longshore_tests::scratch::{Scratch, step};
use longshore_tests::tables::Tables;
use longshore_tests::tools::Tools;
use serde_json::{Value, json};

async fn run_five_servers(scratch: &Scratch) -> Value {
    let input = format!("folder={}", scratch.path().display());
    scratch.longshore(["run", "workflow.yaml", "-i", &input]).run().await.expecting(0).json()
}

#[tokio::test]
async fn outputs_are_passed_between_five_servers_over_stdio() {
    let scratch = folder();
    scratch.servers(&over_stdio(&Tools::find(), scratch.path()));
    assert_eq!(run_five_servers(&scratch).await, expected());
    let run = scratch.newest().await;
    assert!(run.steps.iter().all(|step| step.status == StepStatus::Succeeded), "{run:#?}");
    assert_eq!(
        scratch.journal().begun().into_iter().collect::<Vec<_>>(),
        [("list".to_owned(), 1), ("same".to_owned(), 1)]
    );
}

#[tokio::test]
async fn same_workflow_over_http_has_the_same_outputs() {
    let (scratch, tools) = (folder(), Tools::find());
    let (tables, everything) = (Tables::of(scratch.path()).over_http(), tools.everything_over_http());
    let mut servers = over_stdio(&tools, scratch.path());
    servers["tables"] = tables.entry();
    servers["everything"] = everything.entry();
    scratch.servers(&servers);
    assert_eq!(run_five_servers(&scratch).await, expected());
}

/// Returns a workflow of one call.
fn one_call(call: &str, with: &Value) -> String {
    json!({"longshore": "v1", "name": "one-call", "steps": [{"id": "it", "call": call, "with": with}],
           "outputs": {"it": "${{ steps.it.output }}"}})
    .to_string()
}

#[tokio::test]
async fn an_operation_that_reports_progress_is_one_attempt() {
    let tools = Tools::find();
    let http = tools.everything_over_http();
    for entry in [tools.everything().entry(), http.entry()] {
        let call = one_call("everything/trigger-long-running-operation", &json!({"duration": 2, "steps": 4}));
        let scratch = Scratch::with(&call, &json!({ "everything": entry }));
        let ended = scratch.run().await.expecting(0);
        assert!(ended.json()["it"].as_str().unwrap().contains("Steps: 4"), "{ended}");
        assert_eq!(step(&scratch.newest().await, "it").attempts.len(), 1);
    }
}

#[tokio::test]
async fn tool_that_needs_a_task_returns_its_result() {
    let tools = Tools::find();
    let http = tools.everything_over_http();
    for entry in [tools.everything().entry(), http.entry()] {
        let call = one_call("everything/simulate-research-query", &json!({"topic": "tides"}));
        let scratch = Scratch::with(&call, &json!({ "everything": entry }));
        let ended = scratch.run().await.expecting(0);
        let report = ended.json()["it"].as_str().unwrap().to_owned();
        assert!(report.starts_with("# Research Report: tides") && report.contains("Stage 4"), "{ended}");
        assert_eq!(step(&scratch.newest().await, "it").attempts.len(), 1);
        let called = ["servers", "call", "everything/simulate-research-query", r#"{"topic": "tides"}"#];
        let called = scratch.longshore(called).run().await.expecting(0);
        assert!(called.stdout.contains("# Research Report: tides"), "{called}");
    }
}

#[tokio::test]
async fn task_that_asks_the_user_is_a_fault_with_the_question() {
    let tools = Tools::find();
    let http = tools.everything_over_http();
    for mut entry in [tools.everything().entry(), http.entry()] {
        // The server asks only clients that support forms, and its form has no default.
        entry["longshore"]["elicitation"] = json!("defaults");
        let with = json!({"topic": "python", "ambiguous": true});
        let call = one_call("everything/simulate-research-query", &with);
        let scratch = Scratch::with(&call, &json!({ "everything": entry }));
        scratch.run().await.expecting(20);
        let run = scratch.newest().await;
        let message = &step(&run, "it").error.as_ref().unwrap().message;
        assert!(message.contains("could have multiple interpretations"), "{message}");
        assert!(message.contains("gave none for `interpretation`"), "{message}");
    }
}

#[tokio::test]
async fn refusal_of_a_server_is_a_fault_with_advice() {
    use FaultClass::{InvalidArguments, ToolError, UnknownTool};
    let (scratch, tools) = (folder(), Tools::find());
    let http = tools.everything_over_http();
    let mut servers = over_stdio(&tools, scratch.path());
    servers["remote"] = http.entry();
    scratch.servers(&servers);
    let cases = [
        ("files/read_text_file", json!({"path": "/etc/passwd"}), ToolError, "Access denied"),
        ("time/get_current_time", json!({"timezone": "Nowhere/No"}), ToolError, "Nowhere/No"),
        ("tables/summarise_csv", json!({"file": "none.csv"}), ToolError, "none.csv"),
        ("everything/get-sun", json!({}), UnknownTool, "did you mean `get-sum`"),
        ("remote/get-sun", json!({}), UnknownTool, "did you mean `get-sum`"),
        ("git/git_push", json!({}), UnknownTool, "git_status"),
        ("tables/list_file", json!({}), UnknownTool, "did you mean `list_files`"),
        ("everything/get-sum", json!({"a": "x", "b": 1}), InvalidArguments, "/a"),
        ("remote/get-sum", json!({"a": "x", "b": 1}), InvalidArguments, "/a"),
        ("time/convert_time", json!({"time": "12:00"}), InvalidArguments, "source_timezone"),
    ];
    for (call, with, class, words) in cases {
        scratch.write("workflow.yaml", one_call(call, &with));
        scratch.run().await.expecting(20).saying(&[words]);
        let run = scratch.newest().await;
        let it = step(&run, "it");
        let fault = it.error.as_ref().unwrap();
        assert_eq!(
            (run.summary.status, it.status, fault.class),
            (RunStatus::Failed, StepStatus::Failed, class),
            "{call}"
        );
        assert!(fault.message.contains(words), "{call}: {fault}");
        assert_eq!(it.attempts.len(), 1, "{call}: what is refused is not asked for twice");
    }
}
