//! The server's answer to `INFO`, and the check of its settings.

use std::collections::BTreeMap;

use semver::Version;

use super::error::{ConnectError, NEEDED, NEEDED_VERSION};

/// The policy under which a server never removes a key by itself.
const NO_EVICTION: &str = "noeviction";

/// The fields of an answer to `INFO`.
#[derive(Debug, Default)]
pub(super) struct ServerInfo(BTreeMap<String, String>);

impl ServerInfo {
    pub(super) fn parse(text: &str) -> Self {
        let fields = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        Self(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Returns a field by its name.
    pub(super) fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    /// Returns a field that is a number.
    pub(super) fn number(&self, field: &str) -> Option<u64> {
        self.get(field)?.parse().ok()
    }

    /// Returns the `maxmemory-policy`, if the server removes keys under it when its memory is full.
    pub(super) fn evicting_policy(&self) -> Option<&str> {
        self.get("maxmemory_policy").filter(|policy| *policy != NO_EVICTION)
    }

    /// Refuses a server that cannot be used. Missing fields are not checked.
    pub(super) fn check(&self, address: String) -> Result<(), ConnectError> {
        if let Some(found) = self.get("redis_version")
            && Version::parse(found).is_ok_and(|version| version < NEEDED)
        {
            return Err(ConnectError::TooOld { address, found: found.to_owned(), needed: NEEDED_VERSION });
        }
        if self.get("role") == Some("slave") {
            let field = |name| self.get(name).unwrap_or("unknown");
            let primary = format!("{}:{}", field("master_host"), field("master_port"));
            return Err(ConnectError::Replica { address, primary });
        }
        match self.evicting_policy() {
            Some(policy) => Err(ConnectError::Evicting { address, policy: policy.to_owned() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(info: &str) -> String {
        let checked = ServerInfo::parse(info).check("host:6379".to_owned());
        checked.map_or_else(|refused| refused.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn server_is_checked_by_its_info() {
        let good = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n";
        assert_eq!(check(good), "fine");
        assert_eq!(check(""), "fine");
        let old = check("redis_version:6.2.14\r\n");
        assert_eq!(old, "Redis at host:6379 is version 6.2.14, and 7.0 or newer is needed: upgrade it");
        assert!(check("redis_version:10.0.1\r\nmaxmemory_policy:allkeys-lru\r\n").contains("allkeys-lru"));
        let replica = check("role:slave\r\nmaster_host:10.0.0.5\r\nmaster_port:6380\r\n");
        assert!(replica.ends_with("the address of its primary, 10.0.0.5:6380"), "{replica}");
    }
}
