//! Servers files: fields, problems, and secrets.

mod credentials;
mod spellings;

use serde_json::json;

use super::super::elicitation::Elicitation;
use super::*;
use crate::launcher::ProcessLimits;

fn env(name: &str) -> Option<String> {
    match name {
        "PATH" => Some("/usr/bin".to_owned()),
        "HOME" => Some("/home/someone".to_owned()),
        "API_TOKEN" => Some("s3cret-token".to_owned()),
        "QUEUE_PASSWORD" => Some("s3cret-queue".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<ServersConfig, ServersFileErrors> {
    ServersConfig::parse(text, &env)
}

fn usable(text: &str) -> ServerConfig {
    let config = parse(text).expect("a good file");
    assert_eq!(config.unusable().len(), 0, "{:?}", config.unusable());
    config.servers.into_values().next().expect("a server")
}

fn stdio(server: &ServerConfig) -> &StdioServer {
    match &server.transport {
        ServerTransport::Stdio(stdio) => stdio,
        ServerTransport::Http(_) | ServerTransport::Noop => panic!("not over stdio"),
    }
}

#[test]
fn entries_of_other_hosts_are_read() {
    let text = r#"{"mcpServers": {
        "files": {"command": "mcp-server-filesystem", "args": ["${HOME}/data"], "env": {"LOG": "1"}},
        "api": {"type": "http", "url": "${API_BASE:-http://127.0.0.1:3901}/mcp",
                "headers": {"Authorization": "Bearer ${API_TOKEN}"}},
        "other": {"transport": "streamable-http", "url": "https://example.test/mcp"}}}"#;
    let config = parse(text).expect("a good file");
    assert_eq!(config.names().map(ServerName::as_str).collect::<Vec<_>>(), ["api", "files", "other"]);
    assert_eq!((config.unusable().len(), config.warnings().len()), (0, 0));
    let files = &config.servers[&"files".parse().unwrap()];
    assert_eq!(stdio(files).args[0].value(), "/home/someone/data");
    let ServerTransport::Http(api) = &config.servers[&"api".parse().unwrap()].transport else {
        panic!("over stdio")
    };
    assert_eq!(api.url.value(), "http://127.0.0.1:3901/mcp");
    assert_eq!(api.headers[0].1, "Bearer s3cret-token");
}

#[test]
fn child_environment_has_only_listed_variables() {
    let server = usable(
        r#"{"servers": {"s": {"command": "c", "env": {"TOKEN": "${API_TOKEN}", "HOME": "/srv"},
            "longshore": {"inherit_env": ["QUEUE_PASSWORD", "NOT_THERE"]}}}}"#,
    );
    let env: Vec<(&str, &str)> =
        stdio(&server).env.iter().map(|(name, value)| (name.as_str(), value.0.as_str())).collect();
    assert_eq!(
        env,
        [
            ("HOME", "/srv"),
            ("PATH", "/usr/bin"),
            ("QUEUE_PASSWORD", "s3cret-queue"),
            ("TOKEN", "s3cret-token")
        ]
    );
    let plain = usable(r#"{"mcpServers": {"s": {"command": "c"}}}"#);
    assert!(!stdio(&plain).env.contains_key("QUEUE_PASSWORD"));
}

#[test]
fn debug_output_holds_no_credential() {
    let config = parse(
        r#"{"mcpServers": {
        "a": {"command": "c", "args": ["--key=${API_TOKEN}"], "env": {"TOKEN": "${API_TOKEN}", "LITERAL": "s3cret-literal"}},
        "b": {"url": "http://x:${API_TOKEN}@h/", "headers": {"X-Key": "s3cret-header"}}}}"#,
    )
    .expect("a good file");
    let shown = format!("{config:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let said = config.servers[&"b".parse().unwrap()].secrets.hide("bad key s3cret-header for s3cret-token");
    assert_eq!(said, "bad key *** for ***");
}

#[test]
fn unusable_server_does_not_affect_the_others() {
    let config = parse(
        r#"{"mcpServers": {
        "good": {"command": "c"},
        "unset": {"command": "c", "args": ["${ONE}"], "env": {"X": "${TWO}"}},
        "asks": {"url": "https://h/", "headers": {"Authorization": "${input:token}"}},
        "old": {"type": "sse", "url": "https://h/sse"},
        "off": {"command": "c", "disabled": true},
        "no server name": {"command": "c"}}}"#,
    )
    .expect("no mistake");
    assert_eq!(config.names().map(ServerName::as_str).collect::<Vec<_>>(), ["good"]);
    let why = |name: &str| config.unusable()[&name.parse().unwrap()].join("; ");
    assert_eq!(
        why("unset"),
        "args: variable `ONE` is not set; set it, or write `${ONE:-default}`; \
         env.X: variable `TWO` is not set; set it, or write `${TWO:-default}`"
    );
    assert!(
        why("asks").starts_with("headers.Authorization: `${input:token}` asks a person"),
        "{}",
        why("asks")
    );
    assert!(why("old").contains("replaced by streamable HTTP"), "{}", why("old"));
    assert!(why("off").contains("disabled"), "{}", why("off"));
    assert!(
        config.warnings()[0].contains("`no server name` is not a server name"),
        "{:?}",
        config.warnings()
    );
}

