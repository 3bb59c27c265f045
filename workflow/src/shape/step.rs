//! Steps: their common keys, and those of each kind.

use std::time::Duration;

use longshore_proto::{OnToolError, ServerName, ToolName};
use serde_json::{Map, Value};

use super::Shaper;
use super::fields::get;
use super::unbuilt;
use crate::codes::Code;
use crate::diagnostics::Diagnostic;
use crate::document::{Entry, Kind, Node};
use crate::draft::{CallDraft, KindDraft, StepDraft};
use crate::source::{Placed, Span};
use crate::template::{Part, Template};

/// The most steps of a workflow: a run keeps the state of each in memory.
pub(super) const STEPS_LIMIT: usize = 1_000;

/// Every key of the language that a step can have.
const KEYS: [&str; 31] = [
    "id",
    "name",
    "if",
    "needs",
    "call",
    "workflow",
    "with",
    "set",
    "parallel",
    "for-each",
    "as",
    "max-parallel",
    "fail-fast",
    "tolerate",
    "repeat",
    "switch",
    "else",
    "approve",
    "wait",
    "emit",
    "fail",
    "steps",
    "output",
    "timeout",
    "retry",
    "continue-on-error",
    "on-tool-error",
    "idempotency-key",
    "fallback",
    "compensate",
    "cache",
];

/// The kinds that are built.
const KINDS: [&str; 3] = ["call", "set", "parallel"];

/// Keys that not every kind has, and whose they are.
const OWNERS: [(&str, &[&str]); 12] = [
    ("with", &["call", "workflow"]),
    ("timeout", &["call", "parallel"]),
    ("retry", &["call"]),
    ("on-tool-error", &["call"]),
    ("idempotency-key", &["call"]),
    ("as", &["for-each"]),
    ("max-parallel", &["for-each"]),
    ("fail-fast", &["for-each"]),
    ("tolerate", &["for-each"]),
    ("else", &["switch"]),
    ("steps", &["for-each", "repeat"]),
    ("output", &["for-each", "repeat"]),
];

const MOMENT: Duration = Duration::from_millis(1);

