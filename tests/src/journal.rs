//! The journal of the server `tables`: every call that reached it.
//!
//! A call that has begun and not ended was in progress when its server or its caller died. The idempotency key names the
//! step, `<run>/<path>`, and is equal for all its attempts, so two calls with one key are a repetition.

#![expect(clippy::panic, reason = "a journal that cannot be read proves nothing")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The journal file, which may not exist yet.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
}

/// A call as the server recorded it.
#[derive(Clone, Debug)]
pub struct Call {
    /// The id of the server process.
    pub pid: u32,
    /// The tool.
    pub tool: String,
    /// The idempotency key.
    pub key: String,
    /// The start, in milliseconds since 1970.
    pub begun_at: u64,
    /// The time of the answer, if there was one.
    pub ended_at: Option<u64>,
    /// The answer was a success, if there was one.
    pub ok: Option<bool>,
}

impl Journal {
    /// Returns the journal in this file.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of lines: one for the start of each call, and one for its end.
    pub fn lines(&self) -> usize {
        std::fs::read(&self.path).unwrap_or_default().iter().filter(|&&byte| byte == b'\n').count()
    }

    /// Returns all calls in the order of their start.
    ///
    /// # Panics
    /// When a line is malformed.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls: Vec<Call> = Vec::new();
        let mut indices = BTreeMap::new();
        for line in std::fs::read_to_string(&self.path).unwrap_or_default().lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let text = |field: &str| line.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let number = |field: &str| line.get(field).and_then(Value::as_u64).unwrap_or_default();
            let (pid, call) = (u32::try_from(number("pid")).unwrap_or_default(), number("call"));
            match text("event").as_str() {
                "begin" => {
                    indices.insert((pid, call), calls.len());
                    let (tool, key, begun_at) = (text("tool"), text("idempotency_key"), number("at_ms"));
                    calls.push(Call { pid, tool, key, begun_at, ended_at: None, ok: None });
                }
                "end" => {
                    let begun = indices.get(&(pid, call)).and_then(|&index| calls.get_mut(index));
                    let Some(begun) = begun else { panic!("{line} ends a call that never began") };
                    begun.ok = line.get("ok").and_then(Value::as_bool);
                    begun.ended_at = Some(number("at_ms"));
                }
                _ => {}
            }
        }
        calls
    }

    /// Returns the number of calls of each step, by its path.
    pub fn begun(&self) -> BTreeMap<String, usize> {
        let mut begun = BTreeMap::new();
        for call in self.calls() {
            *begun.entry(call.step().to_owned()).or_default() += 1;
        }
        begun
    }

    /// Returns the steps that were called more than once.
    pub fn repeated(&self) -> BTreeSet<String> {
        self.begun().into_iter().filter(|&(_, times)| times > 1).map(|(step, _)| step).collect()
    }

    /// Returns the ids of the server processes that wrote the journal.
    pub fn pids(&self) -> BTreeSet<u32> {
        self.calls().iter().map(|call| call.pid).collect()
    }
}

impl Call {
    /// Returns the path of the step that made the call.
    pub fn step(&self) -> &str {
        self.key.split_once('/').map_or(self.key.as_str(), |(_, path)| path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_calls_with_one_key_are_a_repetition() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::at(folder.path().join("journal"));
        assert_eq!((journal.lines(), journal.calls().len()), (0, 0));
        let begin = |pid, call, step| {
            format!(
                "{{\"pid\":{pid},\"event\":\"begin\",\"call\":{call},\"tool\":\"echo\",\"arguments\":{{}},\
                 \"idempotency_key\":\"run/{step}\"}}\n"
            )
        };
        let end = "{\"pid\":7,\"event\":\"end\",\"call\":1,\"tool\":\"echo\",\"ok\":true}\n";
        let text = begin(7, 1, "a") + &begin(7, 2, "b") + end + &begin(8, 1, "b");
        std::fs::write(journal.path(), text).unwrap();
        let ended: Vec<_> = journal.calls().iter().map(|call| (call.pid, call.ok)).collect();
        assert_eq!(ended, [(7, Some(true)), (7, None), (8, None)]);
        assert_eq!(journal.repeated(), BTreeSet::from(["b".to_owned()]));
        assert_eq!((journal.lines(), journal.pids()), (4, BTreeSet::from([7, 8])));
    }
}
