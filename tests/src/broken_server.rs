//! Servers that misbehave on demand, in Python without any library: those that the worker's own tests use as well.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("worker").join("tests/fixtures").join(name)
}

/// A server whose options say how it is broken from the start, and whose tools say how it breaks.
pub fn broken(options: &[&str]) -> Value {
    let script = fixture("stdio_server.py").display().to_string();
    let args: Vec<_> = [script.as_str()].into_iter().chain(options.iter().copied()).collect();
    json!({ "command": "python3", "args": args })
}

/// A server that writes down each call before it does what its tool says: `die`, `hang`, `gate`, `big`, `note`.
pub fn dying(journal: &Path) -> Value {
    json!({ "command": "python3", "args": [fixture("journal_server.py")], "env": { "JOURNAL": journal } })
}
