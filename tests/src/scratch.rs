//! A folder for one test, and the built `longshore` at work in it, as a person would be.
//!
//! The workflow lies in `workflow.yaml`, the servers in `.mcp.json` and the data in `.longshore`, so commands need no
//! options to find them. Everything vanishes with the test.

#![expect(clippy::panic, reason = "a test that cannot write its files has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use longshore_proto::{RunView, StepView};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::history::History;
use crate::journal::Journal;
use crate::longshore::{Ended, Longshore};

/// What a workflow is called in a scratch folder.
pub const WORKFLOW: &str = "workflow.yaml";

/// A folder of its own.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
}

impl Scratch {
    /// A new folder with a servers file.
    ///
    /// # Panics
    /// When it cannot be made; as does everything else here that cannot write or read.
    pub fn new(servers: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no scratch folder: {error}"));
        let scratch = Self { folder };
        scratch.servers(servers);
        scratch
    }

    /// A new folder with a servers file and a workflow.
    pub fn with(workflow: &str, servers: &Value) -> Self {
        let scratch = Self::new(servers);
        scratch.write(WORKFLOW, workflow);
        scratch
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the servers file: an object of entries by name.
    pub fn servers(&self, servers: &Value) {
        self.write(".mcp.json", json!({ "mcpServers": servers }).to_string());
    }

    /// Writes a file, and the folders that it lies in.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        folder
            .and_then(|()| fs::write(&path, text))
            .unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()));
        path
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> String {
        let path = self.path().join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()))
    }

    /// The journal of a server that was told to keep it here.
    pub fn journal(&self) -> Journal {
        Journal::at(self.path().join("journal"))
    }

    /// What the log of the data directory says, while nobody works in it.
    pub async fn history(&self) -> History {
        History::of(&self.path().join(".longshore")).await
    }

    /// `longshore` with these arguments, in this folder.
    pub fn longshore<A: AsRef<str>>(&self, arguments: impl IntoIterator<Item = A>) -> Longshore {
        Longshore::new(self.path(), arguments)
    }

    /// Runs the workflow to its end and returns how that went.
    pub async fn run(&self) -> Ended {
        self.longshore(["run", WORKFLOW]).run().await
    }

    /// The newest run of the data directory, as `runs show` describes it.
    pub async fn newest(&self) -> RunView {
        let listed = self.longshore(["runs", "list", "--json"]).run().await.expecting(0).json_lines();
        let run = listed.first().and_then(|run| run.get("run")).and_then(Value::as_str).unwrap_or_default();
        let shown = self.longshore(["runs", "show", run, "--json"]).run().await.expecting(0).json();
        serde_json::from_value(shown).unwrap_or_else(|error| panic!("that is no run: {error}"))
    }
}

/// A step of a run, by its path.
///
/// # Panics
/// When the run has no such step.
#[track_caller]
pub fn step<'a>(run: &'a RunView, path: &str) -> &'a StepView {
    let found = run.steps.iter().find(|step| step.path.as_str() == path);
    found.unwrap_or_else(|| panic!("the run has no step {path}: {run:#?}"))
}
