//! Readers for steps, with their common keys and the keys of each kind.

use longshore_proto::{OnToolError, ServerName, ToolName};
use serde_json::{Map, Value};

use super::DraftBuilder;
use super::fields::{SHORTEST_TIMEOUT, get};
use super::foreign;
use crate::codes::Code;
use crate::diagnostics::Diagnostic;
use crate::document::{DocumentNode, MapEntry, NodeKind};
use crate::draft::{CallDraft, StepDraft, StepKindDraft};
use crate::expr::find::OPEN;
use crate::source::{Span, Spanned, shorten};
use crate::template::{Template, TemplateNode};

/// The largest number of steps of a workflow. A run has the state of each in memory.
pub(crate) const STEPS_LIMIT: usize = 1_000;

impl DraftBuilder<'_, '_> {
    /// Reads a list of steps and returns their indices.
    pub(super) fn steps(&mut self, entry: &MapEntry, parent: Option<usize>) -> Vec<usize> {
        let Some(items) = self.list(entry, "a list of steps, each beginning with `- `") else {
            return Vec::new();
        };
        if items.is_empty() {
            let message = format!("`{}` has no steps", entry.key);
            self.refuse(
                Diagnostic::new(Code::NoSteps, entry.key_span, message)
                    .help("add a step, as in `- call: server/tool`"),
            );
        }
        let mut numbers = Vec::new();
        for item in items {
            if self.is_full {
                break;
            }
            if self.draft.steps.len() == STEPS_LIMIT {
                self.is_full = true;
                let message = format!("the workflow has more than {STEPS_LIMIT} steps");
                let span = self.node_span(item);
                self.refuse(
                    Diagnostic::new(Code::TooManySteps, span, message)
                        .help("let several smaller workflows do it"),
                );
                break;
            }
            let previous = if parent.is_none() { numbers.last().copied() } else { None };
            numbers.extend(self.step(item, parent, previous));
        }
        numbers
    }

    fn step(&mut self, node: &DocumentNode, parent: Option<usize>, previous: Option<usize>) -> Option<usize> {
        let NodeKind::Map(entries) = &node.kind else {
            if node.is_refused() {
                return None;
            }
            let message = format!("a step is a map, and this is {}", node.type_name());
            let span = self.node_span(node);
            self.refuse(Diagnostic::new(Code::WrongType, span, message).help("as in `- call: server/tool`"));
            return None;
        };
        let span = entries.first().map_or_else(|| self.node_span(node), |first| first.key_span);
        let number = self.draft.steps.len();
        let (step, members) = self.step_map(entries, span, parent, previous);
        self.draft.steps.push(step);
        // The members follow their group, so the index of a group is smaller than those of its members.
        if let Some(entry) = members {
            let timeout = get(entries, "timeout").and_then(|entry| self.duration(entry, SHORTEST_TIMEOUT));
            let members = self.steps(entry, Some(number));
            if let Some(step) = self.draft.steps.get_mut(number) {
                step.kind = StepKindDraft::Parallel { members, timeout };
            }
        }
        Some(number)
    }

