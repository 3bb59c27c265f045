//! TLS of a connection to NATS, and passwords on connections without it.

use async_nats::{ConnectOptions, ServerAddr};
use longshore_ports::is_loopback;
use longshore_tls::TlsFiles;

/// Adds certificates. TLS is required if any is configured. The client library reads the files again for every
/// connection, so renewed certificates need no restart.
pub(super) fn with_tls(mut options: ConnectOptions, files: &TlsFiles) -> ConnectOptions {
    if let Some(ca) = &files.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let (Some(cert), Some(key)) = (&files.cert, &files.key) {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    options.require_tls(files.is_set())
}

/// Returns the first server to which a password or a token would go over the network in plain text. The seeds of
/// credentials files and nkeys are never sent.
pub(super) fn exposed(servers: &[ServerAddr], is_tls: bool) -> Option<&ServerAddr> {
    let is_exposed = |server: &&ServerAddr| {
        server.has_user_pass() && !server.tls_required() && !is_loopback(server.host())
    };
    if is_tls { None } else { servers.iter().find(is_exposed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_over_plain_text_to_another_machine_is_noticed() {
        let is_exposed = |url: &str, is_tls| exposed(&[url.parse().expect("an address")], is_tls).is_some();
        assert!(is_exposed("nats://me:secret@db.example", false));
        assert!(is_exposed("nats://t0ken@10.0.0.1:4222", false));
        assert!(!is_exposed("nats://me:secret@db.example", true));
        for url in [
            "nats://db.example",
            "tls://me:secret@db.example",
            "nats://me:secret@127.0.0.1",
            "nats://t@localhost",
        ] {
            assert!(!is_exposed(url, false), "{url}");
        }
    }
}
