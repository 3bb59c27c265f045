//! The calls of a workflow, compared with the servers file and with the tools that servers list.

use std::collections::BTreeMap;

use longshore_proto::StepPath;
use longshore_suggest::closest;
use longshore_worker::mcp::{CallFault, Tool, ToolList};
use longshore_workflow::{CallFinding, CallMistake, CallStep, Plan, StepKind, WrittenCall};

use super::Tools;
use crate::command::servers::lacks;
use crate::output::one_line;
use crate::schema::{Mistake, mistakes};
use crate::servers_file::{Problem, ServersFile, some_of};

/// What calls are compared with.
pub(super) struct Beside<'s> {
    pub(super) servers: &'s ServersFile,
    pub(super) tools: &'s Tools,
}

/// Something that is wrong with the server or the tool of a call, and so with every other call of the same.
#[derive(Eq, PartialEq)]
struct Lack {
    mistake: CallMistake,
    message: String,
    help: Option<String>,
}

impl Beside<'_> {
    /// Returns what keeps calls from being carried out, or from being taken by their tools. Arguments are compared if there is a
    /// plan, which has them.
    pub(super) fn findings(&self, calls: &[WrittenCall], plan: Option<&Plan>) -> Vec<CallFinding> {
        let planned = plan.map(planned).unwrap_or_default();
        let mut lacks: Vec<(Lack, Vec<&StepPath>)> = Vec::new();
        let mut found = Vec::new();
        for call in calls {
            let planned = planned.get(call.step.as_str());
            match (self.tool(call), planned) {
                (Err(lack), _) => match lacks.iter_mut().find(|(known, _)| *known == lack) {
                    Some((_, steps)) => steps.push(&call.step),
                    None => lacks.push((lack, vec![&call.step])),
                },
                (Ok(Some(tool)), Some(planned)) => found.extend(of_arguments(call, planned, tool)),
                (Ok(_), _) => {}
            }
            found.extend(plan.zip(planned).into_iter().flat_map(|(plan, call)| self.of_secrets(plan, call)));
        }
        found.extend(lacks.into_iter().filter_map(|(lack, steps)| of_lack(lack, &steps)));
        // The names of arguments and tools are those of the servers.
        let hide = |text: String| self.servers.without_secrets(text);
        let hidden = found.into_iter().map(|finding| CallFinding {
            message: hide(finding.message),
            help: finding.help.map(hide),
            ..finding
        });
        hidden.collect()
    }

    /// The tool of a call, if its server was asked.
    fn tool(&self, call: &WrittenCall) -> Result<Option<&Tool>, Lack> {
        let WrittenCall { server, tool, .. } = call;
        // Without a servers file nothing says which servers there are.
        if self.servers.exists()
            && let Some((message, help)) = self.servers.lack(server)
        {
            let unusable = self.servers.unusable().map(|(name, _)| name);
            let is_there = unusable.chain(self.servers.disabled()).any(|name| name == server);
            let mistake = if is_there { CallMistake::UnusableServer } else { CallMistake::UnknownServer };
            return Err(Lack { mistake, message, help });
        }
        match self.tools.get(server) {
            None => Ok(None),
            Some(Err(CallFault { fault, .. })) => {
                let message =
                    format!("the server `{server}` cannot be asked: {}", one_line(&fault.to_string()));
                let help = Some("`longshore servers list` says how each server does".to_owned());
                Err(Lack { mistake: CallMistake::UnusableServer, message, help })
            }
            Some(Ok(list)) => match list.tools.iter().find(|listed| listed.name == *tool) {
                Some(tool) => Ok(Some(tool)),
                None => Err(unlisted(call, list)),
            },
        }
    }

    /// Secret inputs in the arguments of a call that get no value. What is wrong with the server itself is reported alone.
    fn of_secrets(&self, plan: &Plan, (step, call): &(&StepPath, &CallStep)) -> Vec<CallFinding> {
        if self.servers.lack(&call.server).is_some() {
            return Vec::new();
        }
        let unbound = self.servers.unbound_secrets(plan, step.as_str(), call).into_iter();
        let finding = |Problem { message, help, .. }| CallFinding {
            step: (*step).clone(),
            mistake: CallMistake::UnboundSecret,
            message,
            help,
        };
        unbound.map(finding).collect()
    }
}

/// The calls of a plan by their paths.
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
    let finding = |Mistake { mistake, message, help }| CallFinding {
        step: (*step).clone(),
        mistake,
        message,
        help: Some(help),
    };
    found.map(finding).collect()
}

/// The finding at the first of the steps, which names them all.
fn of_lack(Lack { mistake, message, help }: Lack, steps: &[&StepPath]) -> Option<CallFinding> {
    let step = (*steps.first()?).clone();
    let names: Vec<&str> = steps.iter().map(|step| step.as_str()).collect();
    let message = if steps.len() > 1 { format!("{message}; {} call it", some_of(&names)) } else { message };
    Some(CallFinding { step, mistake, message, help })
}

/// The mistake of a call whose tool is not listed. A server that changes its list may add the tool later, unless the name looks
/// like a misspelt one of those that it lists.
fn unlisted(call: &WrittenCall, list: &ToolList) -> Lack {
    let WrittenCall { server, tool, .. } = call;
    let help = lacks(&list.tools, tool.as_str());
    let names = list.tools.iter().map(|tool| tool.name.as_str());
    let is_left_out = list.left_out.contains_key(tool.as_str());
    if list.changes && !is_left_out && closest(tool.as_str(), names).is_none() {
        let message = format!(
            "the server `{server}` does not list the tool `{tool}` now, and declares that its list changes while it runs"
        );
        return Lack { mistake: CallMistake::UnlistedTool, message, help };
    }
    let message = format!("the server `{server}` has no tool `{tool}`");
    Lack { mistake: CallMistake::UnknownTool, message, help }
}
