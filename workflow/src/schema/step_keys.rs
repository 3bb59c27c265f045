//! The keys of steps, by kind, and the key that selects the kind.

use super::DraftBuilder;
use super::fields::get;
use super::foreign;
use super::unbuilt;
use crate::codes::Code;
use crate::diagnostics::Diagnostic;
use crate::document::{MapEntry, NodeKind};
use crate::source::{Span, shorten};
use crate::suggest::{did_you_mean, listed};

/// Keys of all steps.
const COMMON: [&str; 5] = ["id", "name", "if", "needs", "continue-on-error"];

/// The supported kinds, each with its keys apart from the common ones.
const KINDS: [(&str, &[&str]); 3] = [
    ("call", &["with", "timeout", "max-timeout", "retry", "on-tool-error", "idempotency-key"]),
    ("set", &[]),
    ("parallel", &["timeout"]),
];

/// Keys of kinds that are not built yet.
const KEYS_OF_UNBUILT_KINDS: [(&str, &str); 7] = [
    ("as", "`for-each`"),
    ("max-parallel", "`for-each`"),
    ("fail-fast", "`for-each`"),
    ("tolerate", "`for-each`"),
    ("else", "`switch`"),
    ("steps", "`for-each` and `repeat`"),
    ("output", "`for-each` and `repeat`"),
];

impl DraftBuilder<'_, '_> {
    /// Returns the entry that selects the kind of the step. `None` if there is not exactly one, or if its kind is not built
    /// yet, both of which are reported.
    pub(super) fn kind<'e>(&mut self, entries: &'e [MapEntry], span: Span) -> Option<&'e MapEntry> {
        let kinds: Vec<_> = entries
            .iter()
            .filter(|entry| is_kind(&entry.key) || unbuilt_code(&unbuilt::KINDS, &entry.key).is_some())
            .collect();
        for kind in kinds.iter().filter(|kind| !is_kind(&kind.key)) {
            self.unbuilt(kind, &unbuilt::KINDS);
        }
        match kinds.as_slice() {
            [] => {
                let is_explained = |key: &str| {
                    foreign::step_kind(key).is_some() || unbuilt_spelling(&unbuilt::KINDS, key).is_some()
                };
                if !entries.iter().any(|entry| is_explained(&entry.key)) {
                    self.no_kind(entries, span);
                }
                None
            }
            [one] => Some(*one).filter(|one| is_kind(&one.key)),
            [first, second, ..] => {
                let message =
                    format!("a step does one thing, and this one has `{}` and `{}`", first.key, second.key);
                let help = "make them steps of their own";
                self.refuse(Diagnostic::new(Code::SeveralKinds, second.key_span, message).help(help));
                None
            }
        }
    }

    fn no_kind(&mut self, entries: &[MapEntry], span: Span) {
        let help = match get(entries, "steps").map(|entry| &entry.value.kind) {
            Some(NodeKind::List(_)) => {
                "write steps inside a step under `parallel`, which starts them together"
            }
            _ => "add `call: server/tool`, `set:` or `parallel:`",
        };
        let message = "this step does not say what to do";
        self.refuse(Diagnostic::new(Code::NoKind, span, message).help(help));
    }

    /// Refuses keys that are unknown, not built yet, or keys of another kind.
    pub(super) fn step_keys(&mut self, entries: &[MapEntry], kind: Option<&str>) {
        for entry in entries {
            let key = entry.key.as_str();
            let is_known = COMMON.contains(&key)
                || is_kind(key)
                || unbuilt_code(&unbuilt::KINDS, key).is_some()
                || self.unbuilt(entry, &unbuilt::STEP_KEYS);
            if !is_known && !self.key_of_kind(entry, kind) {
                self.unknown_step_key(entry, kind);
            }
        }
    }

    /// Refuses a key that only other kinds have. Returns false if no kind has the key.
    fn key_of_kind(&mut self, entry: &MapEntry, kind: Option<&str>) -> bool {
        let key = entry.key.as_str();
        let of_unbuilt = KEYS_OF_UNBUILT_KINDS.iter().find(|(owned, _)| *owned == key);
        let owners: Vec<_> =
            KINDS.iter().filter(|(_, keys)| keys.contains(&key)).map(|(kind, _)| *kind).collect();
        let help = match (owners.as_slice(), of_unbuilt) {
            ([], None) => return false,
            ([], Some((_, owners))) => format!("remove it: it belongs to {owners}, not built yet"),
            _ => format!("it belongs to {}", listed(owners.iter().copied())),
        };
        if let Some(kind) = kind.filter(|kind| !owners.contains(kind)) {
            let message = format!("a `{kind}` step has no `{key}`");
            self.refuse(Diagnostic::new(Code::KeyOfOtherKind, entry.key_span, message).help(help));
        }
        true
    }

    fn unknown_step_key(&mut self, entry: &MapEntry, kind: Option<&str>) {
        let key: String = shorten(&entry.key);
        let kebab = foreign::kebab(&key);
        let unbuilt_kind = unbuilt_spelling(&unbuilt::KINDS, &key);
        if let Some((name, code)) = unbuilt_kind.or_else(|| unbuilt_spelling(&unbuilt::STEP_KEYS, &key)) {
            let message =
                format!("`{key}` is `{name}` here, which is part of the language and not built yet");
            return self.refuse(Diagnostic::new(code, entry.key_span, message).help(unbuilt::instead(code)));
        }
        let known = keys_of(kind);
        let message = format!("a step has no key `{key}`");
        let help = match foreign::step_kind(&key) {
            // If the step has a kind already, the key means something else.
            Some(help) if kind.is_none() => Some(help.to_owned()),
            _ => None,
        };
        let help = help
            .or_else(|| known.contains(&kebab.as_str()).then(|| format!("write `{kebab}`")))
            .or_else(|| foreign::step_key(entry, &known))
            .or_else(|| {
                let is_crowded = self.report.is_crowded();
                if is_crowded { None } else { did_you_mean(&key, known.iter().copied()) }
            });
        let help = help.unwrap_or_else(|| match kind {
            Some("call") => {
                format!(
                    "an argument of the tool belongs below `with`; {}",
                    keys_help(kind.unwrap_or_default(), &known)
                )
            }
            Some(kind) => keys_help(kind, &known),
            None => format!("a step has {}", listed(known.iter().copied())),
        });
        self.refuse(Diagnostic::new(Code::UnknownKey, entry.key_span, message).help(help));
    }
}

