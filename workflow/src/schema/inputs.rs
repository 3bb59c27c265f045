//! The key `inputs`: the declarations of inputs.

use serde_json::Value;

use super::DraftBuilder;
use super::fields::get;
use super::unbuilt;
use crate::codes::Code;
use crate::diagnostics::Diagnostic;
use crate::document::{DocumentNode, MapEntry, NodeKind};
use crate::expr::find::OPEN;
use crate::inputs::secret_name;
use crate::plan::{InputSpec, InputType, ItemSpec};

const KEYS: [&str; 7] = ["type", "items", "required", "default", "description", "format", "secret"];

const ITEM_KEYS: [&str; 3] = ["type", "items", "description"];

/// The largest depth of nested lists: more dimensions than inputs in practice have.
const NESTED_LISTS_LIMIT: usize = 8;

impl DraftBuilder<'_, '_> {
    /// Reads the declared inputs. The names of refused ones are kept, so that uses of them are not reported as well.
    pub(super) fn inputs(&mut self, entry: &MapEntry) {
        for input in self.map(entry, "as in `inputs: { url: { type: string } }`").unwrap_or_default() {
            let before = self.draft.inputs.len();
            let spec = self.input(input);
            self.draft.inputs.extend(spec);
            if self.draft.inputs.len() == before {
                self.draft.refused_inputs.insert(input.key.clone());
            }
        }
    }

    fn input(&mut self, input: &MapEntry) -> Option<InputSpec> {
        let name = self.field_name(&input.key, input.key_span, "name of an input");
        let entries = self.map(input, "as in `url: { type: string, required: true }`")?;
        self.rules(entries, &KEYS, "an input");
        let kind = self.input_type(entries);
        let items = self.items(entries, kind, 1);
        let required = get(entries, "required").and_then(|entry| self.boolean(entry)).unwrap_or(false);
        let description = get(entries, "description").and_then(|entry| self.text(entry)).map(str::to_owned);
        // `format` is for readers and other tools, as in JSON Schema. Values are not checked against it.
        get(entries, "format").map(|entry| self.text(entry));
        let secret = get(entries, "secret").and_then(|entry| self.boolean(entry)).unwrap_or(false);
        let kind = if secret { self.secret_type(entries, kind) } else { kind };
        let nameless = String::new();
        let mut spec =
            InputSpec { name: nameless, kind, items, required, default: None, description, secret };
        spec.default = get(entries, "default").map(|entry| self.default(entry, &spec));
        name.map(|name| InputSpec { name: name.value, ..spec })
    }

    /// Refuses keys that are not in `known`: rules of JSON Schema as not built yet, others as unknown.
    fn rules(&mut self, entries: &[MapEntry], known: &[&str], place: &str) {
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            if unbuilt::INPUT_RULES.contains(&entry.key.as_str()) {
                self.not_built(entry, Code::InputRule);
            } else {
                self.unknown_key(entry, known, place);
            }
        }
    }

    fn input_type(&mut self, entries: &[MapEntry]) -> Option<InputType> {
        let types = InputType::ALL.map(|kind| (kind.as_str(), kind));
        get(entries, "type").and_then(|entry| self.word(entry, &types))
    }

    /// Returns the type of a secret input, which is text, and refuses other types.
    fn secret_type(&mut self, entries: &[MapEntry], kind: Option<InputType>) -> Option<InputType> {
        if let Some(other) = kind.filter(|kind| *kind != InputType::String)
            && let Some(entry) = get(entries, "type")
        {
            let message = format!("a secret is text, and this input is of type `{}`", other.as_str());
            let span = self.value_span(entry);
            let help = "write `type: string`, or leave `type` out";
            self.refuse(Diagnostic::new(Code::SecretInput, span, message).help(help));
        }
        Some(InputType::String)
    }

    /// Reads the type of the items of a list. `level` is the number of lists around them.
    fn items(&mut self, around: &[MapEntry], kind: Option<InputType>, level: usize) -> Option<ItemSpec> {
        let entry = get(around, "items")?;
        if kind != Some(InputType::Array) {
            self.items_of_no_list(entry, kind, get(around, "type").is_some());
            return None;
        }
        if level > NESTED_LISTS_LIMIT {
            let message = format!("more than {NESTED_LISTS_LIMIT} lists are nested");
            let help = "leave `items` out here: what is deeper is not checked then";
            self.refuse(Diagnostic::new(Code::BadItems, entry.key_span, message).help(help));
            return None;
        }
        let entries = self.map(entry, "as in `items: { type: string }`")?;
        self.rules(entries, &ITEM_KEYS, "`items`");
        let kind = self.input_type(entries);
        get(entries, "description").map(|entry| self.text(entry));
        let items = self.items(entries, kind, level + 1).map(Box::new);
        Some(ItemSpec { kind, items })
    }

    fn items_of_no_list(&mut self, entry: &MapEntry, kind: Option<InputType>, has_type: bool) {
        let (message, help) = match kind {
            Some(kind) => {
                let message = format!("only a list has `items`, and this is of type `{}`", kind.as_str());
                (message, "remove `items`, or write `type: array`")
            }
            None if has_type => return, // refused already
            None => {
                ("only a list has `items`, and nothing says that this is one".to_owned(), "add `type: array`")
            }
        };
        self.refuse(Diagnostic::new(Code::BadItems, entry.key_span, message).help(help));
    }

    fn default(&mut self, entry: &MapEntry, spec: &InputSpec) -> Value {
        let value = entry.value.to_json();
        if entry.value.is_refused() {
            return value;
        }
        if has_expression(&entry.value) {
            self.no_expression(self.value_span(entry), "the default of an input");
        } else if spec.secret {
            if secret_name(&value).is_none() {
                let message =
                    "the default of a secret input names a secret of the workers, and this does not";
                let help = "as in `default: secret:CARD_TOKEN`; the value itself is never part of a workflow";
                // Underline the key: the value may be the secret.
                self.refuse(Diagnostic::new(Code::SecretInput, entry.key_span, message).help(help));
            }
        } else if let Some(mismatch) = spec.type_mismatch(&value) {
            let (place, wanted) = (mismatch.place(), mismatch.wanted.as_str());
            let node = mismatch.path().try_fold(&entry.value, item).unwrap_or(&entry.value);
            let found = node.type_name();
            let (span, message) = if place.is_empty() {
                let message = format!("the default is {found}, and the input is of type `{wanted}`");
                (self.value_span(entry), message)
            } else {
                let message =
                    format!("`{place}` of the default is {found}, and `items` wants type `{wanted}`");
                (self.node_span(node), message)
            };
            let quoted = self.quoted(node).filter(|_| mismatch.wanted == InputType::String);
            let help = quoted.map_or_else(
                || "change the default or the type".to_owned(),
                |quoted| format!("write `{quoted}`, with the quotes, or change the type"),
            );
            self.refuse(Diagnostic::new(Code::DefaultType, span, message).help(help));
        }
        value
    }
}

fn item(node: &DocumentNode, number: usize) -> Option<&DocumentNode> {
    match &node.kind {
        NodeKind::List(items) => items.get(number),
        _ => None,
    }
}

fn has_expression(node: &DocumentNode) -> bool {
    match &node.kind {
        NodeKind::Text(text) => text.contains(OPEN),
        NodeKind::List(items) => items.iter().any(has_expression),
        NodeKind::Map(entries) => entries.iter().any(|entry| has_expression(&entry.value)),
        NodeKind::Null | NodeKind::Bool(_) | NodeKind::Number(_) | NodeKind::Refused => false,
    }
}
