//! The servers file (`.mcp.json`): where it is, and whether it has what a workflow needs.
//!
//! What stands in it is read by the worker's part; this finds it and compares names, before anything is begun.

mod secrets;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use longshore_proto::ServerName;
use longshore_worker::mcp::ServersConfig;
use longshore_workflow::{CallStep, Plan, StepKind};

use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input_text;
use crate::output::Output;
use crate::suggest;
use crate::trust;

/// Where the file is unless somebody says otherwise: where other MCP hosts look for it, too.
pub(crate) const USUAL_PATH: &str = ".mcp.json";

/// Which servers file, and who chose it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ServersSource {
    /// The user, or the administrator, named it.
    Named(PathBuf),
    /// It lies in the usual place, or a configuration file that was only found names it.
    Found(PathBuf),
}

impl ServersSource {
    /// The file in the current directory.
    pub(crate) fn usual() -> Self {
        Self::Found(PathBuf::from(USUAL_PATH))
    }

    /// The file that an option or a variable names, or else the one in the current directory.
    pub(crate) fn given(path: Option<&Path>) -> Self {
        path.map_or_else(Self::usual, |path| Self::Named(path.to_owned()))
    }
}

/// The servers of this process, and where they come from.
#[derive(Debug)]
pub(crate) struct ServersFile {
    path: PathBuf,
    /// What is in it; nothing if there is no such file.
    config: Option<ServersConfig>,
    /// Its text, if nobody named it: trust is given to a text.
    found_text: Option<String>,
}

/// Servers that may be started and called: their file was named, or a person trusts it, or nobody could be asked.
#[derive(Debug)]
pub(crate) struct TrustedServers(ServersFile);

impl Deref for TrustedServers {
    type Target = ServersFile;

    fn deref(&self) -> &ServersFile {
        &self.0
    }
}

impl TrustedServers {
    /// The servers, for a pool.
    pub(crate) fn config(&self) -> ServersConfig {
        self.0.config.clone().unwrap_or_default()
    }

    /// The file alone, once nothing is started any more.
    pub(crate) fn into_file(self) -> ServersFile {
        self.0
    }
}

/// A step that cannot be carried out here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Problem {
    /// The step.
    pub(crate) step: String,
    /// What is wrong.
    pub(crate) message: String,
    /// How to mend it.
    pub(crate) help: Option<String>,
}

impl ServersFile {
    /// Reads the file that was asked for, or the usual one if there is one, and warns of what is doubtful in it.
    pub(crate) fn find(source: &ServersSource, output: &Output) -> Result<Self, Failure> {
        Self::find_and_warn(source, output, |_, _| true)
    }

    /// The same for commands that are used every day: a file is warned of once for each content.
    pub(crate) fn find_for_use(source: &ServersSource, output: &Output) -> Result<Self, Failure> {
        Self::find_and_warn(source, output, trust::is_first_look)
    }

    fn find_and_warn(
        source: &ServersSource,
        output: &Output,
        warns: impl Fn(&Path, &str) -> bool,
    ) -> Result<Self, Failure> {
        let (ServersSource::Named(path) | ServersSource::Found(path)) = source;
        if *source == ServersSource::usual() && !path.exists() {
            return Ok(Self { path: path.clone(), config: None, found_text: None });
        }
        let text = input_text::read(path, "servers file")?;
        let config = ServersConfig::parse(&text, &environment::variable).map_err(|errors| {
            let lines = lines_of(errors.0.iter().map(ToString::to_string));
            Failure::new(Exit::Invalid, format!("the servers file {} is wrong:{lines}", path.display()))
        })?;
        if !config.warnings().is_empty() && warns(path, &text) {
            for warning in config.warnings() {
                output.warning(&format!("{}: {warning}", path.display()));
            }
        }
        let found_text = matches!(source, ServersSource::Found(_)).then_some(text);
        Ok(Self { path: path.clone(), config: Some(config), found_text })
    }

    /// Returns the text without any secret of the file.
    pub(crate) fn without_secrets(&self, text: String) -> String {
        match &self.config {
            Some(config) => config.secrets_to_hide().hide(&text).into_owned(),
            None => text,
        }
    }

