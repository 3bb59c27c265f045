//! The servers file.

use std::collections::BTreeMap;

use longshore_proto::ServerName;

/// The servers a worker may call.
#[derive(Clone, Debug, Default)]
pub struct ServersConfig {
    servers: BTreeMap<ServerName, usize>,
    unusable: BTreeMap<ServerName, Vec<String>>,
    warnings: Vec<String>,
}

/// Everything that is wrong with a servers file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigErrors(pub Vec<String>);

impl ServersConfig {
    /// Reads a servers file (`.mcp.json`).
    ///
    /// `env` looks up a variable of the process's environment.
    ///
    /// # Errors
    /// All problems at once.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let _ = (text, env);
        Ok(Self::default())
    }

    /// The names of the servers that can be called.
    pub fn names(&self) -> impl Iterator<Item = &ServerName> {
        self.servers.keys()
    }

    /// Servers that stand in the file but cannot be used here, each with the reasons.
    pub const fn unusable(&self) -> &BTreeMap<ServerName, Vec<String>> {
        &self.unusable
    }

    /// What is odd but harmless.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
