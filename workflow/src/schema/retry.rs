//! The key `retry`: a number of attempts, or a map.

use std::collections::BTreeSet;
use std::time::Duration;

use longshore_proto::{Backoff, FaultClass};

use super::DraftBuilder;
use super::fields::get;
use crate::codes::Code;
use crate::diagnostics::Diagnostic;
use crate::document::{DocumentNode, MapEntry, NodeKind};
use crate::draft::RetryDraft;
use crate::plan::RETRYABLE;

/// The largest number of attempts at a step. Each attempt is recorded in the state of the run.
const ATTEMPTS_LIMIT: u64 = 1_000;

const KEYS: [&str; 6] = ["attempts", "delay", "max-delay", "backoff", "jitter", "errors"];

const BACKOFFS: [(&str, Backoff); 3] =
    [("none", Backoff::None), ("linear", Backoff::Linear), ("exponential", Backoff::Exponential)];

impl DraftBuilder<'_, '_> {
    pub(super) fn retry(&mut self, entry: &MapEntry) -> RetryDraft {
        match &entry.value.kind {
            NodeKind::Number(_) => RetryDraft { attempts: self.attempts(entry), ..RetryDraft::default() },
            NodeKind::Map(entries) => self.retry_map(entries),
            _ => {
                let help = "as in `retry: 3`, or `retry: { attempts: 3, delay: 2s }`";
                self.wrong_type(entry, "a number of attempts or a map", help);
                RetryDraft::default()
            }
        }
    }

    fn retry_map(&mut self, entries: &[MapEntry]) -> RetryDraft {
        self.refuse_unknown_keys(entries, &KEYS, "`retry`");
        let retry = RetryDraft {
            attempts: get(entries, "attempts").and_then(|entry| self.attempts(entry)),
            delay: get(entries, "delay").and_then(|entry| self.duration(entry, Duration::ZERO)),
            max_delay: get(entries, "max-delay").and_then(|entry| self.duration(entry, Duration::ZERO)),
            backoff: get(entries, "backoff").and_then(|entry| self.word(entry, &BACKOFFS)),
            jitter: get(entries, "jitter").and_then(|entry| self.boolean(entry)),
            errors: get(entries, "errors").and_then(|entry| self.errors(entry)),
        };
        if let (Some(delay), Some(longest), Some(entry)) =
            (retry.delay, retry.max_delay, get(entries, "max-delay"))
            && longest < delay
        {
            let message = "`max-delay` is shorter than `delay`";
            let span = self.value_span(entry);
            self.refuse(Diagnostic::new(Code::OutOfRange, span, message).help("make it at least as long"));
        }
        retry
    }

    /// Reads the number of attempts in total, which includes the first one and so is at least 1.
    fn attempts(&mut self, entry: &MapEntry) -> Option<u32> {
        let NodeKind::Number(number) = &entry.value.kind else {
            self.wrong_type(
                entry,
                "a whole number",
                "the first try counts: `attempts: 3` tries at most three times",
            );
            return None;
        };
        let attempts = number.as_u64().filter(|attempts| (1..=ATTEMPTS_LIMIT).contains(attempts));
        if attempts.is_none() {
            let message = format!("`{}` is a whole number from 1 to {ATTEMPTS_LIMIT}", entry.key);
            let span = self.value_span(entry);
            self.refuse(Diagnostic::new(Code::OutOfRange, span, message).help("the first try counts"));
        }
        attempts.and_then(|attempts| u32::try_from(attempts).ok())
    }

    fn errors(&mut self, entry: &MapEntry) -> Option<BTreeSet<FaultClass>> {
        let items = self.list(entry, "as in `errors: [timeout, unavailable]`")?;
        Some(items.iter().flat_map(|item| self.classes(item)).collect())
    }

    /// Returns the classes that a word means.
    fn classes(&mut self, item: &DocumentNode) -> Vec<FaultClass> {
        let word = match &item.kind {
            NodeKind::Text(word) => word.as_str(),
            _ => "",
        };
        if word == "any" {
            return RETRYABLE.to_vec();
        }
        if item.is_refused() {
            return Vec::new();
        }
        let found = RETRYABLE.into_iter().find(|class| class.as_str() == word);
        if found.is_none() {
            let allowed: Vec<_> = RETRYABLE.iter().map(|class| class.as_str()).chain(["any"]).collect();
            let span = self.node_span(item);
            self.not_allowed(span, "errors", self.source.slice(span), &allowed);
        }
        found.into_iter().collect()
    }
}
