//! A temporary folder for one test, in which it runs `longshore`.
//!
//! The workflow is in `workflow.yaml`, the servers are in `.mcp.json` and the data in `.longshore`, where `longshore` finds
//! them without options. The folder is deleted at the end of the test.

#![expect(clippy::panic, reason = "a test that cannot write its files has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use longshore_proto::{RunView, StepView};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::directory_log::DirectoryLog;
use crate::journal::Journal;
use crate::longshore::{EndedCommand, Longshore};

/// The name of the workflow file.
pub const WORKFLOW: &str = "workflow.yaml";

/// A temporary folder with a servers file.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
}

impl Scratch {
    /// Makes a folder with a servers file.
    ///
    /// # Panics
    /// When it cannot be made. All functions here panic when they cannot read or write.
    pub fn new(servers: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no scratch folder: {error}"));
        let scratch = Self { folder };
        scratch.servers(servers);
        scratch
    }

    /// Makes a folder with a servers file and a workflow.
    pub fn with(workflow: &str, servers: &Value) -> Self {
        let scratch = Self::new(servers);
        scratch.write(WORKFLOW, workflow);
        scratch
    }

    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the servers file from an object of entries by name.
    pub fn servers(&self, servers: &Value) {
        self.write(".mcp.json", json!({ "mcpServers": servers }).to_string());
    }

    /// Writes a file, and makes the folders above it.
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

    /// Returns the journal of a server that was started with [`Tables::of`](crate::tables::Tables::of) this folder.
    pub fn journal(&self) -> Journal {
        Journal::at(self.path().join("journal"))
    }

    /// Reads the log of the data directory, which no process may be using.
    pub async fn log(&self) -> DirectoryLog {
        DirectoryLog::read(&self.path().join(".longshore")).await
    }

    /// Returns `longshore` with these arguments, to run in this folder.
    pub fn longshore<A: AsRef<str>>(&self, arguments: impl IntoIterator<Item = A>) -> Longshore {
        Longshore::new(self.path(), arguments)
    }

    /// Runs the workflow and waits for the end of the command.
    pub async fn run(&self) -> EndedCommand {
        self.longshore(["run", WORKFLOW]).run().await
    }

    /// Returns the newest run of the data directory, as `runs show` prints it.
    pub async fn newest(&self) -> RunView {
        let listed = self.longshore(["runs", "list", "--json"]).run().await.expecting(0).json_lines();
        let run = listed.first().and_then(|run| run.get("run")).and_then(Value::as_str).unwrap_or_default();
        let shown = self.longshore(["runs", "show", run, "--json"]).run().await.expecting(0).json();
        serde_json::from_value(shown).unwrap_or_else(|error| panic!("not a run: {error}"))
    }
}

/// Returns a step of a run by its path.
///
/// # Panics
/// When the run has no such step.
#[track_caller]
pub fn step<'a>(run: &'a RunView, path: &str) -> &'a StepView {
    let found = run.steps.iter().find(|step| step.path.as_str() == path);
    found.unwrap_or_else(|| panic!("the run has no step {path}: {run:#?}"))
}
