//! Credentials that are written into the servers file.

use super::*;

#[test]
fn credentials_in_addresses_and_arguments_are_hidden_for_every_server() {
    let config = parse(
        r#"{"mcpServers": {
        "a": {"command": "c", "args": ["--api-key", "s3cret-arg", "--header", "Authorization: Bearer s3cret-header"]},
        "b": {"url": "https://user:s3cret-user@h/mcp?token=s3cret-query"},
        "c": {"command": "c"}}}"#,
    )
    .expect("a file");
    for server in config.servers.values() {
        let said = server.secrets.hide("s3cret-arg s3cret-header s3cret-user s3cret-query");
        assert_eq!(said, "*** *** *** ***");
    }
}

#[test]
fn variable_that_is_declared_visible_is_shown_wherever_it_is_used() {
    let config = parse(
        r#"{"mcpServers": {"s": {"command": "c", "args": ["${API_TOKEN}", "${QUEUE_PASSWORD}"],
            "longshore": {"visible_env": ["API_TOKEN"]}}}}"#,
    )
    .expect("a file");
    assert_eq!(config.secrets_to_hide().hide("s3cret-token s3cret-queue"), "s3cret-token ***");
}

#[test]
fn header_without_the_value_of_its_variable_has_no_secret() {
    let env = |name: &str| match name {
        "EMPTY" => Some(String::new()),
        "API_TOKEN" => Some("s3cret-token".to_owned()),
        _ => None,
    };
    let hidden = |header: &str| {
        let entry = serde_json::json!({"url": "https://h/", "headers": {"Authorization": header}});
        let text = serde_json::json!({"mcpServers": {"s": entry}}).to_string();
        let config = ServersConfig::parse(&text, &env).expect("a file");
        config.secrets_to_hide().hide("send Bearer abc: s3cret-token, prefix-text").into_owned()
    };
    for header in
        ["Bearer ${EMPTY}", "Bearer ${EMPTY:-}", "Bearer ${UNSET:-}", "Bearer", "prefix-text${EMPTY}"]
    {
        assert_eq!(hidden(header), "send Bearer abc: s3cret-token, prefix-text", "{header}");
    }
    assert_eq!(hidden("Bearer ${API_TOKEN}${EMPTY}"), "send Bearer abc: ***, prefix-text");
}

#[test]
fn messages_about_an_unusable_entry_show_no_credential() {
    let config = parse(r#"{"mcpServers": {"s": {"url": "ftp://u:s3cret-user@h/?key=s3cret-query"}}}"#);
    let config = config.expect("a file");
    let why: Vec<&String> = config.unusable().values().flatten().collect();
    assert_eq!(why, ["url: `ftp://***@h/?key=***` is not an http or https address"]);
    assert_eq!(config.secrets_to_hide().hide("s3cret-query"), "***");
}
