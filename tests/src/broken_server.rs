//! MCP servers that misbehave on demand, in Python without libraries. The tests of the worker use them too.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("worker").join("tests/fixtures").join(name)
}

/// Returns the entry of a server whose options and tools select a way to misbehave.
pub fn broken(options: &[&str]) -> Value {
    let script = fixture("stdio_server.py").display().to_string();
    let args: Vec<_> = [script.as_str()].into_iter().chain(options.iter().copied()).collect();
    json!({ "command": "python3", "args": args })
}

/// Returns the entry of a server that writes each call to a journal before it carries it out. Its tools are `die`, `hang`,
/// `gate`, `big` and `note`.
pub fn dying(journal: &Path) -> Value {
    json!({ "command": "python3", "args": [fixture("journal_server.py")], "env": { "JOURNAL": journal } })
}
