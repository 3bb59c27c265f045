//! The built server, called by clients over stdio and over HTTP, in both protocol eras.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientConfig, ProtocolVersion, RequestMetaObject,
    RequestParamsMeta,
};
use rmcp::service::RunningService;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The limit for each step of a test, far above what any of them takes.
const PATIENCE: Duration = Duration::from_secs(20);

type Client = RunningService<RoleClient, ClientConfig>;

/// Makes a folder with two files. One of them has a row that is too short.
fn scratch() -> TempDir {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::create_dir(scratch.path().join("data")).unwrap();
    std::fs::write(scratch.path().join("data/north.csv"), "product,units\ntea,2\ncoffee,3\n").unwrap();
    std::fs::write(scratch.path().join("data/south.csv"), "product,units\ntea,4\ncoffee\n").unwrap();
    scratch
}

fn tables(scratch: &Path, options: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tables"));
    command.args(["--root", "data"]).args(options).current_dir(scratch);
    command
}

fn modern() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] }
}

async fn connect(scratch: &Path, options: &[&str], mode: ClientLifecycleMode) -> (Child, Client) {
    let mut command = Command::from(tables(scratch, options));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let pipes = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
    let client = ClientConfig::default().serve_with_lifecycle(pipes, mode).await.unwrap();
    (child, client)
}

async fn call(client: &Client, tool: &'static str, arguments: Value) -> CallToolResult {
    let arguments = arguments.as_object().unwrap().clone();
    let mut params = CallToolRequestParams::new(tool).with_arguments(arguments);
    let mut meta = RequestMetaObject::default();
    meta.insert("dev.longshore/idempotency-key".to_owned(), json!("run/step"));
    params.set_meta(meta);
    tokio::time::timeout(PATIENCE, client.call_tool(params)).await.unwrap().unwrap()
}

fn text(result: &CallToolResult) -> &str {
    &result.content[0].as_text().unwrap().text
}

