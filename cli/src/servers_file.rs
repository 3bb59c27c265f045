//! The servers file (`.mcp.json`): finds it, and checks that it has the servers and secrets that a workflow needs.
//!
//! The worker crate parses its contents. Here the names in it are compared with those in a workflow, before anything begins.

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

/// Default path of the servers file, the one that other MCP hosts use, too.
pub(crate) const DEFAULT_PATH: &str = ".mcp.json";

/// Path of the servers file, and how it was chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ServersSource {
    /// The user or the administrator named it.
    Named(PathBuf),
    /// The path is the default, or comes from a configuration file that was found in its default place.
    Found(PathBuf),
}

impl ServersSource {
    /// Returns the file in the current directory.
    pub(crate) fn usual() -> Self {
        Self::Found(PathBuf::from(DEFAULT_PATH))
    }

    /// Returns the file that an option or a variable names, or else the one in the current directory.
    pub(crate) fn given(path: Option<&Path>) -> Self {
        path.map_or_else(Self::usual, |path| Self::Named(path.to_owned()))
    }
}

/// The servers of this process, and the file that they come from.
#[derive(Debug)]
pub(crate) struct ServersFile {
    path: PathBuf,
    /// The parsed contents; `None` if there is no such file.
    config: Option<ServersConfig>,
    /// The text of a file that was found and not named. Trust applies to a text.
    found_text: Option<String>,
}

/// Servers that may be started and called: their file was named, the user trusts it, or there is no terminal to ask at.
#[derive(Debug)]
pub(crate) struct TrustedServers(ServersFile);

impl Deref for TrustedServers {
    type Target = ServersFile;

    fn deref(&self) -> &ServersFile {
        &self.0
    }
}

impl TrustedServers {
    /// Returns the servers, for a pool.
    pub(crate) fn config(&self) -> ServersConfig {
        self.0.config.clone().unwrap_or_default()
    }

    /// Returns the file, once nothing is started any more.
    pub(crate) fn into_file(self) -> ServersFile {
        self.0
    }
}

/// A reason why a step cannot be executed here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct StepProblem {
    /// The step.
    pub(crate) step: String,
    /// The cause.
    pub(crate) message: String,
    /// Advice on how to fix it.
    pub(crate) help: Option<String>,
}

impl ServersFile {
    /// Reads the chosen file, or the default one if it exists, and prints its warnings.
    pub(crate) fn find(source: &ServersSource, output: &Output) -> Result<Self, Failure> {
        Self::find_and_warn(source, output, |_, _, _| true)
    }

    /// Reads the file for a command of everyday use: prints warnings once, until the file or they change.
    pub(crate) fn find_for_use(source: &ServersSource, output: &Output) -> Result<Self, Failure> {
        Self::find_and_warn(source, output, trust::are_new_warnings)
    }

    fn find_and_warn(
        source: &ServersSource,
        output: &Output,
        warns: impl Fn(&Path, &str, &[String]) -> bool,
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
        if !config.warnings().is_empty() && warns(path, &text, config.warnings()) {
            for warning in config.warnings() {
                output.warning(&format!("{}: {warning}", path.display()));
            }
        }
        let found_text = matches!(source, ServersSource::Found(_)).then_some(text);
        Ok(Self { path: path.clone(), config: Some(config), found_text })
    }

    /// Masks every secret of the file in a text.
    pub(crate) fn without_secrets(&self, text: String) -> String {
        match &self.config {
            Some(config) => config.secrets_to_hide().hide(&text).into_owned(),
            None => text,
        }
    }

    /// Returns true if there is a file.
    pub(crate) const fn exists(&self) -> bool {
        self.config.is_some()
    }

