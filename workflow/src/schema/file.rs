//! The top-level keys of a workflow.

use super::DraftBuilder;
use super::fields::{SHORTEST_TIMEOUT, get};
use super::foreign;
use super::step_keys::is_step_key;
use super::unbuilt;
use crate::codes::Code;
use crate::diagnostics::Diagnostic;
use crate::document::{DocumentNode, FIRST_LINE, MapEntry, NodeKind};
use crate::source::{Span, shorten};

/// The supported keys. Keys that begin with `x-` are allowed as well.
const KEYS: [&str; 9] =
    ["longshore", "name", "description", "labels", "inputs", "defaults", "timeout", "steps", "outputs"];

/// The largest number of labels of a workflow, and the largest sizes of their names and values. Every run has a copy, in
/// its state and in lists.
pub const LABELS_LIMIT: usize = 16;
const LABEL_NAME_LIMIT_BYTES: usize = 63;
const LABEL_LIMIT_CHARS: usize = 128;

impl DraftBuilder<'_, '_> {
    /// Reads the whole file. Returns `None` if it is not a workflow.
    pub(super) fn file(&mut self, root: &DocumentNode) -> Option<()> {
        let NodeKind::Map(entries) = &root.kind else {
            if root.is_refused() {
                return None;
            }
            let message = format!("a workflow is a map, and this is {}", root.type_name());
            let span = self.node_span(root);
            self.refuse(Diagnostic::new(Code::NotAMap, span, message).help(FIRST_LINE));
            return None;
        };
        self.version(entries)?;
        self.file_keys(entries);
        let name = self.required(entries, "name", "as in `name: summarize-article`");
        self.draft.name = name.and_then(|entry| self.name(entry));
        let description = get(entries, "description").and_then(|entry| self.text(entry));
        self.draft.description = description.map(str::to_owned);
        get(entries, "labels").into_iter().for_each(|entry| self.labels(entry));
        get(entries, "inputs").into_iter().for_each(|entry| self.inputs(entry));
        get(entries, "defaults").into_iter().for_each(|entry| self.defaults(entry));
        self.draft.timeout = get(entries, "timeout").and_then(|entry| self.duration(entry, SHORTEST_TIMEOUT));
        if let Some(entry) =
            self.required(entries, "steps", "add a list of steps, as in `steps: [{ call: server/tool }]`")
        {
            self.steps(entry, None);
        }
        get(entries, "outputs").into_iter().for_each(|entry| self.outputs(entry));
        Some(())
    }

    /// Checks the version of the format. Returns `None` if the file has another version or another format, so that further
    /// checks would not apply.
    fn version(&mut self, entries: &[MapEntry]) -> Option<()> {
        let Some(entry) = get(entries, "longshore") else {
            return self.no_version(entries);
        };
        let span = self.value_span(entry);
        let message = "this version of Longshore reads `longshore: v1`";
        match &entry.value.kind {
            NodeKind::Text(version) if version == "v1" => return Some(()),
            NodeKind::Text(version)
                if version.strip_prefix('v').is_some_and(|rest| !rest.starts_with("1.")) =>
            {
                self.refuse(Diagnostic::new(Code::Version, span, message));
                return None;
            }
            NodeKind::Refused => {}
            _ => self.refuse(Diagnostic::new(Code::Version, span, message)),
        }
        Some(())
    }

    fn no_version(&mut self, entries: &[MapEntry]) -> Option<()> {
        let first = entries.first().map_or_else(Span::default, |first| first.key_span);
        if get(entries, "mcpServers").is_some() {
            let message = "this is a servers file, and no workflow";
            let help = "give it with --mcp-config, and name a workflow, which begins with `longshore: v1`";
            self.refuse(Diagnostic::new(Code::MissingKey, first, message).help(help));
            return None;
        }
        if let Some(format) = foreign::format(entries) {
            let message = format!("this is {format}, and Longshore does not read it");
            let help = "a workflow begins with `longshore: v1`, and has a `name` and a list of `steps`, each with \
                        `call: server/tool`";
            self.refuse(Diagnostic::new(Code::MissingKey, first, message).help(help));
            return None;
        }
        if !entries.is_empty() && ["name", "steps"].iter().all(|key| get(entries, key).is_none()) {
            let message = "this is no workflow: it has neither `longshore` nor `name` and `steps`";
            let help = "a workflow begins with `longshore: v1`; a file of inputs is given with --input-file";
            self.refuse(Diagnostic::new(Code::MissingKey, first, message).help(help));
            return None;
        }
        self.required(entries, "longshore", "begin the file with `longshore: v1`");
        Some(())
    }

