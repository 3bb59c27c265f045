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
fn messages_about_an_unusable_entry_show_no_credential() {
    let config = parse(r#"{"mcpServers": {"s": {"url": "ftp://u:s3cret-user@h/?key=s3cret-query"}}}"#);
    let config = config.expect("a file");
    let why: Vec<&String> = config.unusable().values().flatten().collect();
    assert_eq!(why, ["url: `ftp://***@h/?key=***` is not an http or https address"]);
    assert_eq!(config.secrets_to_hide().hide("s3cret-query"), "***");
}