#[test]
fn all_mistakes_are_reported_and_make_only_their_entry_unusable() {
    let config = parse(
        r#"{"mcpServers": {
        "good": {"command": "c"},
        "a": {"comand": "c"},
        "b": {"command": "c", "args": "x", "env": {"A": 1.5}},
        "c": {"command": "c", "url": "http://h/"},
        "d": {"url": "ftp://h/", "headers": {"Mcp-Session-Id": "1", "X Y": "1"}},
        "e": {"type": "carrier-pigeon"},
        "f": {"command": "c", "longshore": {"max_concurency": 2, "trust": 2, "protocol": "new",
              "connect_timeout_ms": 0, "inherit_env": ["A B"], "stateful": "yes"}},
        "g": 7}}"#,
    )
    .expect("a file");
    assert_eq!(config.names().map(ServerName::as_str).collect::<Vec<_>>(), ["good"]);
    let mut found: Vec<String> = config
        .unusable()
        .iter()
        .flat_map(|(name, why)| why.iter().map(move |why| format!("{name}.{why}")))
        .collect();
    let mut wanted = vec![
        "a.command: is missing; a server has a `command` to start, or a `url`",
        "b.args: must be a list of texts, not text",
        "b.env.A: must be text, not a number with a fraction; put it in quotes",
        "c.url: contradicts `command`; keep one of them, or say which counts by `type`",
        "d.headers.Mcp-Session-Id: belongs to the protocol and is set for you",
        "d.headers.X Y: is not the name of a header",
        "d.url: `ftp://h/` is not an http or https address",
        "e.type: must be stdio or http, not `carrier-pigeon`",
        "f.longshore.connect_timeout_ms: must be a whole number from 1 to 86400000, not 0",
        "f.longshore.inherit_env: `A B` is not the name of a variable",
        "f.longshore.max_concurency: no such setting; did you mean `max_concurrency`?",
        "f.longshore.trust: this setting is not built yet; leave it out",
        "f.longshore.protocol: must be auto, modern or legacy, not `new`",
        "f.longshore.stateful: must be true or false, not text",
        "g.must be an object, not a number",
    ];
    found.sort();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    assert_eq!(config.warnings(), ["mcpServers.a: comand: is not a known field; did you mean `command`?"]);
}

#[test]
fn file_without_servers_is_refused() {
    for (text, wanted) in [
        ("{", "not valid JSON at line 1, column 1: unterminated object"),
        ("[]", "the file: must be an object, not a list"),
        ("{}", "mcpServers: is missing; it maps the name of each server to its entry"),
        (
            r#"{"mcpservers": {}}"#,
            "mcpServers: is missing; the file has `mcpservers`: did you mean `mcpServers`?",
        ),
        (
            r#"{"context_servers": {}}"#,
            "mcpServers: is missing; write what is in `context_servers` into an object `mcpServers`",
        ),
        (
            r#"{"mcp": {"servers": {}}}"#,
            "mcpServers: is missing; write what is in `mcp.servers` into an object `mcpServers`",
        ),
        (
            r#"{"s": {"command": "c"}}"#,
            "mcpServers: is missing; `s` looks like a server: put it into an object `mcpServers`",
        ),
        (r#"{"mcpServers": []}"#, "mcpServers: must be an object of servers"),
        (r#"{"mcpServers": {}, "servers": {}}"#, "servers: contradicts `mcpServers`; keep one of them"),
        (
            "{\"mcpServers\": {},\n\"mcpServers\": {}}",
            "mcpServers: is written twice, in lines 1 and 2; keep one of them",
        ),
    ] {
        assert_eq!(parse(text).expect_err(text).0, [wanted], "{text}");
    }
    let large = format!("{{\"mcpServers\": {{}}, \"x\": \"{}\"}}", "x".repeat(outline::MOST_FILE_BYTES));
    assert!(parse(&large).expect_err("too large").0[0].contains("at most 1048576 are read"));
}

#[test]
fn settings_have_defaults_and_can_be_set() {
    let plain = usable(r#"{"mcpServers": {"s": {"command": "c"}}}"#).settings;
    assert_eq!(plain, ServerSettings::default());
    let set = usable(
        r#"{"mcpServers": {"s": {"command": "c", "longshore": {"protocol": "legacy", "stateful": true, "pool": 4,
            "connect_timeout_ms": 1000, "call_timeout_ms": 2000, "idle_timeout_ms": 3000,
            "max_message_bytes": 4096, "elicitation": "defaults",
            "limits": {"memory_mb": 2048, "open_files": 256, "cpu_seconds": 60, "file_mb": 10}}}}}"#,
    )
    .settings;
    let seconds = std::time::Duration::from_secs;
    assert_eq!(
        set,
        ServerSettings {
            protocol: ProtocolEra::Legacy,
            stateful: true,
            pool: 4,
            max_concurrency: 1,
            connect_timeout: seconds(1),
            call_timeout: Some(seconds(2)),
            idle_timeout: seconds(3),
            max_message_bytes: 4096,
            elicitation: Elicitation::Defaults,
            limits: ProcessLimits {
                memory_mb: Some(2048),
                open_files: Some(256),
                cpu_seconds: Some(60),
                file_mb: Some(10)
            },
        }
    );
    let both =
        r#"{"mcpServers": {"s": {"command": "c", "longshore": {"stateful": true, "max_concurrency": 3}}}}"#;
    assert_eq!(usable(both).settings.max_concurrency, 3);
}

