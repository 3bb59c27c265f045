//! The reasons why there is no connection to Redis that can be relied on.
//!
//! Each names what was found and how to fix it.

use std::time::Duration;

use longshore_tls::FileError;
use redis::RedisError;

/// The oldest version that will do: from here on scripts may mix reads of the clock with writes, and are replicated
/// by their effects.
pub const NEEDED_VERSION: &str = "7.0";

/// [`NEEDED_VERSION`], to compare with.
pub(super) const NEEDED: (u32, u32) = (7, 0);

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
