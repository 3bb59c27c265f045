//! The calls that may receive a secret: `servers`, `tools` and `namespaces` of an entry in `longshore.secrets`.

use std::collections::BTreeSet;
use std::fmt;

use longshore_proto::{Namespace, ServerName, ToolName};

use super::fields::Fields;

/// A call that a secret would go into.
#[derive(Clone, Copy, Debug)]
pub struct SecretRecipient<'a> {
    /// The namespace of the run.
    pub namespace: &'a Namespace,
    /// The server.
    pub server: &'a ServerName,
    /// The tool.
    pub tool: &'a ToolName,
}

impl fmt::Display for SecretRecipient<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}/{}` in namespace `{}`", self.server, self.tool, self.namespace)
    }
}

/// The calls that may receive a secret.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    servers: BTreeSet<ServerName>,
    /// As `server/tool`. `None` means every tool of the servers.
    tools: Option<BTreeSet<(ServerName, ToolName)>>,
    /// `None` means every namespace.
    namespaces: Option<BTreeSet<Namespace>>,
}

impl Binding {
    /// Whether a call may receive the secret.
    pub(super) fn allows(&self, to: &SecretRecipient<'_>) -> bool {
        self.allows_tool(to.server, to.tool)
            && self.namespaces.as_ref().is_none_or(|namespaces| namespaces.contains(to.namespace))
    }

    /// Whether calls of a tool may receive the secret in some namespace.
    pub(super) fn allows_tool(&self, server: &ServerName, tool: &ToolName) -> bool {
        let has_tool =
            |tools: &BTreeSet<(ServerName, ToolName)>| tools.iter().any(|(s, t)| s == server && t == tool);
        self.servers.contains(server) && self.tools.as_ref().is_none_or(has_tool)
    }
}

/// Reads the fields of a binding. Returns `None` after a problem.
pub(super) fn read(fields: &mut Fields<'_>) -> Option<Binding> {
    let has_servers = fields.has("servers");
    let servers = list(fields, "servers", |text| text.parse().map_err(|error| format!("{error}")));
    if !has_servers {
        fields.refuse("servers", "is missing; it lists the servers that may receive the secret");
    }
    let tools = optional(fields, "tools", tool);
    let namespaces = optional(fields, "namespaces", |text| text.parse().map_err(|error| format!("{error}")));
    let binding = Binding { servers: servers?, tools: tools?, namespaces: namespaces? };
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

/// Returns `Some(None)` if the field is absent.
fn optional<T: Ord>(
    fields: &mut Fields<'_>,
    field: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<Option<BTreeSet<T>>> {
    if fields.has(field) { list(fields, field, read).map(Some) } else { Some(None) }
}

fn list<T: Ord>(
    fields: &mut Fields<'_>,
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