#[test]
fn limits_and_pools_without_effect_are_refused() {
    let config = parse(
        r#"{"mcpServers": {
        "a": {"command": "c", "longshore": {"limits": {"memory": 1, "memory_mb": 0, "processes": 9}}},
        "b": {"url": "http://h/", "longshore": {"limits": {"memory_mb": 64}, "pool": 2}},
        "c": {"command": "c", "longshore": {"limits": 7}}}}"#,
    )
    .expect("a file");
    assert_eq!(
        config.unusable().values().flatten().collect::<Vec<_>>(),
        [
            "longshore.limits.memory_mb: must be a whole number from 16 to 1048576, not 0",
            "longshore.limits.memory: no such limit; did you mean `memory_mb`?",
            "longshore.limits.processes: the system counts processes by user and not by server, so this cannot be \
             limited here",
            "longshore.limits: only a server with a `command` has processes to limit",
            "longshore.pool: only a server with a `command` has processes; over HTTP one client serves all calls",
            "longshore.limits: must be an object, not a number",
        ]
    );
}

#[test]
fn secrets_that_runs_may_name_are_read_and_never_shown() {
    let config = parse(
        r#"{"mcpServers": {"s": {"command": "c"}}, "longshore": {"secrets": {
            "CARD_TOKEN": {"value": "${API_TOKEN}", "servers": ["s"]},
            "_literal": {"value": "s3cret-literal", "servers": ["s", "t"], "tools": ["t/x"], "namespaces": ["a"]},
            "PIN": {"value": "123", "servers": ["s"]}}}}"#,
    )
    .expect("a good file");
    assert_eq!(
        config.secrets().map(SecretName::as_str).collect::<Vec<_>>(),
        ["CARD_TOKEN", "PIN", "_literal"]
    );
    let shown = format!("{config:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("123"), "{shown}");
    assert_eq!(config.warnings().len(), 1);
    assert!(config.warnings()[0].starts_with("longshore.secrets.PIN has less than 4 bytes"));
    let server = &config.servers[&"s".parse().unwrap()];
    assert_eq!(server.secrets.hide("card s3cret-token"), "card ***", "in texts of any server");
}

#[test]
fn secret_is_given_only_to_calls_that_it_is_bound_to() {
    let config = parse(
        r#"{"mcpServers": {}, "longshore": {"secrets": {
            "WIDE": {"value": "s3cret", "servers": ["s", "t"]},
            "NARROW": {"value": "s3cret", "servers": ["s"], "tools": ["s/x"], "namespaces": ["a"]}}}}"#,
    )
    .expect("a good file");
    let gives = |name: &str, namespace: &str, server: &str, tool: &str| {
        let (namespace, server) = (namespace.parse().unwrap(), server.parse().unwrap());
        let tool = tool.parse().unwrap();
        let to = SecretRecipient { namespace: &namespace, server: &server, tool: &tool };
        config.gives_secret(&name.parse().unwrap(), &to)
    };
    assert!(gives("WIDE", "a", "s", "x") && gives("WIDE", "b", "t", "y"));
    assert!(!gives("WIDE", "a", "u", "x"));
    assert!(gives("NARROW", "a", "s", "x"));
    assert!(!gives("NARROW", "b", "s", "x") && !gives("NARROW", "a", "s", "y"));
    assert!(!gives("NARROW", "a", "t", "x") && !gives("OTHER", "a", "s", "x"));
    let bound_to = |server: &str, tool: &str| {
        let (server, tool) = (server.parse().unwrap(), tool.parse().unwrap());
        config.secrets_bound_to(&server, &tool).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        (bound_to("s", "x"), bound_to("s", "y")),
        (vec!["NARROW".into(), "WIDE".into()], vec!["WIDE".into()])
    );
    assert_eq!(bound_to("u", "x"), [""; 0]);
}

