//! Configuration of a connection.

use std::fmt;
use std::time::Duration;

use longshore_tls::TlsFiles;

/// Configuration of a connection to Redis.
#[derive(Clone)]
pub struct RedisConfig {
    /// Address of the server: `redis://user:password@host:6379/0`, or `rediss://` for TLS.
    pub url: String,
    /// Time limit for the connection.
    pub connect_deadline: Duration,
    /// Beginning of all keys, before a colon, so that several clusters can share a server: `ls`.
    pub prefix: String,
    /// Certificates, for `rediss://`.
    pub tls: TlsFiles,
}

impl fmt::Debug for RedisConfig {
    /// Leaves out the URL, which may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, connect_deadline, prefix, tls } = self;
        f.debug_struct("RedisConfig")
            .field("connect_deadline", connect_deadline)
            .field("prefix", prefix)
            .field("tls", tls)
            .finish_non_exhaustive()
    }
}