    /// Returns the names of the servers that can be called.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ServerName> {
        self.config.iter().flat_map(ServersConfig::names)
    }

    /// Returns the servers of the file that cannot be used here, with the reasons, except those that are disabled.
    pub(crate) fn unusable(&self) -> impl Iterator<Item = (&ServerName, &[String])> {
        self.config.iter().flat_map(|config| {
            let unusable = config.unusable().iter().filter(|(name, _)| !config.is_disabled(name));
            unusable.map(|(name, reasons)| (name, reasons.as_slice()))
        })
    }

    /// Returns the variables and headers of a server whose values are masked in outputs.
    pub(crate) fn masked(&self, server: &ServerName) -> &[String] {
        self.config.as_ref().map_or(&[], |config| config.masked(server))
    }

    /// Returns the servers that are disabled in the file.
    pub(crate) fn disabled(&self) -> impl Iterator<Item = &ServerName> {
        self.config.iter().flat_map(|config| config.unusable().keys().filter(|name| config.is_disabled(name)))
    }

    /// Returns the servers if they may be started and called. For a file that was found and not named, asks the user at a
    /// terminal. Without a terminal, `report` gets the message that names the file.
    pub(crate) fn trusted(self, output: &Output, report: impl Fn(&str)) -> Result<TrustedServers, Failure> {
        if let Some(text) = self.found_text.as_deref().filter(|_| self.names().next().is_some()) {
            trust::ensure(&self.path, text, output, report)?;
        }
        // Secrets are masked from here on, and not before, because the question shows the file as it is written.
        if let Some(config) = &self.config {
            output.hide(config.secrets_to_hide());
            output.show(&self.path.display().to_string());
        }
        Ok(TrustedServers(self))
    }

    /// Returns the file, or the failure that there is none.
    pub(crate) fn required(self) -> Result<Self, Failure> {
        if self.config.is_some() {
            return Ok(self);
        }
        let message = format!("there is no servers file {}", self.path.display());
        Err(Failure::new(Exit::NotFound, message).help(NAME_A_FILE_HELP))
    }

    /// Returns the reasons why steps of a plan cannot be executed, judged by the names of servers only.
    pub(crate) fn problems(&self, plan: &Plan) -> Vec<StepProblem> {
        calls(plan).filter_map(|(step, call)| self.problem(step, call)).collect()
    }

    fn problem(&self, step: &str, call: &CallStep) -> Option<StepProblem> {
        let (message, help) = self.lack(&call.server)?;
        Some(StepProblem { step: step.to_owned(), message, help })
    }

    /// Returns the reason why a server cannot be called, with advice; `None` if it can.
    pub(crate) fn lack(&self, server: &ServerName) -> Option<(String, Option<String>)> {
        let path = self.path.display();
        let Some(config) = &self.config else {
            let message = format!("there is no servers file {path} with the server `{server}`");
            return Some((message, Some(NAME_A_FILE_HELP.to_owned())));
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

    /// Returns a failure if there are problems. `subject` names the workflow or run of the steps.
    pub(crate) fn refuse(subject: &str, problems: &[StepProblem]) -> Result<(), Failure> {
        // A workflow of many steps usually lacks one server. It is named once, with the steps that call it.
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
        let message = format!("{subject} cannot run here:{causes}");
        let mut helps: Vec<&str> = by_cause.values().filter_map(|(_, help)| *help).collect();
        helps.dedup();
        helps.truncate(SHOWN_HELPS);
        let help = (!helps.is_empty()).then(|| helps.join("; "));
        Err(Failure::new(Exit::Invalid, message).maybe_help(help))
    }
}

/// Returns the calls of a plan with the paths of their steps.
fn calls(plan: &Plan) -> impl Iterator<Item = (&str, &CallStep)> {
    plan.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Call(call) => Some((step.path.as_str(), call.as_ref())),
        StepKind::Set(_) | StepKind::Parallel { .. } => None,
    })
}

const NAME_A_FILE_HELP: &str = "write one with an object `mcpServers`, or name it with --mcp-config or \
                                  LONGSHORE_MCP_CONFIG";

/// Number of problems that are shown; the others are counted. A foreign workflow or servers file may have thousands.
const SHOWN_PROBLEMS: usize = 20;

/// Number of hints that are shown with the problems.
const SHOWN_HELPS: usize = 5;

/// Returns the first problems, each on its own line, and the number of the others.
fn lines_of(problems: impl ExactSizeIterator<Item = String>) -> String {
    let more = problems.len().saturating_sub(SHOWN_PROBLEMS);
    let more = (more > 0).then(|| format!("and {more} more"));
    problems.take(SHOWN_PROBLEMS).chain(more).map(|line| format!("\n  {line}")).collect()
}

/// Number of steps that are named for one cause.
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
    fn missing_server_is_reported_with_its_steps_and_the_known_servers() {
        let file = r#"{"mcpServers": {"tables": {"command": "t"}, "git": {"command": "${NOT_SET}"}}}"#;
        let (message, help) = refusal(&servers(Some(file)));
        assert!(message.starts_with("the workflow `demo` cannot run here:"), "{message}");
        assert!(message.contains("steps `a`, `b`: there is no server `tabels` in .mcp.json"), "{message}");
        assert!(message.contains("step `c`: the server `git` of .mcp.json cannot be used: "), "{message}");
        assert_eq!(help.as_deref(), Some("did you mean `tables`? Known: `tables`"));
    }

    #[test]
    fn missing_servers_file_is_reported() {
        let (message, help) = refusal(&servers(None));
        assert!(message.contains("there is no servers file .mcp.json with the server `git`"), "{message}");
        assert_eq!(help.as_deref(), Some(NAME_A_FILE_HELP));
    }

    #[test]
    fn servers_that_can_be_called_are_no_problem() {
        let file = r#"{"mcpServers": {"tabels": {"command": "t"}, "git": {"url": "http://localhost/mcp"}}}"#;
        assert_eq!(refusal(&servers(Some(file))), (String::new(), None));
    }
}
