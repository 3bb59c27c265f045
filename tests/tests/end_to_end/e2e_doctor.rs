//! `longshore servers` with real servers: the protocol era and the tools of each, and a call.

use std::collections::BTreeMap;
use std::process::Command;

use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use longshore_tests::tools::Tools;
use serde_json::json;

#[tokio::test]
async fn servers_are_listed_with_era_and_tools_and_called() {
    let (scratch, tools) = (Scratch::new(&json!({})), Tools::find());
    assert!(
        Command::new("git").args(["init", "--quiet"]).current_dir(scratch.path()).status().unwrap().success()
    );
    let (tables, everything) = (Tables::of(scratch.path()).over_http(), tools.everything_over_http());
    scratch.servers(&json!({
        "tables": Tables::of(scratch.path()).entry(),
        "tables_http": tables.entry(),
        "everything": tools.everything().entry(),
        "everything_http": everything.entry(),
        "files": tools.filesystem(scratch.path()).entry(),
        "time": tools.time().entry(),
        "git": tools.git(scratch.path()).entry(),
    }));

    let listed = scratch.longshore(["servers", "list", "--json"]).run().await.expecting(0).json_lines();
    let versions: BTreeMap<_, _> = listed
        .iter()
        .map(|server| (server["server"].as_str().unwrap(), server["protocol_version"].as_str().unwrap()))
        .collect();
    let (modern, legacy) = ("2026-07-28", "2025-11-25");
    assert_eq!(
        versions,
        BTreeMap::from([
            ("everything", legacy),
            ("everything_http", legacy),
            ("files", legacy),
            ("git", modern),
            ("tables", modern),
            ("tables_http", modern),
            ("time", modern),
        ])
    );

    let listed = scratch.longshore(["servers", "tools", "--json"]).run().await.expecting(0).json_lines();
    let named =
        |server: &str, tool: &str| listed.iter().any(|line| line["server"] == server && line["name"] == tool);
    let some = [
        ("tables", "echo"),
        ("tables_http", "write_report"),
        ("everything", "get-sum"),
        ("everything_http", "trigger-long-running-operation"),
        ("files", "read_text_file"),
        ("git", "git_log"),
        ("time", "convert_time"),
    ];
    for (server, tool) in some {
        assert!(named(server, tool), "{server}/{tool} in {listed:#?}");
    }

    let calls = [
        ("tables/echo", json!({"a": 1}), json!({"a": 1})),
        ("tables_http/echo", json!({"a": 1}), json!({"a": 1})),
        ("everything/get-sum", json!({"a": 2, "b": 3}), json!("The sum of 2 and 3 is 5.")),
        ("everything_http/get-sum", json!({"a": 2, "b": 3}), json!("The sum of 2 and 3 is 5.")),
    ];
    for (target, arguments, value) in calls {
        let call = scratch.longshore(["servers", "call", target, &arguments.to_string(), "--json"]);
        assert_eq!(call.run().await.expecting(0).json()["value"], value, "{target}");
    }
}

#[tokio::test]
async fn unusable_server_is_reported_beside_usable_ones() {
    let scratch = Scratch::new(&json!({}));
    let tables = Tables::of(scratch.path()).entry();
    scratch.servers(&json!({ "tables": tables, "gone": { "command": "/no/such/program" } }));
    let listed = scratch.longshore(["servers", "list", "--json"]).run().await.expecting(1);
    let lines = listed.json_lines();
    assert_eq!(lines.len(), 2, "{listed}");
    let gone = lines.iter().find(|line| line["server"] == "gone").unwrap();
    assert!(gone.to_string().contains("/no/such/program"), "{gone}");

    let called = scratch.longshore(["servers", "call", "tables/ehco"]).run().await;
    called.expecting(5).saying(&["did you mean `echo`"]);
    scratch
        .longshore(["servers", "call", "table/echo"])
        .run()
        .await
        .expecting(5)
        .saying(&["did you mean `tables`"]);
}
