//! Bindings of secrets to calls: `servers`, `tools` and `namespaces` of an entry in `longshore.secrets`.

use std::collections::BTreeSet;
use std::fmt;

use longshore_proto::{Namespace, ServerName, ToolName};

use super::fields::ObjectFields;

/// A call that a secret is filled into.
#[derive(Clone, Copy, Debug)]
pub struct SecretRecipient<'a> {
    /// Namespace of the run.
    pub namespace: &'a Namespace,
    /// Server of the call.
    pub server: &'a ServerName,
    /// Tool of the call.
    pub tool: &'a ToolName,
}

impl fmt::Display for SecretRecipient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}/{}` in namespace `{}`", self.server, self.tool, self.namespace)
    }
}

/// The calls that may receive a secret.
#[derive(Clone, Debug)]
pub(super) struct SecretBinding {
    servers: BTreeSet<ServerName>,
    /// Tools, written as `server/tool`. `None` means every tool of the servers.
    tools: Option<BTreeSet<(ServerName, ToolName)>>,
    /// Namespaces of runs. `None` means every namespace.
    namespaces: Option<BTreeSet<Namespace>>,
}

impl SecretBinding {
    /// Returns true if a call may receive the secret.
    pub(super) fn allows(&self, to: &SecretRecipient<'_>) -> bool {
        self.allows_tool(to.server, to.tool)
            && self.namespaces.as_ref().is_none_or(|namespaces| namespaces.contains(to.namespace))
    }

    /// Returns true if calls of a tool may receive the secret in at least one namespace.
    pub(super) fn allows_tool(&self, server: &ServerName, tool: &ToolName) -> bool {
        let has_tool =
            |tools: &BTreeSet<(ServerName, ToolName)>| tools.iter().any(|(s, t)| s == server && t == tool);
        self.servers.contains(server) && self.tools.as_ref().is_none_or(has_tool)
    }
}

/// Reads the fields of a binding. Returns `None` after a problem.
pub(super) fn read(fields: &mut ObjectFields<'_>) -> Option<SecretBinding> {
    let has_servers = fields.has("servers");
    let servers = list(fields, "servers", |text| text.parse().map_err(|error| format!("{error}")));
    if !has_servers {
        fields.refuse("servers", "is missing; it lists the servers that may receive the secret");
    }
    let tools = optional(fields, "tools", tool);
    let namespaces = optional(fields, "namespaces", |text| text.parse().map_err(|error| format!("{error}")));
    let binding = SecretBinding { servers: servers?, tools: tools?, namespaces: namespaces? };
    let foreign = binding.tools.iter().flatten().find(|(server, _)| !binding.servers.contains(server));
    if let Some((server, tool)) = foreign {
        let why = format!("`{server}/{tool}` is a tool of a server that is not in `servers`");
        fields.refuse("tools", why);
        return None;
    }
    Some(binding)
}

fn tool(text: &str) -> Result<(ServerName, ToolName), String> {
    let (server, tool) =
        text.split_once('/').ok_or_else(|| format!("`{text}` is not written as server/tool"))?;
    let server = server.parse().map_err(|error| format!("{error}"))?;
    Ok((server, tool.parse().map_err(|error| format!("{error}"))?))
}

/// Reads a list that may be absent. Returns `Some(None)` if it is, and `None` after a problem.
fn optional<T: Ord>(
    fields: &mut ObjectFields<'_>,
    field: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<Option<BTreeSet<T>>> {
    if fields.has(field) { list(fields, field, read).map(Some) } else { Some(None) }
}

fn list<T: Ord>(
    fields: &mut ObjectFields<'_>,
    field: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<BTreeSet<T>> {
    let texts = fields.take_texts(field)?;
    if texts.is_empty() {
        fields.refuse(field, "is empty, so no call would receive the secret");
        return None;
    }
    let mut items = BTreeSet::new();
    for text in texts {
        match read(&text) {
            Ok(item) => drop(items.insert(item)),
            Err(why) => {
                fields.refuse(field, why);
                return None;
            }
        }
    }
    Some(items)
}
