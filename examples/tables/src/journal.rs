//! The journal: a JSON line for the start of each call, and one for its end.
//!
//! Tests use it as the evidence of which calls happened. So each line is a single write to a file opened for appending:
//! several servers may share one journal, and a killed server leaves whole lines, because they are short. A call that cannot
//! be recorded is refused.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use thiserror::Error;

/// The longest argument that is recorded; of a longer one, only the size is. A kill can cut a write between two pages of
/// memory (4 KiB), so a line fits into one page, unless a call has many arguments.
const ARGUMENT_LIMIT_BYTES: usize = 1024;

/// A file to which lines are appended.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    calls: AtomicU64,
}

/// The content of a line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum JournalEntry<'a> {
    /// A call has arrived and is about to be carried out.
    Begin {
        /// The number of the call, starting at 1 in each process. Both lines of a call have it.
        call: u64,
        tool: &'a str,
        #[serde(serialize_with = "short")]
        arguments: &'a Map<String, Value>,
        /// The key that is equal for all attempts of a step.
        #[serde(skip_serializing_if = "Option::is_none")]
        idempotency_key: Option<&'a str>,
    },
    /// A call has been answered.
    End {
        call: u64,
        tool: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        idempotency_key: Option<&'a str>,
        /// The answer is a result and not an error.
        ok: bool,
    },
    /// A call of the tool `note`.
    Note { text: &'a str },
}

/// A line: an entry with the time and the process that wrote it.
#[derive(Serialize)]
struct JournalLine<'a> {
    /// Milliseconds since 1970.
    at_ms: u128,
    pid: u32,
    #[serde(flatten)]
    entry: &'a JournalEntry<'a>,
}

/// The reason why an entry could not be written.
#[derive(Debug, Error)]
#[error("the journal {} cannot be written: {source}", path.display())]
pub(crate) struct JournalRefusal {
    path: PathBuf,
    source: io::Error,
}

impl Journal {
    /// Opens the file, and creates it if it does not exist.
    pub(crate) fn open(path: PathBuf) -> Result<Self, JournalRefusal> {
        match OpenOptions::new().create(true).append(true).open(&path) {
            Ok(file) => Ok(Self { path, file, calls: AtomicU64::new(0) }),
            Err(source) => Err(JournalRefusal { path, source }),
        }
    }

    /// Returns the number of the next call of this process.
    pub(crate) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Appends an entry.
    pub(crate) fn append(&self, entry: &JournalEntry<'_>) -> Result<(), JournalRefusal> {
        self.write(&JournalLine { at_ms: now_ms(), pid: std::process::id(), entry })
            .map_err(|source| JournalRefusal { path: self.path.clone(), source })
    }

    fn write(&self, line: &JournalLine<'_>) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        (&self.file).write_all(&text)
    }
}

/// Serializes arguments; a long one is replaced by its size.
fn short<S: Serializer>(arguments: &Map<String, Value>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(arguments.iter().map(|(name, value)| match value.to_string().len() {
        bytes if bytes > ARGUMENT_LIMIT_BYTES => (name, Value::from(format!("({bytes} bytes)"))),
        _ => (name, value.clone()),
    }))
}

#[expect(
    clippy::disallowed_methods,
    reason = "an example shares no code with Longshore, and so not its clock"
)]
fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_writers_of_one_file_leave_whole_lines() {
        const LINES: usize = 200;
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("journal.jsonl");
        let text = "x".repeat(5_000);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let journal = Journal::open(path.clone()).unwrap();
                    for _ in 0..LINES {
                        journal.append(&JournalEntry::Note { text: &text }).unwrap();
                    }
                });
            }
        });
        let written = std::fs::read_to_string(&path).unwrap();
        let whole = written.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert_eq!(whole.filter(|line| line["text"] == text.as_str()).count(), 2 * LINES);
    }

    #[test]
    fn large_argument_is_recorded_by_its_size() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("journal.jsonl");
        let large = "x".repeat(70_000);
        let Value::Object(arguments) = serde_json::json!({ "n": 1, "bulk": large }) else { unreachable!() };
        let entry =
            JournalEntry::Begin { call: 1, tool: "echo", arguments: &arguments, idempotency_key: None };
        Journal::open(path.clone()).unwrap().append(&entry).unwrap();
        let line: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(line["arguments"], serde_json::json!({ "n": 1, "bulk": "(70002 bytes)" }));
    }

    #[test]
    fn journal_that_cannot_be_opened_is_named() {
        let refusal = Journal::open("/no/such/folder/journal.jsonl".into()).unwrap_err().to_string();
        assert!(refusal.contains("/no/such/folder/journal.jsonl"), "{refusal}");
    }
}
