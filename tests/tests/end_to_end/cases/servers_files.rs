//! Servers files in the spellings of other hosts.

use longshore_tests::longshore::EndedCommand;
use serde_json::{Value, json};

use crate::cases::folder::{Case, WORKFLOW};

/// Runs the workflow of the case with this servers file.
async fn run(case: &Case, file: &str) -> EndedCommand {
    let file = format!("{file}.json");
    case.longshore(["run", WORKFLOW, "--mcp-config", &file, "--data", "../data"]).run().await
}

/// Files whose server works, each with the messages about the file.
const WORKING: [(&str, &[&str]); 20] = [
    ("comments", &[]),
    ("comma", &[]),
    ("bom", &[]),
    ("crlf", &[]),
    ("vscode", &[]),
    ("arraycmd", &[]),
    ("types", &[]),
    ("remote", &[]),
    ("upper", &[]),
    ("ws", &[]),
    ("serverurl", &[]),
    ("httpurl", &["mcpServers.g: timeout: is not read", "set `longshore.call_timeout_ms`"]),
    ("sse", &[]),
    ("envnumber", &[]),
    ("envnull", &[]),
    ("argsnumber", &[]),
    ("shellescape", &[]),
    ("disabledbroken", &[]),
    ("names", &["left out: `Sequential Thinking` is not a server name", "left out: `@acme/fs`"]),
    ("extras", &["disabledTools: is not read", "envFile: is not read", "timeout: is not read"]),
];

#[tokio::test]
async fn common_spellings_are_read_and_an_invalid_entry_does_not_affect_others() {
    let case = Case::of("13-servers-file");
    for (file, words) in WORKING {
        let ended = run(&case, file).await.expecting(0).saying(words);
        assert!(!words.is_empty() || !ended.stderr.contains("warning"), "{file}: {ended}");
    }
}

#[tokio::test]
async fn file_without_servers_is_refused_with_their_place() {
    let case = Case::of("13-servers-file");
    let cases: [(&str, &[&str]); 4] = [
        ("utf16", &["utf16.json is not UTF-8 text", "save it as UTF-8"]),
        ("settings", &["write what is in `mcp.servers` into an object `mcpServers`"]),
        ("zed", &["write what is in `context_servers` into an object `mcpServers`"]),
        ("bare", &["`s` looks like a server: put it into an object `mcpServers`"]),
    ];
    for (file, words) in cases {
        run(&case, file).await.expecting(3).saying(words);
    }
}

#[tokio::test]
async fn invalid_entry_is_named_with_its_key_by_its_call() {
    let case = Case::of("13-servers-file");
    let cases = [
        ("argsstring", "args: must be a list of texts, not text"),
        (
            "onestring",
            "command: names the program alone; write `\"command\": \"python3\"`, and the rest into `args`",
        ),
        ("dupname", "is written twice, in line 1; keep one of them"),
        ("shellvar", "args: `${1:-server.py}` is not one of `${VAR}`, `${VAR:-default}`, `${env:VAR}`"),
    ];
    for (file, words) in cases {
        let server = format!("step `a`: the server `s` of {file}.json cannot be used");
        run(&case, file).await.expecting(3).saying(&[&server, words]);
    }
}

#[tokio::test]
async fn shell_variable_is_a_warning() {
    let case = Case::of("13-servers-file");
    let words =
        ["args: `$PWD` is not filled in, because no shell reads it; write `${PWD}`", "$PWD/server.py"];
    run(&case, "dollarhome").await.expecting(20).saying(&words);
}

#[tokio::test]
async fn unusable_entries_are_listed_with_the_reason() {
    let case = Case::of("13-servers-file");
    let listed = async |file: &str| -> Vec<Value> {
        let file = format!("{file}.json");
        case.longshore(["servers", "list", "--json", "--mcp-config", &file]).run().await.json_lines()
    };
    for (file, server, words) in [
        ("ws", "w", "WebSocket is not a transport of MCP"),
        ("sse", "g", "sse"),
        ("vscode", "gh", "input:key"),
    ] {
        let all = listed(file).await;
        let one = all.iter().find(|one| one["server"] == json!(server)).expect("an entry").to_string();
        assert!(one.contains(words), "{file}: {one}");
    }
    let disabled = listed("disabledbroken").await;
    assert_eq!(disabled.len(), 4, "{disabled:?}");
}

#[tokio::test]
async fn servers_get_the_variables_of_proxies_and_certificates() {
    let inherited = [
        ("HTTPS_PROXY", "http://proxy.example:3128"),
        ("HTTP_PROXY", "http://proxy.example:3129"),
        ("ALL_PROXY", "http://proxy.example:3130"),
        ("NO_PROXY", "localhost,.example"),
        ("https_proxy", "http://proxy.example:3128"),
        ("http_proxy", "http://proxy.example:3129"),
        ("all_proxy", "http://proxy.example:3130"),
        ("no_proxy", "localhost,.example"),
        ("SSL_CERT_FILE", "/etc/ca.pem"),
        ("SSL_CERT_DIR", "/etc/certs"),
        ("NODE_EXTRA_CA_CERTS", "/etc/ca.pem"),
        ("NODE_USE_ENV_PROXY", "1"),
        ("REQUESTS_CA_BUNDLE", "/etc/ca.pem"),
        ("CURL_CA_BUNDLE", "/etc/ca.pem"),
    ];
    let mut case = Case::of("36-proxy-env").with("NATS_PASSWORD", "s3cret-12345");
    for (name, value) in inherited {
        case.set(name, value);
    }
    let outputs = case.outputs().await;
    let seen = &outputs["a"];
    for (name, value) in inherited {
        assert_eq!(seen[name], value, "{name}");
    }
    assert_eq!(seen["NATS_PASSWORD"], Value::Null, "nothing else is inherited");
}
