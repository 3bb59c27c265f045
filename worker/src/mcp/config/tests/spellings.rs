//! Spellings of other hosts, and common mistakes in copied entries.

use super::*;

/// Returns why the server `s` of an entry is unusable.
fn why(entry: &str) -> String {
    let config = parse(&format!(r#"{{"mcpServers": {{"s": {entry}, "good": {{"command": "c"}}}}}}"#));
    let config = config.expect("a file");
    assert!(config.names().any(|name| name.as_str() == "good"), "{entry} does not affect the other server");
    let name = "s".parse().expect("a name");
    config.unusable().get(&name).map(|why| why.join("; ")).unwrap_or_default()
}

fn http(entry: &str) -> HttpServer {
    match usable(&format!(r#"{{"mcpServers": {{"s": {entry}}}}}"#)).transport {
        ServerTransport::Http(http) => http,
        ServerTransport::Stdio(_) | ServerTransport::Noop => panic!("not over HTTP"),
    }
}

#[test]
fn transports_are_read_in_the_spellings_of_other_hosts() {
    for kind in ["http", "HTTP", "streamable-http", "streamable_http", "streamableHttp", "remote"] {
        assert_eq!(
            http(&format!(r#"{{"type": "{kind}", "url": "http://h/mcp"}}"#)).url.value(),
            "http://h/mcp"
        );
    }
    for field in ["url", "serverUrl", "httpUrl"] {
        assert_eq!(http(&format!(r#"{{"{field}": "http://h/mcp"}}"#)).url.value(), "http://h/mcp");
    }
    let local =
        usable(r#"{"mcpServers": {"s": {"type": "local", "command": ["npx", "-y", "x"], "enabled": true}}}"#);
    let stdio = stdio(&local);
    let args: Vec<&str> = stdio.args.iter().map(ExpandedText::value).collect();
    assert_eq!((stdio.command.value(), args), ("npx", vec!["-y", "x"]));
    assert!(why(r#"{"type": "ws", "url": "ws://h/"}"#).contains("WebSocket is not a transport of MCP"));
}

#[test]
fn numbers_and_switches_become_text_and_null_is_absent() {
    let server = usable(
        r#"{"mcpServers": {"s": {"command": "c", "args": ["--port", 8080], "env": {"PORT": 8080, "DEBUG": true},
            "cwd": null, "disabled": null, "url": null}}}"#,
    );
    let stdio = stdio(&server);
    assert_eq!(stdio.args[1].value(), "8080");
    assert_eq!((stdio.env["PORT"].0.as_str(), stdio.env["DEBUG"].0.as_str()), ("8080", "true"));
    assert_eq!(why(r#"{"command": "c", "args": ["x", []]}"#), "args: item 2 must be text, not a list");
}

#[test]
fn null_means_absent_for_every_optional_key() {
    let server = usable(
        r#"{"longshore": {"secrets": null}, "mcpServers": {"s": {"command": "c", "args": null, "env": {"A": null, "B": "b"},
            "longshore": {"pool": null, "inherit_env": null, "limits": {"memory_mb": null, "open_files": 64}}}}}"#,
    );
    assert_eq!(server.settings.limits.open_files, Some(64));
    let env = &stdio(&server).env;
    assert!(env.contains_key("B") && !env.contains_key("A"));
    let server = http(r#"{"command": null, "url": "http://h/", "headers": {"X-A": null, "X-B": "b"}}"#);
    let headers: Vec<&str> = server.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(headers, ["x-b"]);
    assert!(why(r#"{"command": null}"#).contains("a server has a `command` to start, or a `url`"));
    // An argument cannot be left out, because the position of the others would change.
    assert_eq!(why(r#"{"command": "c", "args": ["x", null]}"#), "args: item 2 must be text, not null");
}

#[test]
fn other_fields_of_a_disabled_entry_are_not_read() {
    let config = parse(
        r#"{"mcpServers": {"later": {"disabled": true, "command": ""}, "placeholder": {"enabled": false, "url": "TODO"},
            "wrong": {"disabled": "yes", "command": "c"}}}"#,
    )
    .expect("a file");
    for name in ["later", "placeholder"] {
        let name = name.parse().expect("a name");
        assert_eq!(config.unusable()[&name], ["it is disabled in the file"]);
        assert!(config.is_disabled(&name));
    }
    let wrong = "wrong".parse().expect("a name");
    assert_eq!(config.unusable()[&wrong], ["disabled: must be true or false, not text"]);
    assert!(!config.is_disabled(&wrong));
}

#[test]
fn shell_syntax_is_refused_or_causes_a_warning() {
    assert_eq!(
        why(r#"{"command": "python3 server.py"}"#),
        "command: names the program alone; write `\"command\": \"python3\"`, and the rest into `args`, one text for each \
         argument"
    );
    assert!(why(r#"{"command": "~/bin/server"}"#).contains("write `${HOME}/bin/server`"));
    let config =
        parse(r#"{"mcpServers": {"s": {"command": "c", "args": ["$PWD/server.py"]}}}"#).expect("a file");
    assert_eq!(
        config.warnings(),
        ["mcpServers.s: args: `$PWD` is not filled in, because no shell reads it; write `${PWD}`"]
    );
}

#[test]
fn file_of_vs_code_is_read_without_warnings() {
    let config = parse(
        r#"{"inputs": [{"id": "key", "type": "promptString"}], // asked by VS Code
            "servers": {"s": {"command": "c"},
                        "asks": {"type": "http", "url": "https://h/", "headers": {"Authorization": "Bearer ${input:key}"}},
                        "folder": {"command": "${workspaceFolder}/bin/x"},}}"#,
    )
    .expect("a file");
    assert_eq!(config.warnings(), [""; 0]);
    assert_eq!(config.names().map(ServerName::as_str).collect::<Vec<_>>(), ["s"]);
    let reasons: Vec<&String> = config.unusable().values().flatten().collect();
    assert!(reasons[0].contains("`${input:key}` asks a person for a value"), "{reasons:?}");
    assert_eq!(
        reasons[1],
        "command: `${workspaceFolder}` is known to editors only; write the path, or a variable such as `${HOME}`"
    );
}

#[test]
fn key_that_is_written_twice_makes_its_entry_unusable() {
    let config = parse(
        "{\"mcpServers\": {\n\"s\": {\"command\": \"a\"},\n\"s\": {\"command\": \"b\"},\n\
         \"t\": {\"command\": \"c\", \"env\": {\"A\": \"1\",\n\"A\": \"2\"}},\n\"good\": {\"command\": \"c\"}},\n\
         \"other\": {\"x\": 1, \"x\": 2}}",
    )
    .expect("a file");
    let reasons: Vec<&String> = config.unusable().values().flatten().collect();
    assert_eq!(
        reasons,
        [
            "is written twice, in lines 2 and 3; keep one of them",
            "env.A: is written twice, in lines 4 and 5; keep one of them",
        ]
    );
    assert_eq!(config.names().map(ServerName::as_str).collect::<Vec<_>>(), ["good"]);
    assert!(config.warnings().iter().any(|it| it.starts_with("other.x: is written twice")), "{config:?}");
}

#[test]
fn home_in_an_argument_and_each_value_that_is_no_text_are_reported() {
    let text = json!({"mcpServers": {
        "a": {"command": "c", "args": ["~/nope", "a~/b"]},
        "b": {"command": "c", "env": {"X": "fine", "Y": 1.5, "Z": [1]}},
    }});
    let config = ServersConfig::parse(&text.to_string(), &|_| None).expect("a file");
    let home = "mcpServers.a: args: `~` is not filled in, because no shell reads it; write `${HOME}/nope`";
    assert_eq!(config.warnings(), [home]);
    let why: Vec<&String> = config.unusable().values().flatten().collect();
    assert!(
        why.iter().any(|why| why.starts_with("env.Y: ")) && why.iter().any(|why| why.starts_with("env.Z: ")),
        "{why:?}"
    );
}

#[test]
fn header_with_a_line_break_makes_its_server_unusable() {
    let env = |name: &str| {
        let value = match name {
            "ENDS" => "s3cret-token\n",
            "HOLDS" => "s3cret\r\ntoken",
            "CONTROL" => "s3cret\u{1}token",
            "EMPTY" => "",
            "SPACE" => "s3cret-token ",
            "ACCENT" => "s3cr\u{e9}t-token",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let read = |text: &str| {
        let entry = json!({"url": "https://h/", "headers": {"Authorization": text}});
        let text = json!({"mcpServers": {"s": entry, "other": {"command": "c"}}}).to_string();
        let config = ServersConfig::parse(&text, &env).expect("a file");
        assert!(config.names().any(|name| name.as_str() == "other"));
        (config.unusable().values().flatten().cloned().collect::<String>(), config.warnings().to_vec())
    };
    for (text, wanted) in [
        (
            "Bearer ${ENDS}",
            "headers.Authorization: the variable `ENDS` ends with a line break, which no header may hold",
        ),
        (
            "Bearer ${HOLDS}",
            "headers.Authorization: the variable `HOLDS` holds a line break, which no header may hold",
        ),
        ("Bearer\nx", "headers.Authorization: holds a line break, which no header may hold"),
        ("${CONTROL}", "headers.Authorization: has a control character, which no header may hold"),
    ] {
        let (why, _) = read(text);
        assert!(why.starts_with(wanted) && !why.contains("s3cr"), "{why}");
    }
    let (why, warnings) = read("Bearer ${EMPTY}");
    assert_eq!(why, "");
    assert_eq!(warnings, ["mcpServers.s: headers.Authorization: the variable `EMPTY` is empty"]);
    for (text, wanted) in
        [("${SPACE}", "begins or ends with a space"), ("${ACCENT}", "holds a character beyond ASCII")]
    {
        let (why, warnings) = read(text);
        assert!(
            why.is_empty() && warnings[0].contains(wanted) && !warnings[0].contains("s3cr"),
            "{why} {warnings:?}"
        );
    }
    assert_eq!(read("Bearer ${EMPTY:-x}"), (String::new(), Vec::new()));
}

#[test]
fn variables_for_proxies_and_certificates_are_inherited() {
    let env = |name: &str| match name {
        "HTTPS_PROXY" => Some("http://user:pr0xypass@proxy:3128".to_owned()),
        "NODE_EXTRA_CA_CERTS" => Some("/etc/ca.pem".to_owned()),
        _ => None,
    };
    let config = ServersConfig::parse(r#"{"mcpServers": {"s": {"command": "c"}}}"#, &env).expect("a file");
    let server = config.servers.values().next().expect("a server");
    let names: Vec<&String> = stdio(server).env.keys().collect();
    assert_eq!(names, ["HTTPS_PROXY", "NODE_EXTRA_CA_CERTS"]);
    let said = server.secrets.hide("cannot reach http://user:pr0xypass@proxy:3128 with /etc/ca.pem");
    assert_eq!(said, "cannot reach http://user:***@proxy:3128 with /etc/ca.pem");
}

#[test]
fn entries_as_written_have_the_documented_spelling() {
    let text =
        "// ours\n{\"servers\": {\"s\": {\"httpUrl\": \"${U}\"}, \"t\": {\"command\": [\"a\", \"b\"]},}}";
    let servers = json!({"s": {"url": "${U}"}, "t": {"command": "a", "args": ["b"]}});
    assert_eq!(ServersConfig::as_written(text), Some(json!({ "mcpServers": servers })));
    assert_eq!(ServersConfig::as_written("{"), None);
}
