//! What really happened, as the server saw it: the journal of `tables`, read by calls and by steps.
//!
//! A call that has begun and not ended was on its way when its server or its caller died. The idempotency key names
//! the step, `<run>/<path>`, and is equal for all its attempts; so two calls with one key are a repetition.

#![expect(clippy::panic, reason = "a journal that cannot be read proves nothing")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The file. It need not be there yet.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The process that was asked.
    pub pid: u32,
    /// Which tool.
    pub tool: String,
    /// The idempotency key it came with.
    pub key: String,
    /// When it began, in milliseconds since 1970.
    pub begun_at: u64,
    /// When it was answered; nothing if it never was.
    pub ended_at: Option<u64>,
    /// Whether it was answered well; nothing if it was never answered.
    pub ok: Option<bool>,
}

impl Journal {
    /// The journal in this file.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many lines it has: one when a call begins, one when it ends.
    pub fn lines(&self) -> usize {
        std::fs::read(&self.path).unwrap_or_default().iter().filter(|&&byte| byte == b'\n').count()
    }

    /// Every call, in the order in which they began.
    ///
    /// # Panics
    /// When a line is not what the server writes.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls: Vec<Call> = Vec::new();
        let mut places = BTreeMap::new();
        for line in std::fs::read_to_string(&self.path).unwrap_or_default().lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let text = |field: &str| line.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let number = |field: &str| line.get(field).and_then(Value::as_u64).unwrap_or_default();
            let (pid, call) = (u32::try_from(number("pid")).unwrap_or_default(), number("call"));
            match text("event").as_str() {
                "begin" => {
                    places.insert((pid, call), calls.len());
                    let (tool, key, begun_at) = (text("tool"), text("idempotency_key"), number("at_ms"));
                    calls.push(Call { pid, tool, key, begun_at, ended_at: None, ok: None });
                }
                "end" => {
                    let begun = places.get(&(pid, call)).and_then(|&place| calls.get_mut(place));
                    let Some(begun) = begun else { panic!("{line} ends a call that never began") };
                    begun.ok = line.get("ok").and_then(Value::as_bool);
                    begun.ended_at = Some(number("at_ms"));
                }
                _ => {}
            }
        }
        calls
    }

    /// How often each step was called, by the path of the step.
    pub fn begun(&self) -> BTreeMap<String, usize> {
        let mut begun = BTreeMap::new();
        for call in self.calls() {
            *begun.entry(call.step().to_owned()).or_default() += 1;
        }
        begun
    }

    /// The steps that were called more than once.
    pub fn repeated(&self) -> BTreeSet<String> {
        self.begun().into_iter().filter(|&(_, times)| times > 1).map(|(step, _)| step).collect()
    }

    /// The server processes that wrote it.
    pub fn pids(&self) -> BTreeSet<u32> {
        self.calls().iter().map(|call| call.pid).collect()
    }
}

impl Call {
    /// The path of the step that made it.
    pub fn step(&self) -> &str {
        self.key.split_once('/').map_or(self.key.as_str(), |(_, path)| path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_is_two_calls_with_one_key() {
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
