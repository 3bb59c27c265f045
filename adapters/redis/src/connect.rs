//! The way to a server that can be relied on.
//!
//! A server that is not there yet is waited for; one that is there and will not do is refused at once, with what would
//! mend it. What is asked of it is little: a version whose scripts behave, the right to write, and that it never
//! forgets a key by itself, because a claim that is forgotten is a call that is made twice.

use std::time::Duration;

use longshore_ports::is_loopback;
use longshore_tls::{FileError, TlsFiles, is_about_certificates};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    TlsCertificates,
};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::about::About;
use super::link::{Link, is_passing};
use super::{RedisConfig, aof};

/// The oldest version that will do: from here on scripts may mix reads of the clock with writes, and are replicated
/// by their effects.
pub const NEEDED_VERSION: &str = "7.0";

/// [`NEEDED_VERSION`], to compare with.
pub(super) const NEEDED: (u32, u32) = (7, 0);

/// Between attempts to reach a server: short against the time that a server takes to start.
const PAUSE: Duration = Duration::from_millis(250);

/// How long the other end of a connection may leave unacknowledged what was sent. The system itself would wait for a
/// quarter of an hour, and meanwhile never ask for the address of a server that took over.
#[cfg(target_os = "linux")]
const SILENCE_LIMIT: Duration = Duration::from_secs(5);

/// Why Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is none.
    #[error("that is no address of Redis ({source}): write it as redis://user:password@host:6379/0")]
    Address {
        /// What is wrong with it.
        source: RedisError,
    },
    /// A certificate or a key cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The server and this client do not agree on TLS.
    #[error(
        "Redis at {address} and this client do not agree on TLS ({source}): check `redis.ca`, a client certificate, and that \
         the server's certificate names its host"
    )]
    Tls {
        /// Where.
        address: String,
        /// What went wrong.
        source: RedisError,
    },
    /// Nobody answered in time.
    #[error("no Redis at {address} within {waited:?} ({source}): start it, or correct the address")]
    Unreachable {
        /// Where.
        address: String,
        /// How long was waited.
        waited: Duration,
        /// What the last attempt said.
        source: RedisError,
    },
    /// It does not know the user, or not with this password, or this user may not do anything.
    #[error(
        "Redis at {address} refuses the credentials ({source}): correct user and password in the address"
    )]
    Credentials {
        /// Where.
        address: String,
        /// What it said.
        source: RedisError,
    },
    /// The user lacks a permission.
    #[error(
        "Redis at {address} does not allow {command} on {key} ({source}): give the user of this process the permissions \
         of its role, as deploy/redis/users.conf has them"
    )]
    Permission {
        /// Where.
        address: String,
        /// The command.
        command: &'static str,
        /// The key, or which ones.
        key: String,
        /// What it said.
        source: RedisError,
    },
    /// It is too old.
    #[error("Redis at {address} is version {found}, and {needed} or newer is needed: upgrade it")]
    TooOld {
        /// Where.
        address: String,
        /// Its version.
        found: String,
        /// [`NEEDED_VERSION`].
        needed: &'static str,
    },
    /// It forgets keys when its memory is full.
    #[error(
        "Redis at {address} has `maxmemory-policy {policy}` and would forget which calls were made when its memory is \
         full: set `maxmemory-policy noeviction`"
    )]
    Evicting {
        /// Where.
        address: String,
        /// What it does when its memory is full.
        policy: String,
    },
    /// A restart of it drops transactions from its append-only file.
    #[error(
        "Redis at {address} would lose claims when it restarts, because it loads its append-only file as the user \
         `default`, which may not write them ({reason}): define `user default off resetpass ~* &* +@all`, as \
         deploy/redis/users.conf does"
    )]
    DroppingTransactions {
        /// Where.
        address: String,
        /// The server's reason to refuse the write.
        reason: String,
    },
    /// It is a copy of another server, and takes no writes.
    #[error(
        "Redis at {address} is a replica and takes no writes: give the address of its primary, {primary}"
    )]
    Replica {
        /// Where.
        address: String,
        /// Where its primary is, as it says.
        primary: String,
    },
    /// Anything else.
    #[error("Redis at {address} cannot be used ({source})")]
    Other {
        /// Where.
        address: String,
        /// What it said.
        source: RedisError,
    },
}

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
            Ok((link, about)) => {
                about.check(address)?;
                if about.number("aof_enabled") == Some(1) {
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

async fn open(client: Client, address: &str, prefix: &str) -> Result<(Link, About), RedisError> {
    let link = Link::open(client, address, prefix).await?;
    let text: Result<String, RedisError> = link.ask(redis::cmd("INFO")).await;
    match text {
        Ok(text) => Ok((link, About::parse(&text))),
        Err(error) if error.code() == Some("NOPERM") => {
            warn!("Redis does not say what it is: its user may not ask INFO, so nothing about it is checked");
            Ok((link, About::default()))
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