    fn required<'e>(&mut self, entries: &'e [MapEntry], key: &str, help: &str) -> Option<&'e MapEntry> {
        let entry = get(entries, key);
        if entry.is_none() {
            let first = entries.first().map_or_else(|| Span::new(0, 0), |first| first.key_span);
            let message = format!("the workflow has no `{key}`");
            self.refuse(Diagnostic::new(Code::MissingKey, first, message).help(help));
        }
        entry
    }

    fn file_keys(&mut self, entries: &[MapEntry]) {
        for entry in entries {
            let key = entry.key.as_str();
            if key.starts_with("x-") || self.unbuilt(entry, &unbuilt::FILE_KEYS) || KEYS.contains(&key) {
                continue;
            }
            let help = match foreign::file_key(key) {
                Some(help) => help.to_owned(),
                None if is_step_key(key) => "it belongs to a step, below `steps`".to_owned(),
                None => {
                    self.unknown_key(entry, &KEYS, "a workflow");
                    continue;
                }
            };
            let message = format!("a workflow has no key `{key}`");
            self.refuse(Diagnostic::new(Code::UnknownKey, entry.key_span, message).help(help));
        }
    }

    fn name(&mut self, entry: &MapEntry) -> Option<longshore_proto::WorkflowName> {
        let text = self.text(entry)?;
        let name = text.parse().ok();
        if name.is_none() {
            let message = format!("`{}` is not a workflow name", shorten(text));
            let rule = "1 to 63 of a-z, 0-9 and `-`, not beginning or ending with `-`";
            let help = match slug(text) {
                Some(slug) => format!("write `{slug}`: {rule}"),
                None => rule.to_owned(),
            };
            let span = self.value_span(entry);
            self.refuse(Diagnostic::new(Code::BadName, span, message).help(help));
        }
        name
    }

    fn labels(&mut self, entry: &MapEntry) {
        let labels = self.map(entry, "as in `labels: { team: billing }`").unwrap_or_default();
        if labels.len() > LABELS_LIMIT {
            let message =
                format!("a workflow has at most {LABELS_LIMIT} labels, and these are {}", labels.len());
            self.refuse(Diagnostic::new(Code::Label, entry.key_span, message));
        }
        for label in labels.iter().take(LABELS_LIMIT) {
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
            if label.key.len() > LABEL_NAME_LIMIT_BYTES
                || !label.key.chars().all(is_name)
                || label.key.is_empty()
            {
                let message = format!("`{}` is no name of a label", label.key);
                self.refuse(Diagnostic::new(Code::Label, label.key_span, message));
            }
            let Some(text) = self.text(label) else { continue };
            if text.chars().count() > LABEL_LIMIT_CHARS || text.chars().any(char::is_control) {
                let message = format!("the label `{}` is too long, or has control characters", label.key);
                self.refuse(Diagnostic::new(Code::Label, self.value_span(label), message));
            } else {
                self.draft.labels.insert(label.key.clone(), text.to_owned());
            }
        }
    }

    fn defaults(&mut self, entry: &MapEntry) {
        let entries = self.map(entry, "it has `timeout` and `retry`").unwrap_or_default();
        self.refuse_unknown_keys(entries, &["timeout", "retry"], "`defaults`");
        self.draft.default_timeout =
            get(entries, "timeout").and_then(|entry| self.duration(entry, SHORTEST_TIMEOUT));
        if let Some(entry) = get(entries, "retry") {
            self.draft.default_retry = self.retry(entry);
        }
    }

    fn outputs(&mut self, entry: &MapEntry) {
        for output in
            self.map(entry, "as in `outputs: { id: \"${{ steps.store.output.id }}\" }`").unwrap_or_default()
        {
            let name = self.field_name(&output.key, output.key_span, "name of an output");
            let template = self.template(&output.value);
            self.draft.outputs.extend(name.map(|name| (name.value, template)));
        }
        self.draft.references = std::mem::take(&mut self.references);
    }
}

/// Converts a text to a workflow name: in lower case, with `-` for invalid characters. Returns `None` for an address, whose password
/// could not be recognised any more.
fn slug(text: &str) -> Option<String> {
    if text.contains("://") {
        return None;
    }
    let lower =
        text.chars().take(80).map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let slug: String = lower.collect();
    let slug = slug.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    slug.parse::<longshore_proto::WorkflowName>().is_ok().then_some(slug)
}
