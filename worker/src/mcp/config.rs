//! The servers file (`.mcp.json`): which MCP servers there are, and how they are reached.
//!
//! Read once, at start. A mistake in an entry, or what it lacks here (an unset variable, a transport that is not spoken),
//! makes that server unusable and no other, because the file may be shared with other hosts. Only a mistake in the syntax,
//! in the outermost object or in the secrets refuses the whole file, all mistakes at once. The syntax is in `document`, the
//! outermost object in `outline`, the fields of an entry in `entry`, `spelling` and `settings`; the secrets that runs may
//! name are in `bound_secrets`.

mod binding;
mod bound_secrets;
mod child_env;
mod document;
mod entry;
mod expand;
mod expansion;
mod fields;
mod forms;
mod header;
mod limits;
mod literal;
mod ordinary;
mod origin;
mod outline;
mod secret;
mod settings;
mod spelling;

use std::collections::{BTreeMap, BTreeSet};

use longshore_proto::{SecretName, ServerName, ToolName};
use serde_json::Value;

pub(crate) use bound_secrets::BoundSecrets;
pub use bound_secrets::SecretRecipient;
pub(crate) use entry::{HttpServer, Reach, ServerConfig, StdioServer};
pub(crate) use expand::Expanded;
pub(crate) use secret::LineMask;
pub use secret::Secrets;
pub(crate) use settings::{Era, Settings};

use outline::Outline;

/// The servers a worker may call.
///
/// Its `Debug` shows commands and URLs as they are written in the file, and no value of a variable.
#[derive(Clone, Debug, Default)]
pub struct ServersConfig {
    servers: BTreeMap<ServerName, ServerConfig>,
    unusable: BTreeMap<ServerName, Vec<String>>,
    /// Those of the unusable that are switched off in the file.
    disabled: BTreeSet<ServerName>,
    bound_secrets: BoundSecrets,
    /// The secrets of all servers, and those of the bound_secrets.
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
    /// All mistakes at once: broken syntax, no object of servers, wrong secrets.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut problems = Vec::new();
        let mut config = Self::default();
        if let Some(Outline { key, entries, repeated, own, warnings }) = outline::read(text, &mut problems) {
            config.warnings = warnings;
            for (name, entry) in entries {
                let repeated = repeated.get(&name).cloned().unwrap_or_default();
                config.add(key, &name, entry, repeated, env);
            }
            config.bound_secrets =
                own.map(|own| bound_secrets::read(own, env, &mut problems)).unwrap_or_default();
            config.warnings.extend(config.bound_secrets.warnings());
        }
        config.share_secrets();
        if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) }
    }

    /// What a file would start and call, before variables are filled in: an object with `mcpServers` and `longshore`, in the
    /// spelling that is documented. Nothing if the text is no servers file.
    pub fn as_written(text: &str) -> Option<Value> {
        let Outline { mut entries, own, .. } = outline::read(text, &mut Vec::new())?;
        entries.values_mut().for_each(|entry| drop(spelling::canonical(entry)));
        let parts = [("mcpServers", Some(Value::Object(entries))), ("longshore", own)];
        let parts = parts.into_iter().filter_map(|(key, part)| Some((key.to_owned(), part?)));
        Some(Value::Object(parts.collect()))
    }

    /// Adds an entry. `repeated` says which of its keys are written twice.
    fn add(
        &mut self,
        key: &str,
        name: &str,
        entry: Value,
        repeated: Vec<String>,
        env: &dyn Fn(&str) -> Option<String>,
    ) {
        let server: ServerName = match name.parse() {
            Ok(server) => server,
            // Other hosts take any name, so this is no mistake; but no workflow could name the server.
            Err(error) => return self.warnings.push(format!("left out: {error}")),
        };
        let mut found = entry::Findings { problems: repeated, ..entry::Findings::default() };
        let read = entry::read(&format!("{key}.{name}"), entry, env, &mut found);
        self.warnings.append(&mut found.warnings);
        self.secrets.merge(&found.secrets);
        if found.is_disabled {
            self.disabled.insert(server.clone());
            self.unusable.insert(server, vec!["it is disabled in the file".to_owned()]);
            return;
        }
        let reasons = [found.problems, found.unusable].concat();
        match read.filter(|_| reasons.is_empty()) {
            Some(read) => drop(self.servers.insert(server, read)),
            None => drop(self.unusable.insert(server, reasons)),
        }
    }

    /// Has every secret of the file hidden in whatever any server says: a server may repeat what it was given in an earlier
    /// call, or read what another one was given. The same goes for what is said about the entries.
    fn share_secrets(&mut self) {
        self.bound_secrets.add_to(&mut self.secrets);
        self.servers.values_mut().for_each(|server| server.secrets = self.secrets.clone());
        for said in self.unusable.values_mut().flatten().chain(&mut self.warnings) {
            *said = self.secrets.hide(said).into_owned();
        }
    }

    /// Everything of the file that must not be seen: declared secrets, values of `env` and `inherit_env`, of variables and of
    /// headers, and credentials that are written into addresses and arguments.
    pub const fn secrets_to_hide(&self) -> &Secrets {
        &self.secrets
    }

    /// The names of the servers that can be called.
    pub fn names(&self) -> impl Iterator<Item = &ServerName> {
        self.servers.keys()
    }

    /// Servers of the file that cannot be used here, each with the reasons. A call to one of them is
    /// answered with the fault `unknown_server` and these reasons.
    pub const fn unusable(&self) -> &BTreeMap<ServerName, Vec<String>> {
        &self.unusable
    }

    /// Returns true for a server that is switched off in the file. It is also among the unusable.
    pub fn is_disabled(&self, server: &ServerName) -> bool {
        self.disabled.contains(server)
    }

    /// What is odd but harmless: fields that are not known, names that no workflow can use.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether a secret exists and is bound to a call.
    pub fn gives_secret(&self, name: &SecretName, to: &SecretRecipient<'_>) -> bool {
        self.bound_secrets.gives(name, to)
    }

    /// The secrets that calls of a tool may receive, each in some namespace.
    pub fn secrets_bound_to<'c>(
        &'c self,
        server: &'c ServerName,
        tool: &'c ToolName,
    ) -> impl Iterator<Item = &'c SecretName> {
        self.bound_secrets.bound_to(server, tool)
    }

    /// The names of the secrets that a run may name in its inputs.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.bound_secrets.names()
    }

    /// The parts, for the pool.
    pub(crate) fn into_parts(
        self,
    ) -> (BTreeMap<ServerName, ServerConfig>, BTreeMap<ServerName, Vec<String>>, BoundSecrets) {
        (self.servers, self.unusable, self.bound_secrets)
    }
}

#[cfg(test)]
mod tests;
