//! The settings of a server on which claims depend, and which can be changed while it runs.

use longshore_ports::{Error, ErrorCause};
use redis::cmd;

use super::connection::RedisConnection;
use super::server_info::ServerInfo;

/// Settings of a server. One that the server does not report, or that the user may not read, counts as valid.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RedisSettings {
    /// The `maxmemory-policy`, if the server removes claims under it when its memory is full.
    pub evicting_policy: Option<String>,
    /// True if the server has no append-only file, so that a restart loses claims.
    pub has_no_append_only_file: bool,
}

/// Reads the settings. That costs the server as much as a read of one key.
pub(super) async fn read(connection: &RedisConnection) -> Result<RedisSettings, Error> {
    let mut asked = cmd("INFO");
    asked.arg("memory").arg("persistence");
    let about: Result<String, Error> = connection.query(asked, "read the settings").await;
    match about {
        Ok(text) => Ok(RedisSettings::of(&ServerInfo::parse(&text))),
        // The process warned about it when it started.
        Err(error) if error.cause == ErrorCause::Denied => Ok(RedisSettings::default()),
        Err(error) => Err(error),
    }
}

impl RedisSettings {
    pub(super) fn of(about: &ServerInfo) -> Self {
        Self {
            evicting_policy: about.evicting_policy().map(str::to_owned),
            has_no_append_only_file: about.number("aof_enabled") == Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_lose_claims_are_reported() {
        let of = |text: &str| RedisSettings::of(&ServerInfo::parse(text));
        assert_eq!(of("maxmemory_policy:noeviction\r\naof_enabled:1\r\n"), RedisSettings::default());
        assert_eq!(of(""), RedisSettings::default());
        let lossy = of("maxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n");
        assert_eq!(
            lossy,
            RedisSettings { evicting_policy: Some("allkeys-lru".to_owned()), has_no_append_only_file: true }
        );
    }
}
