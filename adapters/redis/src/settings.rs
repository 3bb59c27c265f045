//! The settings of a server on which claims depend, and which can be changed while it runs.

use longshore_ports::{Cause, Error};
use redis::cmd;

use super::link::Link;
use super::server_info::ServerInfo;

/// The policy under which a server never forgets a key by itself.
const KEEPING: &str = "noeviction";

/// Settings of a server. What it does not say, or its user may not ask, is taken to be in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// The `maxmemory-policy` under which it forgets claims when its memory is full.
    pub evicting: Option<String>,
    /// It has no append-only file, so a restart loses claims.
    pub is_without_log: bool,
}

/// Asks for the settings, which costs the server as much as a read of one key.
pub(super) async fn settings(link: &Link) -> Result<Settings, Error> {
    let mut asked = cmd("INFO");
    asked.arg("memory").arg("persistence");
    let about: Result<String, Error> = link.query(asked, "look at the settings").await;
    match about {
        Ok(text) => Ok(Settings::of(&ServerInfo::parse(&text))),
        // The process warned about it when it started.
        Err(error) if error.cause == Cause::Denied => Ok(Settings::default()),
        Err(error) => Err(error),
    }
}

impl Settings {
    pub(super) fn of(about: &ServerInfo) -> Self {
        let policy = about.get("maxmemory_policy").filter(|policy| *policy != KEEPING);
        Self { evicting: policy.map(str::to_owned), is_without_log: about.number("aof_enabled") == Some(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_lose_claims_are_noticed() {
        let of = |text: &str| Settings::of(&ServerInfo::parse(text));
        assert_eq!(of("maxmemory_policy:noeviction\r\naof_enabled:1\r\n"), Settings::default());
        assert_eq!(of(""), Settings::default());
        let lossy = of("maxmemory_policy:allkeys-lru\r\naof_enabled:0\r\n");
        assert_eq!(lossy, Settings { evicting: Some("allkeys-lru".to_owned()), is_without_log: true });
    }
}
