//! The outermost object of a servers file: the entries under `mcpServers`, and Longshore's own object beside them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::document::{self, DuplicateKey, JsonDocument};
use super::fields::ObjectFields;

/// The largest servers file. Servers files are written by hand, so a larger one is probably another file.
pub(super) const MOST_FILE_BYTES: usize = 1024 * 1024;

/// Keys under which hosts store their servers. VS Code writes `servers`.
const KEYS: [&str; 2] = ["mcpServers", "servers"];

/// Other keys without a warning. `inputs` are the questions of VS Code to its user; a server that needs one has a message of its
/// own.
const QUIET_KEYS: [&str; 2] = ["$schema", "inputs"];

/// The parts of a servers file.
pub(super) struct FileOutline {
    /// Key of the entries: `mcpServers` or `servers`.
    pub(super) key: &'static str,
    /// Entries by name, as they are written.
    pub(super) entries: Map<String, Value>,
    /// Sentences about keys of an entry that are written twice, by the name of the entry.
    pub(super) repeated: BTreeMap<String, Vec<String>>,
    /// Value of the key `longshore`.
    pub(super) own: Option<Value>,
    pub(super) warnings: Vec<String>,
}

/// Reads the outermost object. Returns `None` after a problem.
pub(super) fn read(text: &str, problems: &mut Vec<String>) -> Option<FileOutline> {
    if text.len() > MOST_FILE_BYTES {
        problems.push(format!("the file has {} bytes; at most {MOST_FILE_BYTES} are read", text.len()));
        return None;
    }
    let JsonDocument { value, duplicates } = match document::read(text) {
        Ok(document) => document,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let Value::Object(file) = &value else {
        ObjectFields::of("the file".to_owned(), value, problems);
        return None;
    };
    let missing = missing_servers(file);
    let mut fields = ObjectFields::of(String::new(), value, problems)?;
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
    Some(FileOutline { key, entries, repeated, own, warnings })
}

/// Returns the sentence about a repeated key. `path` is relative to the name that is shown before the sentence.
fn sentence(path: &[String], duplicate: &DuplicateKey) -> String {
    if path.is_empty() { duplicate.problem() } else { format!("{}: {}", path.join("."), duplicate.problem()) }
}

/// Describes why the file has no servers, with a hint that depends on its keys.
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
