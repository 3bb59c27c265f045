//! The servers file (`.mcp.json`): which MCP servers there are, and how they are reached.
//!
//! Read once, at start. A mistake in the file refuses the whole file, all mistakes at once; an entry that is right
//! but cannot be used here (an unset variable, a transport that is not spoken) only makes that server unusable,
//! because the file may be shared with other hosts. What a field means is in `entry` and `settings`; the secrets that
//! runs may name are in `vault`.

mod binding;
mod entry;
mod expand;
mod fields;
mod forms;
mod limits;
mod secret;
mod settings;
mod vault;

use std::collections::BTreeMap;

use longshore_proto::{SecretName, ServerName};
use serde_json::{Map, Value};

pub(crate) use entry::{HttpServer, Reach, ServerConfig, StdioServer};
pub(crate) use expand::Expanded;
pub use secret::Secrets;
pub(crate) use settings::{Era, Settings};
pub use vault::SecretRecipient;
pub(crate) use vault::Vault;

use fields::Fields;

/// A servers file is written by hand; past this it is something else.
const MOST_FILE_BYTES: usize = 1024 * 1024;

/// The servers a worker may call.
///
/// Its `Debug` shows commands and URLs as they are written in the file, and no credential.
#[derive(Clone, Debug, Default)]
pub struct ServersConfig {
    servers: BTreeMap<ServerName, ServerConfig>,
    unusable: BTreeMap<ServerName, Vec<String>>,
    vault: Vault,
    /// The secrets of all servers, and those of the vault.
    secrets: Secrets,
    warnings: Vec<String>,
}

/// Everything that is wrong with a servers file: one sentence each, with its place.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigErrors(pub Vec<String>);

impl ServersConfig {
    /// Reads a servers file.
    ///
    /// `env` looks up a variable of the process's environment; it fills in `${VAR}` and gives child processes the
    /// few variables they inherit.
    ///
    /// # Errors
    /// All mistakes at once: broken JSON, wrong types, neither a command nor a URL, unknown settings.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut problems = Vec::new();
        let mut config = Self::default();
        if let Some((entries, own)) = parts(text, &mut config.warnings, &mut problems) {
            for (name, entry) in entries {
                config.add(&name, entry, env, &mut problems);
            }
            config.vault = own.map(|own| vault::read(own, env, &mut problems)).unwrap_or_default();
            config.warnings.extend(config.vault.warnings());
        }
        config.share_secrets();
        if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) }
    }

    fn add(
        &mut self,
        name: &str,
        entry: Value,
        env: &dyn Fn(&str) -> Option<String>,
        problems: &mut Vec<String>,
    ) {
        let server: ServerName = match name.parse() {
            Ok(server) => server,
            // Other hosts take any name, so this is no mistake; but no workflow could name the server.
            Err(error) => return self.warnings.push(format!("left out: {error}")),
        };
        let mut found = entry::Findings::default();
        let read = entry::read(name, entry, env, &mut found);
        problems.append(&mut found.problems);
        self.warnings.append(&mut found.warnings);
        if !found.unusable.is_empty() {
            self.unusable.insert(server, found.unusable);
        } else if let Some(read) = read {
            self.servers.insert(server, read);
        }
    }

    /// Has every secret of the file hidden in whatever any server says: a server may repeat what it was given in an earlier
    /// call, or read what another one was given.
    fn share_secrets(&mut self) {
        self.vault.add_to(&mut self.secrets);
        self.servers.values().for_each(|server| self.secrets.merge(&server.secrets));
        self.servers.values_mut().for_each(|server| server.secrets = self.secrets.clone());
    }

    /// Everything of the file that must not be seen: declared secrets, values of `env` and `inherit_env`, of variables, and
    /// of headers.
    pub const fn secrets_to_hide(&self) -> &Secrets {
        &self.secrets
    }

    /// The names of the servers that can be called.
    pub fn names(&self) -> impl Iterator<Item = &ServerName> {
        self.servers.keys()
    }

    /// Servers that stand in the file but cannot be used here, each with the reasons. A call to one of them is
    /// answered with the fault `unknown_server` and these reasons.
    pub const fn unusable(&self) -> &BTreeMap<ServerName, Vec<String>> {
        &self.unusable
    }

    /// What is odd but harmless: fields that are not known, names that no workflow can use.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether a secret exists and is bound to a call.
    pub fn gives_secret(&self, name: &SecretName, to: &SecretRecipient<'_>) -> bool {
        self.vault.gives(name, to)
    }

    /// The names of the secrets that a run may name in its inputs.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.vault.names()
    }

    /// The parts, for the pool.
    pub(crate) fn into_parts(
        self,
    ) -> (BTreeMap<ServerName, ServerConfig>, BTreeMap<ServerName, Vec<String>>, Vault) {
        (self.servers, self.unusable, self.vault)
    }
}

/// The object of server entries, under `mcpServers` or `servers`, and our own object beside it.
fn parts(
    text: &str,
    warnings: &mut Vec<String>,
    problems: &mut Vec<String>,
) -> Option<(Map<String, Value>, Option<Value>)> {
    if text.len() > MOST_FILE_BYTES {
        problems.push(format!("the file has {} bytes; at most {MOST_FILE_BYTES} are read", text.len()));
        return None;
    }
    let file: Value = match serde_json::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            problems.push(format!("not valid JSON: {error}"));
            return None;
        }
    };
    let mut fields = Fields::of("the file".to_owned(), file, problems)?;
    let key = match (fields.has("mcpServers"), fields.has("servers")) {
        (true, true) => {
            fields.refuse("servers", "stands beside `mcpServers`; keep one of them");
            return None;
        }
        (true, false) => "mcpServers",
        (false, true) => "servers",
        (false, false) => {
            fields.refuse("mcpServers", "is missing; it maps the name of each server to its entry");
            return None;
        }
    };
    let (servers, own) = (fields.take(key)?, fields.take("longshore"));
    warnings.extend(fields.rest().iter().map(|field| format!("`{field}` is not a known field of the file")));
    match servers {
        Value::Object(map) => Some((map, own)),
        _ => {
            fields.refuse(key, "must be an object of servers");
            None
        }
    }
}

#[cfg(test)]
mod tests;