    /// Whether there is a file at all.
    pub(crate) const fn exists(&self) -> bool {
        self.config.is_some()
    }

    /// The names of the servers that can be called.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ServerName> {
        self.config.iter().flat_map(ServersConfig::names)
    }

    /// Servers of the file that cannot be used here, each with the reasons, without those that are switched off.
    pub(crate) fn unusable(&self) -> impl Iterator<Item = (&ServerName, &[String])> {
        self.config.iter().flat_map(|config| {
            let unusable = config.unusable().iter().filter(|(name, _)| !config.is_disabled(name));
            unusable.map(|(name, reasons)| (name, reasons.as_slice()))
        })
    }

    /// Servers that are switched off in the file.
    pub(crate) fn disabled(&self) -> impl Iterator<Item = &ServerName> {
        self.config.iter().flat_map(|config| config.unusable().keys().filter(|name| config.is_disabled(name)))
    }

    /// The servers, to be started and called. If nobody named the file, a person is asked at a terminal; `tell` takes the
    /// line that names it when nobody can be asked.
    pub(crate) fn trusted(self, output: &Output, tell: impl Fn(&str)) -> Result<TrustedServers, Failure> {
        if let Some(text) = self.found_text.as_deref().filter(|_| self.names().next().is_some()) {
            trust::ensure(&self.path, text, output, tell)?;
        }
        // Not before: the question shows the file as it is written.
        if let Some(config) = &self.config {
            output.hide(config.secrets_to_hide());
        }
        Ok(TrustedServers(self))
    }

    /// The file, or a word on how to get one.
    pub(crate) fn required(self) -> Result<Self, Failure> {
        if self.config.is_some() {
            return Ok(self);
        }
        let message = format!("there is no servers file {}", self.path.display());
        Err(Failure::new(Exit::NotFound, message).help(HOW_TO_NAME_A_FILE))
    }

    /// What keeps the steps of a plan from being carried out, by the names of servers alone.
    pub(crate) fn problems(&self, plan: &Plan) -> Vec<Problem> {
        calls(plan).filter_map(|(step, call)| self.problem(step, call)).collect()
    }

    fn problem(&self, step: &str, call: &CallStep) -> Option<Problem> {
        let (message, help) = self.lack(&call.server)?;
        Some(Problem { step: step.to_owned(), message, help })
    }

    /// Why a server cannot be called, and what to do about it; nothing if it can.
    pub(crate) fn lack(&self, server: &ServerName) -> Option<(String, Option<String>)> {
        let path = self.path.display();
        let Some(config) = &self.config else {
            let message = format!("there is no servers file {path} that says what `{server}` is");
            return Some((message, Some(HOW_TO_NAME_A_FILE.to_owned())));
        };
        if config.names().any(|name| name == server) {
            return None;
        }
        if let Some(reasons) = config.unusable().get(server) {
            let message = format!("the server `{server}` of {path} cannot be used: {}", reasons.join("; "));
            return Some((message, None));
        }
        let names: Vec<&str> = config.names().map(ServerName::as_str).collect();
        let help = suggest::among(server.as_str(), &names);
        Some((format!("there is no server `{server}` in {path}"), Some(help)))
    }

    /// Refuses to begin with steps that cannot be carried out. `whose` says what they are steps of.
    pub(crate) fn refuse(whose: &str, problems: &[Problem]) -> Result<(), Failure> {
        // A workflow of many steps usually lacks one server: it is told once, with the steps that call it.
        let mut by_cause: BTreeMap<&str, (Vec<&str>, Option<&str>)> = BTreeMap::new();
        for problem in problems {
            let (steps, help) = by_cause.entry(&problem.message).or_default();
            steps.push(&problem.step);
            *help = problem.help.as_deref();
        }
        if by_cause.is_empty() {
            return Ok(());
        }
        let causes =
            lines_of(by_cause.iter().map(|(message, (steps, _))| format!("{}: {message}", some_of(steps))));
        let message = format!("{whose} cannot run here:{causes}");
        let mut helps: Vec<&str> = by_cause.values().filter_map(|(_, help)| *help).collect();
        helps.dedup();
        helps.truncate(SHOWN_HELPS);
        let help = (!helps.is_empty()).then(|| helps.join("; "));
        Err(Failure::new(Exit::Invalid, message).maybe_help(help))
    }
}