/// Returns a help text with the keys of a kind of step.
fn keys_help(kind: &str, keys: &[&str]) -> String {
    format!("a `{kind}` step has {}", listed(keys.iter().copied()))
}

/// Returns true if the key selects a supported kind.
fn is_kind(key: &str) -> bool {
    KINDS.iter().any(|(kind, _)| *kind == key)
}

/// Returns the code for a key that is not built yet, with the key from the table.
fn unbuilt_code(table: &[(&'static str, Code)], key: &str) -> Option<(&'static str, Code)> {
    table.iter().find(|(known, _)| *known == key).copied()
}

/// Returns the keys of a kind, or of all supported kinds. Keys that are not built yet are omitted, so that help does not lead
/// to another refusal.
fn keys_of(kind: Option<&str>) -> Vec<&'static str> {
    let mut keys: Vec<&str> = COMMON.to_vec();
    for (name, owned) in KINDS.iter().filter(|(name, _)| kind.is_none_or(|kind| kind == *name)) {
        keys.push(name);
        let new: Vec<_> = owned.iter().filter(|key| !keys.contains(key)).copied().collect();
        keys.extend(new);
    }
    keys
}

/// Returns true for a key of a step.
pub(super) fn is_step_key(key: &str) -> bool {
    keys_of(None).contains(&key)
}

/// Returns the code for a key that is not built yet and is written in another way, such as `forEach` and `foreach`, with the
/// key from the table.
fn unbuilt_spelling(table: &[(&'static str, Code)], key: &str) -> Option<(&'static str, Code)> {
    let letters = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    table.iter().find(|(known, _)| letters(known) == letters(key)).copied()
}
