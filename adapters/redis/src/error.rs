//! Errors of connecting to Redis. Each says what was found and how to fix it.

use std::time::Duration;

use longshore_tls::FileError;
use redis::RedisError;
use semver::Version;

/// Oldest supported version, for people. Since then scripts may read the clock before they write, and are replicated by
/// their effects.
pub const NEEDED_VERSION: &str = "7.0";

/// [`NEEDED_VERSION`], for comparisons.
pub(super) const NEEDED: Version = Version::new(7, 0, 0);

/// The reason why Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be parsed.
    #[error("that is no address of Redis ({source}): write it as redis://user:password@host:6379/0")]
    Address {
        /// The reason.
        source: RedisError,
    },
    /// A file with a certificate or a key cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The server and this client do not agree on TLS.
    #[error(
        "Redis at {address} and this client do not agree on TLS ({source}): check `redis.ca`, a client certificate, and that \
         the server's certificate names its host"
    )]
    Tls {
        /// Address of the server.
        address: String,
        /// Error of the handshake.
        source: RedisError,
    },
    /// No server answered before the deadline.
    #[error(
        "no Redis at {address} within {waited:?} ({source}): start it, or correct the address{}",
        tls_hint(source)
    )]
    Unreachable {
        /// Address of the server.
        address: String,
        /// Length of the wait.
        waited: Duration,
        /// Error of the last attempt.
        source: RedisError,
    },
    /// The server does not know the user, or not with this password, or the user has no permission at all.
    #[error(
        "Redis at {address} refuses the credentials ({source}): correct user and password in the address"
    )]
    Credentials {
        /// Address of the server.
        address: String,
        /// The server's answer.
        source: RedisError,
    },
    /// The user lacks a permission.
    #[error(
        "Redis at {address} does not allow {command} on {key} ({source}): give the user of this process the permissions \
         of its role, as deploy/redis/users.conf has them"
    )]
    Permission {
        /// Address of the server.
        address: String,
        /// The command.
        command: &'static str,
        /// The key, or a description of the keys.
        key: String,
        /// The server's answer.
        source: RedisError,
    },
    /// The server is too old.
    #[error("Redis at {address} is version {found}, and {needed} or newer is needed: upgrade it")]
    TooOld {
        /// Address of the server.
        address: String,
        /// Version of the server.
        found: String,
        /// [`NEEDED_VERSION`].
        needed: &'static str,
    },
    /// The server evicts keys when its memory is full.
    #[error(
        "Redis at {address} has `maxmemory-policy {policy}` and would drop checkpoints and claims when its memory is \
         full: set `maxmemory-policy noeviction`"
    )]
    Evicting {
        /// Address of the server.
        address: String,
        /// Its `maxmemory-policy`.
        policy: String,
    },
    /// A restart of the server drops transactions from its append-only file.
    #[error(
        "Redis at {address} would lose claims when it restarts, because it loads its append-only file as the user \
         `default`, which may not write them ({reason}): define `user default off resetpass ~* &* +@all`, as \
         deploy/redis/users.conf does"
    )]
    DroppingTransactions {
        /// Address of the server.
        address: String,
        /// The server's reason to refuse the write.
        reason: String,
    },
    /// The server is a replica and accepts no writes.
    #[error(
        "Redis at {address} is a replica and takes no writes: give the address of its primary, {primary}"
    )]
    Replica {
        /// Address of the server.
        address: String,
        /// Address of its primary, as the replica reports it.
        primary: String,
    },
    /// The server answers in another protocol.
    #[error(
        "the server at {address} does not answer as Redis does: correct the address, or write rediss:// if it expects TLS"
    )]
    OtherProtocol {
        /// Address of the server.
        address: String,
        /// The error of the parser, which shows bytes of the answer over several lines.
        source: RedisError,
    },
    /// Another error.
    #[error("Redis at {address} cannot be used ({source})")]
    Other {
        /// Address of the server.
        address: String,
        /// The server's answer.
        source: RedisError,
    },
}

/// Returns advice for a server that ends connections without an answer, as one that expects TLS does.
fn tls_hint(error: &RedisError) -> &'static str {
    if error.is_connection_dropped() { "; if it expects TLS, write rediss://" } else { "" }
}
