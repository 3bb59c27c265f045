//! The outermost object of a servers file: the entries under `mcpServers`, and Longshore's own object beside them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::document::{self, Document, Duplicate};
use super::fields::Fields;

/// A servers file is written by hand; past this it is something else.
pub(super) const MOST_FILE_BYTES: usize = 1024 * 1024;

/// Keys under which hosts keep their servers. VS Code writes `servers`.
const KEYS: [&str; 2] = ["mcpServers", "servers"];

/// Keys beside the servers that need no warning: VS Code lists there what it asks a person for, and a server that needs it
/// says so itself.
const QUIET_KEYS: [&str; 2] = ["$schema", "inputs"];

/// The parts of a servers file.
pub(super) struct Outline {
    /// The key of the entries: `mcpServers` or `servers`.
    pub(super) key: &'static str,
    /// The entries by their names, as they are written.
    pub(super) entries: Map<String, Value>,
    /// By entry, the sentences about its keys that are written twice.
    pub(super) repeated: BTreeMap<String, Vec<String>>,
    /// The object `longshore`.
    pub(super) own: Option<Value>,
    pub(super) warnings: Vec<String>,
}

/// Reads the outermost object. Returns `None` after a problem.
pub(super) fn read(text: &str, problems: &mut Vec<String>) -> Option<Outline> {
    if text.len() > MOST_FILE_BYTES {
        problems.push(format!("the file has {} bytes; at most {MOST_FILE_BYTES} are read", text.len()));
        return None;
    }
    let Document { value, duplicates } = match document::read(text) {
        Ok(document) => document,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let Value::Object(file) = &value else {
        Fields::of("the file".to_owned(), value, problems);
        return None;
    };
    let missing = missing_servers(file);
    let mut fields = Fields::of(String::new(), value, problems)?;
    let key = match KEYS.map(|key| fields.has(key)) {
        [true, true] => {
            fields.refuse("servers", "contradicts `mcpServers`; keep one of them");
            return None;
        }
        [true, false] => "mcpServers",
        [false, true] => "servers",
        [false, false] => {
            fields.refuse("mcpServers", missing);
            return None;
        }
    };
    let (servers, own) = (fields.take(key)?, fields.take("longshore"));
    let unknown = fields.rest().into_iter().filter(|field| !QUIET_KEYS.contains(&field.as_str()));
    let mut warnings: Vec<String> =
        unknown.map(|field| format!("`{field}` is not a known field of the file")).collect();
    let Value::Object(entries) = servers else {
        fields.refuse(key, "must be an object of servers");
        return None;
    };
    let mut repeated: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for duplicate in duplicates {
        match duplicate.path.as_slice() {
            [first, server, rest @ ..] if first == key => {
                repeated.entry(server.clone()).or_default().push(sentence(rest, &duplicate));
            }
            [first, ..] if first == key || first == "longshore" => {
                problems.push(sentence(&duplicate.path, &duplicate));
            }
            path => warnings.push(sentence(path, &duplicate)),
        }
    }
    Some(Outline { key, entries, repeated, own, warnings })
}

/// `path` leads from the place that the reader sees beside the sentence.
fn sentence(path: &[String], duplicate: &Duplicate) -> String {
    if path.is_empty() { duplicate.problem() } else { format!("{}: {}", path.join("."), duplicate.problem()) }
}

/// Returns why there are no servers, judged by what there is instead.
fn missing_servers(file: &Map<String, Value>) -> String {
    // Zed, OpenCode, and the settings of VS Code.
    let nested = file.get("mcp").and_then(|mcp| mcp.get("servers"));
    let of_editors =
        [("context_servers", file.get("context_servers")), ("mcp.servers", nested), ("mcp", file.get("mcp"))];
    if let Some((name, _)) = of_editors.iter().find(|(_, value)| value.is_some_and(Value::is_object)) {
        return format!("is missing; write what is in `{name}` into an object `mcpServers`");
    }
    let near = file.keys().find(|name| longshore_suggest::closest(name, KEYS).is_some());
    if let Some(near) = near {
        return format!("is missing; the file has `{near}`: did you mean `mcpServers`?");
    }
    let is_entry = |value: &Value| ["command", "url"].iter().any(|field| value.get(field).is_some());
    match file.iter().find(|(_, value)| is_entry(value)) {
        Some((name, _)) => {
            format!("is missing; `{name}` looks like a server: put it into an object `mcpServers`")
        }
        None => "is missing; it maps the name of each server to its entry".to_owned(),
    }
}