impl Shaper<'_, '_> {
    /// Reads a list of steps; gives their numbers.
    pub(super) fn steps(&mut self, entry: &Entry, parent: Option<usize>) -> Vec<usize> {
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
            if self.full {
                break;
            }
            if self.draft.steps.len() == STEPS_LIMIT {
                self.full = true;
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

    fn step(&mut self, node: &Node, parent: Option<usize>, previous: Option<usize>) -> Option<usize> {
        let Kind::Map(entries) = &node.kind else {
            let message = format!("a step is a map, and this is {}", node.type_name());
            let span = self.node_span(node);
            self.refuse(Diagnostic::new(Code::WrongType, span, message).help("as in `- call: server/tool`"));
            return None;
        };
        let span = entries.first().map_or_else(|| self.node_span(node), |first| first.key_span);
        let number = self.draft.steps.len();
        let (step, members) = self.step_map(entries, span, parent, previous);
        self.draft.steps.push(step);
        // The members follow their group, so that a group always has the smaller number.
        if let Some(entry) = members {
            let timeout = get(entries, "timeout").and_then(|entry| self.duration(entry, MOMENT));
            let members = self.steps(entry, Some(number));
            if let Some(step) = self.draft.steps.get_mut(number) {
                step.kind = KindDraft::Parallel { members, timeout };
            }
        }
        Some(number)
    }

    /// A step, and the entry that holds its members if it is a group.
    fn step_map<'e>(
        &mut self,
        entries: &'e [Entry],
        span: Span,
        parent: Option<usize>,
        previous: Option<usize>,
    ) -> (StepDraft, Option<&'e Entry>) {
        let id = get(entries, "id").and_then(|entry| self.id(entry));
        let name = get(entries, "name").and_then(|entry| self.text(entry)).map(str::to_owned);
        let condition = get(entries, "if").and_then(|entry| self.condition(entry));
        let needs = get(entries, "needs").and_then(|entry| self.needs(entry));
        let continue_on_error =
            get(entries, "continue-on-error").and_then(|entry| self.boolean(entry)).unwrap_or(false);
        let kind_entry = self.kind(entries, span);
        let built = kind_entry.filter(|entry| KINDS.contains(&entry.key.as_str()));
        self.step_keys(entries, built.map(|entry| entry.key.as_str()));
        let kind = match built.map(|entry| (entry.key.as_str(), entry)) {
            Some(("call", entry)) => self.call(entry, entries),
            Some(("set", entry)) => self.set(entry),
            _ => KindDraft::Refused,
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
        (step, built.filter(|entry| entry.key == "parallel"))
    }

    fn id(&mut self, entry: &Entry) -> Option<Placed<String>> {
        let text = self.text(entry)?;
        let span = self.value_span(entry);
        self.identifier(text, span, "id")
    }

    fn needs(&mut self, entry: &Entry) -> Option<Vec<Placed<String>>> {
        let items = self.list(entry, "as in `needs: [fetch]`")?;
        let mut needs = Vec::new();
        for item in items {
            let span = self.node_span(item);
            match &item.kind {
                Kind::Text(id) => needs.push(Placed { value: id.clone(), span }),
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

    /// The one key that says what the step does, if there is exactly one. Those not built are refused here.
    fn kind<'e>(&mut self, entries: &'e [Entry], span: Span) -> Option<&'e Entry> {
        let is_unbuilt = |key: &str| unbuilt::KINDS.iter().any(|(kind, _)| *kind == key);
        let kinds: Vec<_> = entries
            .iter()
            .filter(|entry| KINDS.contains(&entry.key.as_str()) || is_unbuilt(&entry.key))
            .collect();
        for kind in &kinds {
            self.unbuilt(kind, &unbuilt::KINDS);
        }
        match kinds.as_slice() {
            [] => {
                let help = "add `call: server/tool`, `set:` or `parallel:`";
                self.refuse(
                    Diagnostic::new(Code::NoKind, span, "this step does not say what to do").help(help),
                );
                None
            }
            [one] => Some(one),
            [first, second, ..] => {
                let message =
                    format!("a step does one thing, and this one has `{}` and `{}`", first.key, second.key);
                let help = "make them steps of their own";
                self.refuse(Diagnostic::new(Code::SeveralKinds, second.key_span, message).help(help));
                None
            }
        }
    }

    /// Refuses keys that are unknown, not built, or of another kind than this step's.
    fn step_keys(&mut self, entries: &[Entry], kind: Option<&str>) {
        for entry in entries {
            let key = entry.key.as_str();
            if !KEYS.contains(&key) {
                self.unknown_key(entry, &KEYS, "a step");
                continue;
            }
            if self.unbuilt(entry, &unbuilt::STEP_KEYS) {
                continue;
            }
            let owners = OWNERS.iter().find(|(owned, _)| *owned == key).map(|(_, owners)| *owners);
            if let (Some(owners), Some(kind)) = (owners, kind)
                && !owners.contains(&kind)
            {
                let message = format!("a `{kind}` step has no `{key}`");
                let help = format!("it belongs to {}", crate::suggest::listed(owners.iter().copied()));
                self.refuse(Diagnostic::new(Code::KeyOfOtherKind, entry.key_span, message).help(help));
            }
        }
    }

    fn call(&mut self, entry: &Entry, entries: &[Entry]) -> KindDraft {
        let reference = self.tool(entry);
        let with = match get(entries, "with") {
            Some(with) => self.arguments(with),
            None => Template::new(Part::Constant(Value::Object(Map::new()))),
        };
        let words = [("fail", OnToolError::Fail), ("output", OnToolError::Output)];
        let timeout = get(entries, "timeout").and_then(|entry| self.duration(entry, MOMENT));
        let retry = get(entries, "retry").map(|entry| self.retry(entry));
        let on_tool_error = get(entries, "on-tool-error").and_then(|entry| self.word(entry, &words));
        let idempotency_key = get(entries, "idempotency-key").and_then(|entry| self.key(entry));
        let Some((server, tool)) = reference else { return KindDraft::Refused };
        let on_tool_error = on_tool_error.unwrap_or_default();
        KindDraft::Call(Box::new(CallDraft {
            server,
            tool,
            with,
            timeout,
            retry,
            idempotency_key,
            on_tool_error,
        }))
    }

    /// `server/tool`, split at the first slash: the names of tools may hold slashes and dots.
    fn tool(&mut self, entry: &Entry) -> Option<(ServerName, ToolName)> {
        let text = self.text(entry)?;
        let help =
            "write `call: server/tool`, with the name that the server has in the worker's configuration";
        let problem = match text.split_once('/') {
            None => "a call names a server and a tool".to_owned(),
            Some((server, tool)) => match (server.parse(), tool.parse()) {
                (Ok(server), Ok(tool)) => return Some((server, tool)),
                (Err(error), _) | (_, Err(error)) => error.to_string(),
            },
        };
        let span = self.value_span(entry);
        self.refuse(Diagnostic::new(Code::BadCall, span, problem).help(help));
        None
    }

    fn arguments(&mut self, entry: &Entry) -> Template {
        if self.map(entry, "the arguments of the tool by name").is_none() {
            return Template::new(Part::Constant(Value::Null));
        }
        self.in_arguments = true;
        let template = self.template(&entry.value);
        self.in_arguments = false;
        template
    }

    fn key(&mut self, entry: &Entry) -> Option<Template> {
        if matches!(entry.value.kind, Kind::Text(_)) {
            return Some(self.template(&entry.value));
        }
        self.wrong_type(entry, "text", "as in `charge-${{ inputs.order_id }}`");
        None
    }

    fn set(&mut self, entry: &Entry) -> KindDraft {
        if self.map(entry, "values by name, as in `set: { total: ${{ ... }} }`").is_none() {
            return KindDraft::Refused;
        }
        KindDraft::Set(self.template(&entry.value))
    }
}
