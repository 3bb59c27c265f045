//! Parses addresses of NATS servers, and shows them without credentials.

use async_nats::ServerAddr;

use super::error::ConnectError;
use longshore_ports::redact_addresses;

/// Parses an address.
pub(super) fn address(url: &str) -> Result<ServerAddr, ConnectError> {
    url.trim()
        .parse()
        .map_err(|error: std::io::Error| ConnectError::Url { url: shown_text(url), cause: error.to_string() })
}

/// Returns a text that is not an address, without a part that may be a password.
fn shown_text(url: &str) -> String {
    let url = if url.contains("://") { url.to_owned() } else { format!("nats://{url}") };
    format!("`{}`", redact_addresses(&url))
}

/// Returns the addresses without user, password or token. The client library writes whole addresses into its log lines;
/// it gets the credentials with the connect options.
pub(super) fn without_credentials(servers: &[ServerAddr]) -> Result<Vec<ServerAddr>, ConnectError> {
    let each = servers.iter().map(|server| {
        let mut url = server.clone().into_inner();
        // Neither call fails for an address that has a host.
        let _ = url.set_password(None);
        let _ = url.set_username("");
        url.set_query(None);
        url.set_fragment(None);
        let shown = url.to_string();
        ServerAddr::from_url(url).map_err(|error| ConnectError::Url { url: shown, cause: error.to_string() })
    });
    each.collect()
}

/// Returns hosts and ports, for messages.
pub(super) fn shown(servers: &[ServerAddr]) -> String {
    let each = servers.iter().map(|server| format!("{}:{}", server.host(), server.port()));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_url_is_refused_and_passwords_are_not_shown() {
        assert!(matches!(address("not a url://"), Err(ConnectError::Url { .. })));
        let refused = address("nats://me:s3cret@host:port").expect_err("no port").to_string();
        assert!(refused.contains("`nats://***`") && !refused.contains("s3cret"), "{refused}");
        let server = address("nats://me:secret@db.example:4333/?x=secret#secret").expect("an address");
        assert_eq!(shown(std::slice::from_ref(&server)), "db.example:4333");
        let bare = without_credentials(&[server]).expect("an address");
        assert!(!format!("{bare:?}").contains("secret") && !bare.iter().any(ServerAddr::has_user_pass));
    }
}
