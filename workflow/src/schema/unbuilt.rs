//! Parts of the language that this version does not support. Each is refused with a code of its own.

use super::DraftBuilder;
use crate::codes::Code;
use crate::diagnostics::Diagnostic;
use crate::document::MapEntry;

/// Top-level keys.
pub(super) const FILE_KEYS: [(&str, Code); 4] = [
    ("triggers", Code::Triggers),
    ("concurrency", Code::Concurrency),
    ("on-failure", Code::OnFailure),
    ("finally", Code::Finally),
];

/// Kinds of steps.
pub(super) const KINDS: [(&str, Code); 8] = [
    ("workflow", Code::WorkflowStep),
    ("for-each", Code::ForEach),
    ("repeat", Code::Repeat),
    ("switch", Code::Switch),
    ("approve", Code::Approve),
    ("wait", Code::Wait),
    ("emit", Code::Emit),
    ("fail", Code::FailStep),
];

/// Keys of any step.
pub(super) const STEP_KEYS: [(&str, Code); 3] =
    [("fallback", Code::Fallback), ("compensate", Code::Compensate), ("cache", Code::Cache)];

/// Rules of JSON Schema for an input.
pub(super) const INPUT_RULES: [&str; 16] = [
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "properties",
    "additionalProperties",
    "oneOf",
];

impl DraftBuilder<'_, '_> {
    /// Refuses a key that is in the table. Returns true if it is.
    pub(super) fn unbuilt(&mut self, entry: &MapEntry, table: &[(&str, Code)]) -> bool {
        let found = table.iter().find(|(key, _)| *key == entry.key);
        if let Some((_, code)) = found {
            self.not_built(entry, *code);
        }
        found.is_some()
    }

    pub(super) fn not_built(&mut self, entry: &MapEntry, code: Code) {
        let message = format!("`{}` is part of the language and not built yet", entry.key);
        self.refuse(Diagnostic::new(code, entry.key_span, message).help(instead(code)));
    }
}

/// Returns the help with an alternative.
pub(super) const fn instead(code: Code) -> &'static str {
    match code {
        Code::Switch => "give each of the steps its own `if`",
        Code::ForEach => "write a step for each item, within `parallel` if they may run at the same time",
        Code::Fallback => {
            "write `continue-on-error: true`, and a later step with `if: steps.<id>.status == 'failed'`"
        }
        Code::Compensate => "write a later step with `if: failure()` that undoes this one",
        Code::Triggers => "remove it, and start runs with `longshore run`",
        Code::OnFailure => "write a last step with `if: failure()`",
        Code::Finally => "write a last step with `if: always()`",
        _ => "remove it for now",
    }
}
