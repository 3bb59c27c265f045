//! Summary of a servers file, for the user who decides whether to trust it: commands, addresses and variables.
//!
//! Everything is shown as it is written in the file, before variables are filled in, and nothing is cut, because any part
//! may matter.

use std::collections::BTreeSet;
use std::fmt;

use longshore_worker::mcp::ServersConfig;
use serde_json::{Map, Value};

/// Commands, addresses and variables of a servers file.
#[derive(Debug, Default)]
pub(super) struct ServersSummary {
    servers: Vec<String>,
    variables: BTreeSet<String>,
}

impl ServersSummary {
    /// Reads a servers file that was parsed before. Any other text gives an empty summary.
    pub(super) fn of(text: &str) -> Self {
        let file = ServersConfig::as_written(text).unwrap_or_default();
        let mut summary = Self::default();
        let entries = file.get("mcpServers").and_then(Value::as_object);
        for (name, entry) in entries.into_iter().flatten() {
            if let Some(entry) =
                entry.as_object().filter(|entry| entry.get("disabled") != Some(&Value::Bool(true)))
            {
                summary.servers.push(format!("{name}: {}", described(entry)));
                summary.variables.extend(inherited(entry));
            }
        }
        collect_variables(&file, &mut summary.variables);
        summary
    }
}

impl fmt::Display for ServersSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in &self.servers {
            writeln!(f, "  {server}")?;
        }
        if self.variables.is_empty() {
            return write!(f, "  It reads no variables of your environment.");
        }
        let names: Vec<&str> = self.variables.iter().map(String::as_str).collect();
        write!(f, "  It reads these variables of your environment: {}", names.join(", "))
    }
}

/// Returns the command line of a server, or its address.
fn described(entry: &Map<String, Value>) -> String {
    let Some(command) = entry.get("command").and_then(Value::as_str) else {
        let url = entry.get("url").and_then(Value::as_str).unwrap_or("neither a command nor an address");
        let headers: Vec<&str> = entry
            .get("headers")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(name, _)| &**name)
            .collect();
        let headers = if headers.is_empty() {
            String::new()
        } else {
            format!(" with the headers {}", headers.join(", "))
        };
        return format!("calls {url}{headers}");
    };
    let env = entry.get("env").and_then(Value::as_object).into_iter().flatten();
    let env = env.map(|(name, value)| format!("{name}={}", quoted(value)));
    let args = entry.get("args").and_then(Value::as_array).into_iter().flatten().map(quoted);
    let words: Vec<String> = env.chain(std::iter::once(quoted(&Value::from(command)))).chain(args).collect();
    let cwd = entry.get("cwd").map(|cwd| format!(" in the folder {}", quoted(cwd))).unwrap_or_default();
    format!("starts {}{cwd}", words.join(" "))
}

/// Returns a value as one word, with line breaks and quotes escaped.
fn quoted(value: &Value) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%${}".contains(c);
    match value.as_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        _ => value.to_string(),
    }
}

/// Returns the names of variables that a server inherits.
fn inherited(entry: &Map<String, Value>) -> impl Iterator<Item = String> {
    let names = entry.get("longshore").and_then(|own| own.get("inherit_env")).and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned)
}

/// Collects the names in every `${NAME}`, `${NAME:-default}` and `${env:NAME}`, but not in `$${`, which is the text `${`.
fn collect_variables(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            let parts = text.split("${");
            for (_, part) in parts.clone().zip(parts.skip(1)).filter(|(before, _)| !before.ends_with('$')) {
                let inside = part.split('}').next().unwrap_or_default();
                let inside = inside.strip_prefix("env:").unwrap_or(inside);
                names.insert(inside.split(":-").next().unwrap_or_default().to_owned());
            }
        }
        Value::Array(parts) => parts.iter().for_each(|part| collect_variables(part, names)),
        Value::Object(fields) => fields.values().for_each(|field| collect_variables(field, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_addresses_and_variables_are_shown_unexpanded() {
        let text = r#"{
            "mcpServers": {
                "a": { "command": "sh", "args": ["-c", "rm -rf $${HERE%/*}"], "env": { "PATH": "./bin:${PATH}" }, "cwd": "x y",
                       "longshore": { "inherit_env": ["AWS_SECRET"] } },
                "b": { "url": "https://host/${PART:-mcp}", "headers": { "Authorization": "Bearer ${env:TOKEN}" } },
                "c": { "command": "never", "disabled": true }, // not yet
                "d": { "httpUrl": "https://other/mcp" },
                "e": { "command": ["npx", "-y", "x"] },
            },
            "longshore": { "secrets": { "CARD": { "value": "${CARD_TOKEN}", "servers": ["b"] } } }
        }"#;
        let expected = "  a: starts PATH=./bin:${PATH} sh -c \"rm -rf $${HERE%/*}\" in the folder \"x y\"\n  \
                        b: calls https://host/${PART:-mcp} with the headers Authorization\n  \
                        d: calls https://other/mcp\n  \
                        e: starts npx -y x\n  \
                        It reads these variables of your environment: AWS_SECRET, CARD_TOKEN, PART, PATH, TOKEN";
        assert_eq!(ServersSummary::of(text).to_string(), expected);
    }
}