fn journal(scratch: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(scratch.join("journal.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until the journal has this many whole lines.
async fn journal_reaches(scratch: &Path, lines: usize) {
    let path = scratch.join("journal.jsonl");
    let reached = async {
        while std::fs::read_to_string(&path).unwrap().lines().count() < lines {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap();
}

#[tokio::test]
async fn both_eras_list_the_same_tools_with_their_hints() {
    let scratch = scratch();
    let (_child, old) = connect(scratch.path(), &[], ClientLifecycleMode::Initialize).await;
    let (_child, new) = connect(scratch.path(), &[], modern()).await;
    let version = |client: &Client| client.peer_info().unwrap().protocol_version.clone();
    assert_eq!(
        [version(&old), version(&new)],
        [ProtocolVersion::V_2025_11_25, ProtocolVersion::V_2026_07_28]
    );
    let tools = old.list_all_tools().await.unwrap();
    assert_eq!(tools, new.list_all_tools().await.unwrap());

    let hints = tools.iter().map(|tool| {
        assert!(tool.description.is_some() && tool.output_schema.is_some(), "{}", tool.name);
        let hints = tool.annotations.as_ref().unwrap();
        (tool.name.as_ref(), hints.read_only_hint == Some(true), hints.idempotent_hint == Some(true))
    });
    assert_eq!(
        hints.collect::<Vec<_>>(),
        [
            ("combine_summaries", true, false),
            ("echo", true, false),
            ("list_files", true, false),
            ("note", false, false),
            ("summarise_csv", true, false),
            ("validate_csv", true, false),
            ("write_report", false, true),
        ]
    );
}

#[tokio::test]
async fn report_is_written_from_a_folder() {
    let scratch = scratch();
    let (_child, client) = connect(scratch.path(), &["--out", "out"], modern()).await;
    let listed = call(&client, "list_files", json!({})).await.structured_content.unwrap();
    assert_eq!(listed["files"][1], json!({"name": "south.csv", "bytes": 27}));
    let (mut checks, mut files) = (Vec::new(), Vec::new());
    for file in ["north.csv", "south.csv"] {
        checks.push(call(&client, "validate_csv", json!({"file": file})).await.structured_content.unwrap());
        let grouped = json!({"file": file, "group_by": "product"});
        files.push(call(&client, "summarise_csv", grouped).await.structured_content.unwrap());
    }
    assert_eq!([&checks[0]["valid"], &checks[1]["problem_count"]], [&json!(true), &json!(1)]);
    let totals = call(&client, "combine_summaries", json!({"summaries": files})).await;
    let totals = totals.structured_content.unwrap();
    assert_eq!(totals["columns"]["units"]["sum"], json!(9.0));
    let report =
        json!({"name": "sales", "title": "Sales", "totals": totals, "files": files, "checks": checks});
    let written = call(&client, "write_report", report).await.structured_content.unwrap();
    assert_eq!(written["path"], "out/sales.md");
    let report = std::fs::read_to_string(scratch.path().join("out/sales.md")).unwrap();
    assert!(report.contains("| tea | 2 | 6.00 |") && report.contains("line 3: 1 fields"), "{report}");
}

#[tokio::test]
async fn refused_call_is_a_tool_error_with_advice() {
    let scratch = scratch();
    let (_child, client) = connect(scratch.path(), &[], modern()).await;
    for (tool, arguments, help) in [
        ("validate_csv", json!({"file": "../secret.csv"}), "give a name as list_files returns it"),
        ("summarise_csv", json!({"file": "east.csv"}), "list_files returns the files"),
        ("combine_summaries", json!({"summaries": []}), "give at least one summary"),
        ("note", json!({"text": "hello"}), "started without --journal FILE"),
    ] {
        let result = call(&client, tool, arguments).await;
        assert_eq!(result.is_error, Some(true), "{tool}");
        assert!(text(&result).contains(help), "{tool}: {}", text(&result));
    }
}

#[tokio::test]
async fn journal_has_every_call_with_its_key() {
    let scratch = scratch();
    let (child, client) = connect(scratch.path(), &["--journal", "journal.jsonl"], modern()).await;
    call(&client, "echo", json!({"a": [1, null]})).await;
    call(&client, "note", json!({"text": "hello"})).await;
    call(&client, "validate_csv", json!({"file": "east.csv"})).await;
    let lines = journal(scratch.path());
    assert!(lines.iter().all(|line| line["pid"] == child.id().unwrap() && line["at_ms"].is_u64()));
    let events: Vec<_> = lines
        .iter()
        .map(|line| (line["event"].as_str().unwrap(), &line["call"], &line["tool"], &line["ok"]))
        .map(|(event, call, tool, ok)| format!("{event} {call} {tool} {ok}"))
        .collect();
    assert_eq!(
        events,
        [
            r#"begin 1 "echo" null"#,
            r#"end 1 "echo" true"#,
            r#"begin 2 "note" null"#,
            "note null null null",
            r#"end 2 "note" true"#,
            r#"begin 3 "validate_csv" null"#,
            r#"end 3 "validate_csv" false"#,
        ]
    );
    assert_eq!(lines[0]["arguments"], json!({"a": [1, null]}));
    assert_eq!([&lines[0]["idempotency_key"], &lines[1]["idempotency_key"]], ["run/step"; 2]);
}

#[tokio::test]
async fn server_killed_during_a_call_leaves_its_start_in_the_journal() {
    let scratch = scratch();
    let options = ["--journal", "journal.jsonl", "--delay-ms", "60000"];
    let (mut child, client) = connect(scratch.path(), &options, modern()).await;
    tokio::select! {
        _ = call(&client, "echo", json!({})) => panic!("the call takes a minute"),
        () = journal_reaches(scratch.path(), 1) => child.kill().await.unwrap(),
    }
    let lines = journal(scratch.path());
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["event"], "begin");
}

#[tokio::test]
async fn call_cancelled_by_its_client_ends_at_once() {
    let scratch = scratch();
    let options = ["--journal", "journal.jsonl", "--delay-ms", "60000"];
    let (_child, client) = connect(scratch.path(), &options, modern()).await;
    tokio::select! {
        _ = call(&client, "note", json!({"text": "hello"})) => panic!("the call takes a minute"),
        () = journal_reaches(scratch.path(), 1) => {}
    }
    journal_reaches(scratch.path(), 2).await;
    let lines = journal(scratch.path());
    assert_eq!([&lines[1]["event"], &lines[1]["ok"]], [&json!("end"), &json!(false)], "no note is written");
}

#[tokio::test]
async fn server_ends_when_its_stdin_is_closed() {
    let scratch = scratch();
    let (mut child, client) = connect(scratch.path(), &[], ClientLifecycleMode::Initialize).await;
    client.cancel().await.unwrap();
    assert!(tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap().success());
}

/// A server over HTTP. It is killed when this is dropped.
struct HttpServer {
    child: std::process::Child,
    address: String,
}

impl HttpServer {
    fn start(scratch: &Path) -> Self {
        let mut child = tables(scratch, &["--http", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("tables: listening on http://").unwrap();
        Self { child, address: url.strip_suffix("/mcp").unwrap().to_owned() }
    }

    /// Posts a message and returns the status line and the body.
    fn post(&self, headers: &str, body: &Value) -> (String, String) {
        let (body, address) = (body.to_string(), &self.address);
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "POST /mcp HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn tools_answer_over_http() {
    let scratch = scratch();
    let http = HttpServer::start(scratch.path());
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "summarise_csv", "arguments": {"file": "north.csv"}}});
    let (status, body) = http.post("MCP-Protocol-Version: 2025-11-25\r\n", &message);
    assert_eq!(status, "HTTP/1.1 200 OK", "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["result"]["structuredContent"]["columns"]["units"]["sum"], json!(5.0));
}

#[test]
fn requests_of_web_pages_and_other_machines_are_refused() {
    let scratch = scratch();
    let http = HttpServer::start(scratch.path());
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let (status, _) = http.post("Origin: http://example.com\r\n", &message);
    assert_eq!(status, "HTTP/1.1 403 Forbidden");
    let refused = tables(scratch.path(), &["--http", "0.0.0.0:0"]).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("use 127.0.0.1"));
}