/// The steps of a plan that are calls, with their paths.
fn calls(plan: &Plan) -> impl Iterator<Item = (&str, &CallStep)> {
    plan.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Call(call) => Some((step.path.as_str(), call.as_ref())),
        StepKind::Set(_) | StepKind::Parallel { .. } => None,
    })
}

const HOW_TO_NAME_A_FILE: &str = "write one with an object `mcpServers`, or name it with --mcp-config or \
                                  LONGSHORE_MCP_CONFIG";

/// Problems that are shown; the others are counted. A workflow or a servers file of somebody else may have thousands.
const SHOWN_PROBLEMS: usize = 20;

/// Hints that are shown with them.
const SHOWN_HELPS: usize = 5;

/// Returns the first of some problems, each on a line of its own, and the number of the others.
fn lines_of(problems: impl ExactSizeIterator<Item = String>) -> String {
    let more = problems.len().saturating_sub(SHOWN_PROBLEMS);
    let more = (more > 0).then(|| format!("and {more} more"));
    problems.take(SHOWN_PROBLEMS).chain(more).map(|line| format!("\n  {line}")).collect()
}

/// How many steps are named for one cause.
const NAMED_STEPS: usize = 3;

/// Names the first of some steps and counts the others.
pub(crate) fn some_of(steps: &[&str]) -> String {
    let named: Vec<_> = steps.iter().take(NAMED_STEPS).map(|step| format!("`{step}`")).collect();
    let more = steps.len().saturating_sub(NAMED_STEPS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let noun = if steps.len() == 1 { "step" } else { "steps" };
    format!("{noun} {}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn servers(text: Option<&str>) -> ServersFile {
        let environment = |_: &str| None;
        let config = text.map(|text| ServersConfig::parse(text, &environment).expect("a servers file"));
        ServersFile { path: PathBuf::from(".mcp.json"), config, found_text: None }
    }

    fn refusal(servers: &ServersFile) -> (String, Option<String>) {
        let text = "
longshore: v1
name: demo
steps:
  - { id: a, call: tabels/list }
  - { id: b, call: tabels/sum }
  - { id: c, call: git/log }
";
        let plan = longshore_workflow::compile(text).expect("compiles");
        let refused = ServersFile::refuse("the workflow `demo`", &servers.problems(&plan));
        refused.map_or_else(|failure| (failure.message, failure.help), |()| (String::new(), None))
    }

    #[test]
    fn a_server_that_is_missing_is_told_with_its_steps_and_what_there_is() {
        let file = r#"{"mcpServers": {"tables": {"command": "t"}, "git": {"command": "${NOT_SET}"}}}"#;
        let (message, help) = refusal(&servers(Some(file)));
        assert!(message.starts_with("the workflow `demo` cannot run here:"), "{message}");
        assert!(message.contains("steps `a`, `b`: there is no server `tabels` in .mcp.json"), "{message}");
        assert!(message.contains("step `c`: the server `git` of .mcp.json cannot be used: "), "{message}");
        assert_eq!(help.as_deref(), Some("did you mean `tables`? Known: `tables`"));
    }

    #[test]
    fn no_file_at_all_is_told_as_well() {
        let (message, help) = refusal(&servers(None));
        assert!(message.contains("there is no servers file .mcp.json that says what `git` is"), "{message}");
        assert_eq!(help.as_deref(), Some(HOW_TO_NAME_A_FILE));
    }

    #[test]
    fn what_can_be_called_is_fine() {
        let file = r#"{"mcpServers": {"tabels": {"command": "t"}, "git": {"url": "http://localhost/mcp"}}}"#;
        assert_eq!(refusal(&servers(Some(file))), (String::new(), None));
    }
}
