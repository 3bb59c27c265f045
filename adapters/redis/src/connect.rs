//! The way to a server that can be relied on.
//!
//! A server that is not there yet is waited for; one that is there and will not do is refused at once, with what would
//! mend it. What is asked of it is little: a version whose scripts behave, the right to write, and that it never
//! forgets a key by itself, because a claim that is forgotten is a call that is made twice.

use std::time::Duration;

use longshore_ports::is_loopback;
use longshore_tls::{TlsFiles, is_about_certificates};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    TlsCertificates,
};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::error::ConnectError;
use super::link::{Link, is_passing};
use super::server_info::ServerInfo;
use super::{RedisConfig, aof};

/// Between attempts to reach a server: short against the time that a server takes to start.
const PAUSE: Duration = Duration::from_millis(250);

/// How long the other end of a connection may leave unacknowledged what was sent. The system itself would wait for a
/// quarter of an hour, and meanwhile never ask for the address of a server that took over.
#[cfg(target_os = "linux")]
const SILENCE_LIMIT: Duration = Duration::from_secs(5);

/// Connects, waiting for the server until the deadline.
pub(super) async fn connect(config: RedisConfig) -> Result<Link, ConnectError> {
    let info = config.url.as_str().into_connection_info();
    let info = info.map_err(|source| ConnectError::Address { source })?;
    let info = info.set_tcp_settings(tcp_settings());
    // Without user and password.
    let address = info.addr().to_string();
    if exposes_password(&info) {
        warn!("the password for Redis at {address} goes there in plain text; use rediss:// and `redis.ca`");
    }
    let client = client(info, &config.tls)?;
    let deadline = Instant::now() + config.connect_deadline;
    loop {
        let source = match open(client.clone(), &address, &config.prefix).await {
            Ok((link, server)) => {
                server.check(address)?;
                if server.number("aof_enabled") == Some(1) {
                    aof::check(&link).await?;
                }
                return Ok(link);
            }
            Err(source) => source,
        };
        if is_about_certificates(&source.to_string()) {
            return Err(ConnectError::Tls { address, source });
        }
        if !is_passing(&source) {
            return Err(refusal(address, source));
        }
        if Instant::now() + PAUSE > deadline {
            let waited = config.connect_deadline;
            return Err(ConnectError::Unreachable { address, waited, source });
        }
        debug!(address, error = %source, "waiting for Redis");
        sleep(PAUSE).await;
    }
}

/// A client, with certificates if any are named. They have an effect for `rediss://` only, and are refused for others.
fn client(info: ConnectionInfo, files: &TlsFiles) -> Result<Client, ConnectError> {
    let bytes = files.read()?;
    let client = if files.is_set() {
        let client_tls =
            bytes.client.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        Client::build_with_tls(info, TlsCertificates { client_tls, root_cert: bytes.ca })
    } else {
        Client::open(info)
    };
    client.map_err(|source| ConnectError::Address { source })
}

/// Whether the password goes over the network in plain text.
fn exposes_password(info: &ConnectionInfo) -> bool {
    let is_plain = matches!(info.addr(), ConnectionAddr::Tcp(host, _) if !is_loopback(host));
    is_plain && info.redis_settings().password().is_some()
}

/// Requests go out as they come.
#[cfg(not(target_os = "linux"))]
fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// Requests go out as they come, and a connection whose other end has vanished is given up.
#[cfg(target_os = "linux")]
fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true).set_user_timeout(SILENCE_LIMIT)
}

async fn open(client: Client, address: &str, prefix: &str) -> Result<(Link, ServerInfo), RedisError> {
    let link = Link::open(client, address, prefix).await?;
    let text: Result<String, RedisError> = link.ask(redis::cmd("INFO")).await;
    match text {
        Ok(text) => Ok((link, ServerInfo::parse(&text))),
        Err(error) if error.code() == Some("NOPERM") => {
            warn!("Redis does not say what it is: its user may not ask INFO, so nothing about it is checked");
            Ok((link, ServerInfo::default()))
        }
        Err(error) => Err(error),
    }
}

/// The refusal for an error that will not pass.
fn refusal(address: String, source: RedisError) -> ConnectError {
    let credentials = source.kind() == ErrorKind::AuthenticationFailed
        || matches!(source.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
    if credentials {
        ConnectError::Credentials { address, source }
    } else {
        ConnectError::Other { address, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_over_plain_text_to_another_machine_is_noticed() {
        let exposes = |url: &str| exposes_password(&url.into_connection_info().expect("an address"));
        assert!(exposes("redis://:secret@db.example:6379"));
        for url in [
            "redis://db.example",
            "rediss://:secret@db.example",
            "redis://:secret@127.0.0.1",
            "redis://:s@localhost",
        ] {
            assert!(!exposes(url), "{url}");
        }
    }
}
