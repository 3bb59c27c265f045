//! A copy of one folder of `tests/cases`, in which a test runs `longshore`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use longshore_proto::{RunView, StepView};
use longshore_tests::longshore::{EndedCommand, Longshore};
use longshore_tests::scratch;
use serde_json::Value;
use tempfile::TempDir;

/// The name of the workflow; variants have other names.
pub(crate) const WORKFLOW: &str = "workflow.yaml";
/// The name of the servers file.
pub(crate) const SERVERS: &str = "mcp.json";
/// The data directory, beside the folder.
const DATA: &str = "../data";

/// Returns the folder of the cases in the repository.
pub(crate) fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

/// A case that can be run. Its server over HTTP, if there is one, is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Case {
    above: TempDir,
    name: &'static str,
    variables: Vec<(&'static str, String)>,
    server: Option<Child>,
}

impl Case {
    /// Copies a folder, and the libraries of the servers beside it.
    pub(crate) fn of(name: &'static str) -> Self {
        let above = tempfile::tempdir().expect("a folder");
        for folder in ["lib", name] {
            copy(&cases().join(folder), &above.path().join(folder));
        }
        Self { above, name, variables: Vec::new(), server: None }
    }

    /// Copies a folder, and starts its server over HTTP, whose port is in the variable `PORT`.
    pub(crate) fn served(name: &'static str) -> Self {
        let mut case = Self::of(name);
        let mut server = Command::new("python3");
        server.arg("server.py").current_dir(case.path()).env_remove("PORT");
        server.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut server = server.spawn().expect("python3 starts");
        let mut port = String::new();
        let stdout = server.stdout.take().expect("a pipe");
        case.server = Some(server);
        BufReader::new(stdout).read_line(&mut port).expect("the port");
        assert!(!port.is_empty(), "the server of {name} has ended");
        case.with("PORT", port.trim())
    }

    /// Adds a variable to the environment of `longshore`.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// Sets a variable in the environment of `longshore`.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_owned()));
    }

    /// Returns the path of the copy.
    pub(crate) fn path(&self) -> PathBuf {
        self.above.path().join(self.name)
    }

    /// Reads a file of the copy. Returns an empty text if it does not exist.
    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path().join(file)).unwrap_or_default()
    }

    /// Writes a file into the copy.
    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.path().join(file), text).expect("a file");
    }

    /// Returns the number of messages with this text that the servers of the folder have read.
    pub(crate) fn received(&self, text: &str) -> usize {
        self.read("server.log").lines().filter(|line| line.contains(text)).count()
    }

    /// Returns `longshore` with these arguments, to run in the folder.
    pub(crate) fn longshore<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Longshore {
        self.longshore_in(&self.path(), arguments)
    }

    /// Returns `longshore` with these arguments, to run in another folder.
    pub(crate) fn longshore_in<'a>(
        &self,
        folder: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Longshore {
        let longshore = Longshore::new(folder, arguments);
        self.variables.iter().fold(longshore, |longshore, (name, value)| longshore.env(name, value))
    }

    /// Returns `longshore run` of a workflow of the folder.
    pub(crate) fn running<'a>(&self, workflow: &'a str, more: &[&'a str]) -> Longshore {
        let line = ["run", workflow, "--mcp-config", SERVERS, "--data", DATA];
        self.longshore(line.into_iter().chain(more.iter().copied()))
    }

    /// Runs a workflow of the folder, and waits for the end.
    pub(crate) async fn run(&self, workflow: &str) -> EndedCommand {
        self.running(workflow, &[]).run().await
    }

    /// Runs the workflow of the folder, which succeeds, and returns its outputs.
    pub(crate) async fn outputs(&self) -> Value {
        self.run(WORKFLOW).await.expecting(0).json()
    }

    /// Returns the newest run.
    pub(crate) async fn newest(&self) -> RunView {
        let line = ["runs", "show", "last", "--json", "--data", DATA];
        let shown = self.longshore(line).run().await.expecting(0).json();
        serde_json::from_value(shown).expect("a run")
    }

    /// Returns a step of the newest run.
    pub(crate) async fn step(&self, path: &str) -> StepView {
        scratch::step(&self.newest().await, path).clone()
    }

    /// Runs `longshore servers` with these arguments and the servers file of the folder.
    pub(crate) async fn servers(&self, arguments: &[&str]) -> EndedCommand {
        let line = ["servers"].into_iter().chain(arguments.iter().copied());
        self.longshore(line.chain(["--mcp-config", SERVERS])).run().await
    }
}

impl Drop for Case {
    /// Kills the server by its process id.
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("an entry").path();
        if entry.is_file() {
            fs::copy(&entry, to.join(entry.file_name().expect("a name"))).expect("copied");
        }
    }
}
