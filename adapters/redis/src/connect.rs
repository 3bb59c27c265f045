//! Connects to Redis and checks the server.
//!
//! A server that does not answer yet is waited for. One that answers and cannot be used is refused at once, with an
//! error that says how to fix it. It needs a version with the script features that are used, must accept writes, and
//! must never evict a key, because a lost claim means a call that is made twice.

use std::io;
use std::time::Duration;

use longshore_ports::is_loopback;
use longshore_ports::retry::retry_until;
use longshore_tls::{TlsFiles, is_about_certificates};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    TlsCertificates,
};
use tokio::time::Instant;
use tracing::warn;

use super::aof;
use super::config::RedisConfig;
use super::connection::{RedisConnection, is_login_refused, is_transient};
use super::error::ConnectError;
use super::server_info::ServerInfo;

/// Time that sent data may stay unacknowledged before the connection is dropped (`TCP_USER_TIMEOUT`). The system's
/// default is a quarter of an hour, during which the address of a server that took over would not be looked up.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(5);

/// Connects. Waits for the server until the deadline.
pub(super) async fn connect(config: RedisConfig) -> Result<RedisConnection, ConnectError> {
    let info = config.url.as_str().into_connection_info();
    let info = info.map_err(|source| ConnectError::Address { source })?;
    let info = info.set_tcp_settings(tcp_settings());
    // It has no user and password.
    let address = info.addr().to_string();
    if exposes_password(&info) {
        warn!("the password for Redis at {address} goes there in plain text; use rediss:// and `redis.ca`");
    }
    let client = client(info, &config.tls)?;
    let deadline = Instant::now() + config.connect_deadline;
    let waited = config.connect_deadline;
    let unreachable = |source| ConnectError::Unreachable { address: address.clone(), waited, source };
    let attempt = || async {
        let opened = open(client.clone(), &address, &config.prefix).await;
        let (connection, server) = opened.map_err(|source| match source {
            source if is_about_certificates(&source.to_string()) => {
                ConnectError::Tls { address: address.clone(), source }
            }
            source if is_transient(&source) => unreachable(source),
            source => refusal(address.clone(), source),
        })?;
        server.check(address.clone())?;
        if server.number("aof_enabled") == Some(1) {
            aof::check(&connection).await?;
        }
        Ok(connection)
    };
    let may_pass = |error: &ConnectError| matches!(error, ConnectError::Unreachable { .. });
    let connected = retry_until("connect to Redis", deadline, attempt, may_pass).await;
    connected.map_err(|error| {
        error.unwrap_or_else(|| unreachable(RedisError::from(io::Error::from(io::ErrorKind::TimedOut))))
    })
}

/// Creates a client, with certificates if any are set. They have an effect for `rediss://` only, and are refused for
/// other addresses.
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

/// Returns true if the password goes over the network in plain text.
fn exposes_password(info: &ConnectionInfo) -> bool {
    let is_plain = matches!(info.addr(), ConnectionAddr::Tcp(host, _) if !is_loopback(host));
    is_plain && info.redis_settings().password().is_some()
}

/// Returns TCP settings with which requests are sent without delay.
#[cfg(not(target_os = "linux"))]
fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// Returns TCP settings with which requests are sent without delay, and a connection whose other end has vanished is
/// dropped.
#[cfg(target_os = "linux")]
fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true).set_user_timeout(UNACKNOWLEDGED_LIMIT)
}

async fn open(
    client: Client,
    address: &str,
    prefix: &str,
) -> Result<(RedisConnection, ServerInfo), RedisError> {
    let connection = RedisConnection::open(client, address, prefix).await?;
    let text: Result<String, RedisError> = connection.send(redis::cmd("INFO")).await;
    match text {
        Ok(text) => Ok((connection, ServerInfo::parse(&text))),
        Err(error) if error.code() == Some("NOPERM") => {
            warn!(
                "cannot check version and settings of Redis, because its user may not run INFO; using it unchecked"
            );
            Ok((connection, ServerInfo::default()))
        }
        Err(error) => Err(error),
    }
}

/// Returns the error for a permanent failure.
fn refusal(address: String, source: RedisError) -> ConnectError {
    let is_about_credentials = is_login_refused(&source) || source.code() == Some("NOPERM");
    if is_about_credentials {
        ConnectError::Credentials { address, source }
    } else if source.kind() == ErrorKind::Parse {
        ConnectError::OtherProtocol { address, source }
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
