//! The servers file (`.mcp.json`): the MCP servers of a worker, and their secrets.
//!
//! Read once, at start. A mistake in an entry, or something that is missing on this machine (an unset variable, an unsupported
//! transport), makes that server unusable and no other, because the file may be shared with other hosts. Only mistakes in the
//! syntax, in the outermost object or in the secrets are errors of the whole file, reported all at once. The syntax is in
//! `document`, the outermost object in `outline`, the fields of an entry in `entry`, `spelling` and `settings`, and the
//! secrets that runs may name are in `bound_secrets`.

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
pub(crate) use entry::{HttpServer, ServerConfig, ServerTransport, StdioServer};
pub(crate) use expand::ExpandedText;
pub(crate) use secret::LineMask;
pub use secret::Secrets;
pub(crate) use settings::{ProtocolEra, ServerSettings};

use outline::FileOutline;

/// The servers that a worker may call.
///
/// Its `Debug` shows commands and URLs as they are written in the file, and no value of a variable.
#[derive(Clone, Debug, Default)]
pub struct ServersConfig {
    servers: BTreeMap<ServerName, ServerConfig>,
    unusable: BTreeMap<ServerName, Vec<String>>,
    /// Unusable servers that are switched off in the file.
    disabled: BTreeSet<ServerName>,
    /// Variables and headers whose values are hidden, by server.
    masked: BTreeMap<ServerName, Vec<String>>,
    bound_secrets: BoundSecrets,
    /// Values to hide: those of all servers, and the bound secrets.
    secrets: Secrets,
    warnings: Vec<String>,
}

/// The errors of a servers file, one sentence each, with their path in the file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ServersFileErrors(pub Vec<String>);

impl ServersConfig {
    /// Reads a servers file.
    ///
    /// `env` looks up a variable of the process's environment, for `${VAR}` and for the few variables that child processes
    /// inherit.
    ///
    /// # Errors
    /// All mistakes at once: invalid syntax, no object of servers, wrong secrets.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ServersFileErrors> {
        let mut problems = Vec::new();
        let mut config = Self::default();
        if let Some(FileOutline { key, entries, repeated, own, warnings }) =
            outline::read(text, &mut problems)
        {
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
        if problems.is_empty() { Ok(config) } else { Err(ServersFileErrors(problems)) }
    }

    /// Returns the servers and secrets of a file before variables are expanded: an object with `mcpServers` and `longshore` in the
    /// documented spelling. Returns `None` if the text is not a servers file.
    pub fn as_written(text: &str) -> Option<Value> {
        let FileOutline { mut entries, own, .. } = outline::read(text, &mut Vec::new())?;
        entries.values_mut().for_each(|entry| drop(spelling::canonical(entry)));
        let parts = [("mcpServers", Some(Value::Object(entries))), ("longshore", own)];
        let parts = parts.into_iter().filter_map(|(key, part)| Some((key.to_owned(), part?)));
        Some(Value::Object(parts.collect()))
    }

    /// Adds an entry. `repeated` has a sentence for each of its keys that is written twice.
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
            // Other hosts accept any name, so this is only a warning; but no workflow could name the server.
            Err(error) => return self.warnings.push(format!("left out: {error}")),
        };
        let mut found = entry::EntryFindings { problems: repeated, ..entry::EntryFindings::default() };
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
            Some(read) => {
                // The server is named beside them.
                let suffix = format!(" of server `{server}`");
                let origins = found.secrets.origins();
                let masked =
                    origins.iter().map(|origin| origin.trim_end_matches(&suffix).to_owned()).collect();
                self.masked.insert(server.clone(), masked);
                self.servers.insert(server, read);
            }
            None => drop(self.unusable.insert(server, reasons)),
        }
    }

    /// Makes every server hide every secret of the file: a server may repeat the argument of an earlier call, or read a secret that
    /// another server got. Also hides the secrets in messages about the entries.
    fn share_secrets(&mut self) {
        self.bound_secrets.add_to(&mut self.secrets);
        self.servers.values_mut().for_each(|server| server.secrets = self.secrets.clone());
        for message in self.unusable.values_mut().flatten().chain(&mut self.warnings) {
            *message = self.secrets.hide(message).into_owned();
        }
    }

    /// Returns all values of the file that must be hidden: declared secrets, values of `env` and `inherit_env`, of variables and of
    /// headers, and credentials that are written into addresses and arguments.
    pub const fn secrets_to_hide(&self) -> &Secrets {
        &self.secrets
    }

    /// Returns the variables and headers of a server whose values are masked in outputs, such as "variable `TEAM`".
    pub fn masked(&self, server: &ServerName) -> &[String] {
        self.masked.get(server).map_or(&[], Vec::as_slice)
    }

    /// Returns the names of the servers that can be called.
    pub fn names(&self) -> impl Iterator<Item = &ServerName> {
        self.servers.keys()
    }

    /// Returns the servers that cannot be used on this machine, each with the reasons. A call to one of them ends with the fault
    /// `unknown_server` and these reasons.
    pub const fn unusable(&self) -> &BTreeMap<ServerName, Vec<String>> {
        &self.unusable
    }

    /// Returns true for a server that is switched off in the file. It is also among the unusable.
    pub fn is_disabled(&self, server: &ServerName) -> bool {
        self.disabled.contains(server)
    }

    /// Returns warnings, such as those about unknown fields and about names that no workflow can use.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns true if a secret exists and is bound to a call.
    pub fn gives_secret(&self, name: &SecretName, to: &SecretRecipient<'_>) -> bool {
        self.bound_secrets.gives(name, to)
    }

    /// Returns the secrets that calls of a tool may receive in at least one namespace.
    pub fn secrets_bound_to<'c>(
        &'c self,
        server: &'c ServerName,
        tool: &'c ToolName,
    ) -> impl Iterator<Item = &'c SecretName> {
        self.bound_secrets.bound_to(server, tool)
    }

    /// Returns the names of the secrets that a run may name in its inputs.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.bound_secrets.names()
    }

    /// Returns the usable servers, the unusable ones and the secrets, for the pool.
    pub(crate) fn into_parts(
        self,
    ) -> (BTreeMap<ServerName, ServerConfig>, BTreeMap<ServerName, Vec<String>>, BoundSecrets) {
        (self.servers, self.unusable, self.bound_secrets)
    }
}

#[cfg(test)]
mod tests;