    /// Reads a step. Returns the draft, and for a group the entry with its members.
    fn step_map<'e>(
        &mut self,
        entries: &'e [MapEntry],
        span: Span,
        parent: Option<usize>,
        previous: Option<usize>,
    ) -> (StepDraft, Option<&'e MapEntry>) {
        let id = get(entries, "id").and_then(|entry| self.id(entry));
        let name = get(entries, "name").and_then(|entry| self.text(entry)).map(str::to_owned);
        let condition = get(entries, "if").and_then(|entry| {
            let span = self.value_span(entry);
            self.condition(entry).map(|value| Spanned { value, span })
        });
        let needs = get(entries, "needs").and_then(|entry| self.needs(entry));
        let continue_on_error =
            get(entries, "continue-on-error").and_then(|entry| self.boolean(entry)).unwrap_or(false);
        let kind_entry = self.kind(entries, span);
        self.step_keys(entries, kind_entry.map(|entry| entry.key.as_str()));
        let kind = match kind_entry.map(|entry| (entry.key.as_str(), entry)) {
            Some(("call", entry)) => self.call(entry, entries),
            Some(("set", entry)) => self.set(entry),
            _ => StepKindDraft::Refused,
        };
        let references = std::mem::take(&mut self.references);
        let step = StepDraft {
            span,
            id,
            name,
            parent,
            previous,
            needs,
            condition,
            continue_on_error,
            kind,
            references,
        };
        (step, kind_entry.filter(|entry| entry.key == "parallel"))
    }

    fn id(&mut self, entry: &MapEntry) -> Option<Spanned<String>> {
        if !matches!(entry.value.kind, NodeKind::Text(_)) {
            self.wrong_type(entry, "text", "letters, digits and `_`, as in `id: fetch`");
            return None;
        }
        let text = self.text(entry)?;
        let span = self.value_span(entry);
        self.identifier(text, span, "id")
    }

    fn needs(&mut self, entry: &MapEntry) -> Option<Vec<Spanned<String>>> {
        let help = match &entry.value.kind {
            NodeKind::Text(id) => format!("write `needs: [{}]`", shorten(id)),
            _ => "as in `needs: [fetch]`".to_owned(),
        };
        let items = self.list(entry, &help)?;
        let mut needs = Vec::new();
        for item in items {
            let span = self.node_span(item);
            match &item.kind {
                NodeKind::Text(id) => needs.push(Spanned { value: id.clone(), span }),
                NodeKind::Refused => {}
                _ => {
                    let message =
                        format!("`needs` names steps by their ids, and this is {}", item.type_name());
                    self.refuse(
                        Diagnostic::new(Code::WrongType, span, message).help("as in `needs: [fetch]`"),
                    );
                }
            }
        }
        Some(needs)
    }

    fn call(&mut self, entry: &MapEntry, entries: &[MapEntry]) -> StepKindDraft {
        let reference = self.tool(entry);
        let with = match get(entries, "with") {
            Some(with) => self.arguments(with),
            None => Template::new(TemplateNode::Constant(Value::Object(Map::new()))),
        };
        let words = [("fail", OnToolError::Fail), ("output", OnToolError::Output)];
        let timeout = get(entries, "timeout").and_then(|entry| self.duration(entry, SHORTEST_TIMEOUT));
        let max_timeout =
            get(entries, "max-timeout").and_then(|entry| self.duration(entry, SHORTEST_TIMEOUT));
        let retry = get(entries, "retry").map(|entry| self.retry(entry));
        let on_tool_error = get(entries, "on-tool-error").and_then(|entry| self.word(entry, &words));
        let idempotency_key = get(entries, "idempotency-key").and_then(|entry| self.key(entry));
        let Some((server, tool)) = reference else { return StepKindDraft::Refused };
        let on_tool_error = on_tool_error.unwrap_or_default();
        StepKindDraft::Call(Box::new(CallDraft {
            server,
            tool,
            with,
            timeout,
            max_timeout,
            retry,
            idempotency_key,
            on_tool_error,
        }))
    }

    /// Parses `server/tool`, split at the first slash, since names of tools may contain slashes and dots.
    fn tool(&mut self, entry: &MapEntry) -> Option<(ServerName, ToolName)> {
        let text = self.text(entry)?;
        let problem = match text.split_once('/') {
            None => "a call names a server and a tool".to_owned(),
            Some((server, tool)) => match (server.parse(), tool.parse()) {
                (Ok(server), Ok(tool)) => return Some((server, tool)),
                (Err(error), _) | (_, Err(error)) => error.to_string(),
            },
        };
        let span = self.value_span(entry);
        let help = match foreign::tool(text) {
            Some(tool) => format!("write `call: {tool}`"),
            None => {
                "write `call: server/tool`, with the name that the server has in the worker's configuration"
                    .to_owned()
            }
        };
        self.refuse(Diagnostic::new(Code::BadCall, span, problem).help(help));
        None
    }

    fn arguments(&mut self, entry: &MapEntry) -> Template {
        let help = match &entry.value.kind {
            NodeKind::Text(text) if text.contains(OPEN) => {
                "write each argument by its name; `${{ inputs.?limit }}` leaves its argument out where the input is absent"
            }
            _ => "the arguments of the tool by name",
        };
        if self.map(entry, help).is_none() {
            return Template::new(TemplateNode::Constant(Value::Null));
        }
        self.is_in_arguments = true;
        let template = self.template(&entry.value);
        self.is_in_arguments = false;
        template
    }

    fn key(&mut self, entry: &MapEntry) -> Option<Template> {
        let example = "as in `charge-${{ inputs.order_id }}`";
        match &entry.value.kind {
            NodeKind::Text(text) if text.is_empty() => {
                let message = format!("`{}` is empty", entry.key);
                let problem = Diagnostic::new(Code::NotAllowed, self.value_span(entry), message);
                self.refuse(problem.help(format!("{example}, or leave it out")));
                None
            }
            NodeKind::Text(_) => Some(self.template(&entry.value)),
            _ => {
                self.wrong_type(entry, "text", example);
                None
            }
        }
    }

    fn set(&mut self, entry: &MapEntry) -> StepKindDraft {
        if self.map(entry, "values by name, as in `set: { total: \"${{ inputs.a + inputs.b }}\" }`").is_none()
        {
            return StepKindDraft::Refused;
        }
        StepKindDraft::Set(self.template(&entry.value))
    }
}