#[test]
fn values_of_the_environment_are_hidden_for_every_server_unless_they_are_visible() {
    let config = parse(
        r#"{"mcpServers": {
        "a": {"command": "c", "env": {"KEY": "s3cret-literal", "ROOT": "/srv/data", "SHORT": "warn"},
              "longshore": {"inherit_env": ["QUEUE_PASSWORD"], "visible_env": ["ROOT"]}},
        "b": {"url": "http://h/", "headers": {"Authorization": "Basic czNjcmV0LWhlYWRlcg=="}}}}"#,
    )
    .expect("a good file");
    for name in ["a", "b"] {
        let secrets = &config.servers[&name.parse().unwrap()].secrets;
        let said = "s3cret-literal s3cret-queue czNjcmV0LWhlYWRlcg== in /srv/data, warn, /usr/bin";
        assert_eq!(secrets.hide(said), "*** *** *** in /srv/data, warn, /usr/bin");
    }
}

#[test]
fn mistakes_in_secrets_are_reported_without_their_values() {
    let errors = parse(
        r#"{"mcpServers": {}, "longshore": {"secret": {}, "secrets": {
            "A-B": {}, "UNSET": {"value": "${NOT_SET}", "servers": ["s"]}, "EMPTY": {"value": "", "servers": ["s"]},
            "ODD": {"value": "s3cret${s3cret", "servers": ["s"]}, "PLAIN": "s3cret", "FREE": {"value": "s3cret"},
            "NONE": {"value": "s3cret", "servers": []}, "WIDE": {"value": "s3cret", "servers": ["s"], "tools": ["t/x"]},
            "FLAT": {"value": "s3cret", "servers": ["s"], "tools": ["x"], "tool": 1}}}}"#,
    )
    .expect_err("many mistakes");
    let mut found = errors.0;
    found.sort();
    assert_eq!(
        found,
        [
            "longshore.secret: no such setting; there is `secrets`",
            "longshore.secrets.EMPTY: is empty, and an empty secret protects nothing",
            "longshore.secrets.FLAT.tool: no such setting; there are value, servers, tools, namespaces",
            "longshore.secrets.FLAT.tools: `x` is not written as server/tool",
            "longshore.secrets.FREE.servers: is missing; it lists the servers that may receive the secret",
            "longshore.secrets.NONE.servers: is empty, so no call would receive the secret",
            "longshore.secrets.ODD: has a variable that is not one of `${VAR}`, `${VAR:-default}`, `${env:VAR}`; write `$${` \
             where the text `${` itself is meant",
            "longshore.secrets.PLAIN: must say which servers may receive it: \
             {\"value\": \"${PLAIN}\", \"servers\": [\"<server>\"]}",
            "longshore.secrets.UNSET: variable `NOT_SET` is not set; set it, or write `${NOT_SET:-default}`",
            "longshore.secrets.WIDE.tools: `t/x` is a tool of a server that is not in `servers`",
            "longshore.secrets: `A-B` is not a name of a secret: 1 to 63 of A-Z, a-z, 0-9 and `_`, not starting with a \
             digit",
        ]
    );
    let mistyped =
        parse(r#"{"mcpServers": {}, "longshore": {"secrets": {"A": 4111}}}"#).expect_err("no object");
    assert_eq!(mistyped.0, ["longshore.secrets.A: must be an object, not a number"]);
}

#[test]
fn unknown_fields_are_warnings() {
    let config =
        parse(r#"{"extra": [], "servers": {"s": {"command": "c", "comand": ".env", "autoApprove": []}}}"#)
            .expect("odd");
    assert_eq!(
        config.warnings(),
        [
            "`extra` is not a known field of the file",
            "servers.s: comand: is not a known field; did you mean `command`?",
        ]
    );
}

#[test]
fn headers_over_plain_http_to_another_machine_are_a_warning() {
    let warnings = |url: &str, headers: &str| {
        let text = format!(r#"{{"mcpServers": {{"api": {{"url": "{url}", "headers": {headers}}}}}}}"#);
        parse(&text).expect("a good file").warnings().to_vec()
    };
    let token = r#"{"Authorization": "Bearer ${API_TOKEN}"}"#;
    let exposed = warnings("http://db.example/mcp", token);
    assert!(exposed[0].starts_with("mcpServers.api: sends its headers over http"), "{exposed:?}");
    assert!(!exposed[0].contains("s3cret"), "{exposed:?}");
    for (url, headers) in [
        ("https://db.example/mcp", token),
        ("http://127.0.0.1:1/mcp", token),
        ("http://db.example/mcp", "{}"),
    ] {
        assert!(warnings(url, headers).is_empty(), "{url}");
    }
}
