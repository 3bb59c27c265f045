//! `inputs`: what a workflow takes.

use super::Shaper;
use super::fields::get;
use super::unbuilt;
use crate::codes::Code;
use crate::diagnostics::Diagnostic;
use crate::document::{Entry, Kind, Node};
use crate::expr::find::OPEN;
use crate::plan::{InputSpec, InputType};

const KEYS: [&str; 6] = ["type", "required", "default", "description", "format", "secret"];

impl Shaper<'_, '_> {
    pub(super) fn inputs(&mut self, entry: &Entry) {
        for input in self.map(entry, "as in `inputs: { url: { type: string } }`").unwrap_or_default() {
            let before = self.draft.inputs.len();
            let spec = self.input(input);
            self.draft.inputs.extend(spec);
            if self.draft.inputs.len() == before {
                self.draft.refused_inputs.insert(input.key.clone());
            }
        }
    }

    fn input(&mut self, input: &Entry) -> Option<InputSpec> {
        let name = self.identifier(&input.key, input.key_span, "name of an input");
        let entries = self.map(input, "as in `url: { type: string, required: true }`")?;
        for entry in entries.iter().filter(|entry| !KEYS.contains(&entry.key.as_str())) {
            if unbuilt::INPUT_RULES.contains(&entry.key.as_str()) {
                self.not_built(entry, Code::InputRule);
            } else {
                self.unknown_key(entry, &KEYS, "an input");
            }
        }
        let types = InputType::ALL.map(|kind| (kind.as_str(), kind));
        let kind = get(entries, "type").and_then(|entry| self.word(entry, &types));
        let required = get(entries, "required").and_then(|entry| self.boolean(entry)).unwrap_or(false);
        let description = get(entries, "description").and_then(|entry| self.text(entry)).map(str::to_owned);
        // A note for people and other tools, as in JSON Schema; nothing is checked by it.
        get(entries, "format").map(|entry| self.text(entry));
        if let Some(secret) = get(entries, "secret")
            && self.boolean(secret) == Some(true)
        {
            self.not_built(secret, Code::SecretInput);
        }
        let default = get(entries, "default").map(|entry| self.default(entry, kind));
        Some(InputSpec { name: name?.value, kind, required, default, description })
    }

    fn default(&mut self, entry: &Entry, kind: Option<InputType>) -> serde_json::Value {
        let value = entry.value.to_json();
        let span = self.value_span(entry);
        if has_expression(&entry.value) {
            self.no_expression(span, "the default of an input");
        } else if let Some(kind) = kind.filter(|kind| !kind.accepts(&value)) {
            let message = format!(
                "the default is {}, and the input is of type `{}`",
                entry.value.type_name(),
                kind.as_str()
            );
            self.refuse(
                Diagnostic::new(Code::DefaultType, span, message).help("change the default or the type"),
            );
        }
        value
    }
}

fn has_expression(node: &Node) -> bool {
    match &node.kind {
        Kind::Text(text) => text.contains(OPEN),
        Kind::List(items) => items.iter().any(has_expression),
        Kind::Map(entries) => entries.iter().any(|entry| has_expression(&entry.value)),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) => false,
    }
}
