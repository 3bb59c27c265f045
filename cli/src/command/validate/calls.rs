//! Checks the calls of a workflow against the servers file and the tools that servers list.

use std::collections::BTreeMap;

use longshore_proto::{ServerName, StepPath};
use longshore_suggest::closest;
use longshore_worker::mcp::{CallFault, Tool, ToolList};
use longshore_workflow::{CallFinding, CallMistake, CallStep, Plan, StepKind, WrittenCall};

use crate::command::servers::unknown_tool_help;
use crate::output::one_line;
use crate::schema::{ArgumentMistake, mistakes};
use crate::servers_file::{ServersFile, StepProblem, some_of};

/// The tools of each server, or the fault of the request for them.
pub(super) type ToolLists = BTreeMap<ServerName, Result<ToolList, CallFault>>;

/// Checks calls against these servers and tools.
pub(super) struct CallChecker<'s> {
    pub(super) servers: &'s ServersFile,
    pub(super) tools: &'s ToolLists,
}

/// A problem of the server or the tool of a call, which other calls of the same tool have too.
#[derive(Eq, PartialEq)]
struct CallProblem {
    mistake: CallMistake,
    message: String,
    help: Option<String>,
}

impl CallChecker<'_> {
    /// Returns the problems of calls: servers and tools that are missing, and arguments that do not fit. Arguments are
    /// checked only with a plan, which has them.
    pub(super) fn findings(&self, calls: &[WrittenCall], plan: Option<&Plan>) -> Vec<CallFinding> {
        let planned = plan.map(planned).unwrap_or_default();
        let mut problems: Vec<(CallProblem, Vec<&StepPath>)> = Vec::new();
        let mut found = Vec::new();
        for call in calls {
            let planned = planned.get(call.step.as_str());
            match (self.tool(call), planned) {
                (Err(problem), _) => match problems.iter_mut().find(|(known, _)| *known == problem) {
                    Some((_, steps)) => steps.push(&call.step),
                    None => problems.push((problem, vec![&call.step])),
                },
                (Ok(Some(tool)), Some(planned)) => found.extend(of_arguments(call, planned, tool)),
                (Ok(_), _) => {}
            }
            found.extend(plan.zip(planned).into_iter().flat_map(|(plan, call)| self.of_secrets(plan, call)));
        }
        found.extend(problems.into_iter().filter_map(|(problem, steps)| of_problem(problem, &steps)));
        // The names of arguments and tools come from the servers, and may contain secrets.
        let hide = |text: String| self.servers.without_secrets(text);
        let hidden = found.into_iter().map(|finding| CallFinding {
            message: hide(finding.message),
            help: finding.help.map(hide),
            ..finding
        });
        hidden.collect()
    }

    /// Returns the tool of a call if the tools of its server were requested.
    fn tool(&self, call: &WrittenCall) -> Result<Option<&Tool>, CallProblem> {
        let WrittenCall { server, tool, .. } = call;
        // Without a servers file, the names of the servers are not known.
        if self.servers.exists()
            && let Some((message, help)) = self.servers.lack(server)
        {
            let unusable = self.servers.unusable().map(|(name, _)| name);
            let is_there = unusable.chain(self.servers.disabled()).any(|name| name == server);
            let mistake = if is_there { CallMistake::UnusableServer } else { CallMistake::UnknownServer };
            return Err(CallProblem { mistake, message, help });
        }
        match self.tools.get(server) {
            None => Ok(None),
            Some(Err(CallFault { fault, .. })) => {
                let message =
                    format!("the server `{server}` cannot be asked: {}", one_line(&fault.to_string()));
                let help = Some("`longshore servers list` shows the state of each server".to_owned());
                Err(CallProblem { mistake: CallMistake::UnusableServer, message, help })
            }
            Some(Ok(list)) => match list.tools.iter().find(|listed| listed.name == *tool) {
                Some(tool) => Ok(Some(tool)),
                None => Err(unlisted(call, list)),
            },
        }
    }

    /// Returns the secret inputs in the arguments of a call that get no value. If the server itself is unusable, only that
    /// is reported.
    fn of_secrets(&self, plan: &Plan, (step, call): &(&StepPath, &CallStep)) -> Vec<CallFinding> {
        if self.servers.lack(&call.server).is_some() {
            return Vec::new();
        }
        let unbound = self.servers.unbound_secrets(plan, step.as_str(), call).into_iter();
        let finding = |StepProblem { message, help, .. }| CallFinding {
            step: (*step).clone(),
            mistake: CallMistake::UnboundSecret,
            message,
            help,
        };
        unbound.map(finding).collect()
    }
}

/// Returns the calls of a plan by their paths.
fn planned(plan: &Plan) -> BTreeMap<&str, (&StepPath, &CallStep)> {
    let calls = plan.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Call(call) => Some((step.path.as_str(), (&step.path, call.as_ref()))),
        StepKind::Set(_) | StepKind::Parallel { .. } => None,
    });
    calls.collect()
}

fn of_arguments(
    call: &WrittenCall,
    (step, planned): &(&StepPath, &CallStep),
    tool: &Tool,
) -> Vec<CallFinding> {
    let target = format!("{}/{}", call.server, call.tool);
    let found = mistakes(&target, &planned.with.entries(), &tool.input_schema).into_iter();
    let finding = |ArgumentMistake { mistake, message, help }| CallFinding {
        step: (*step).clone(),
        mistake,
        message,
        help: Some(help),
    };
    found.map(finding).collect()
}

/// Returns the finding at the first of the steps, which names them all.
fn of_problem(
    CallProblem { mistake, message, help }: CallProblem,
    steps: &[&StepPath],
) -> Option<CallFinding> {
    let step = (*steps.first()?).clone();
    let names: Vec<&str> = steps.iter().map(|step| step.as_str()).collect();
    // The message is last, since it may end with several lines of a server.
    let message = if steps.len() > 1 { format!("{}: {message}", some_of(&names)) } else { message };
    Some(CallFinding { step, mistake, message, help })
}

/// Returns the problem of a call whose tool is not listed. A server that changes its list may add the tool later, unless the
/// name is similar to one of those that it lists.
fn unlisted(call: &WrittenCall, list: &ToolList) -> CallProblem {
    let WrittenCall { server, tool, .. } = call;
    let help = unknown_tool_help(&list.tools, tool.as_str());
    let names = list.tools.iter().map(|tool| tool.name.as_str());
    let is_left_out = list.left_out.contains_key(tool.as_str());
    if list.changes && !is_left_out && closest(tool.as_str(), names).is_none() {
        let message = format!(
            "the server `{server}` does not list the tool `{tool}` now, and declares that its list changes while it runs"
        );
        return CallProblem { mistake: CallMistake::UnlistedTool, message, help };
    }
    let message = format!("the server `{server}` has no tool `{tool}`");
    CallProblem { mistake: CallMistake::UnknownTool, message, help }
}
