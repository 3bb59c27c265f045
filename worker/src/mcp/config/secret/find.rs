//! Search of secret values in a text.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::FormUse;
use super::joined::JoinedLines;
use super::token::is_whole_token;

/// The values that were found in a text.
#[derive(Debug, Default)]
pub(super) struct FoundSecrets {
    /// Parts of the text that are values, in order and without overlaps.
    pub(super) parts: Vec<Range<usize>>,
    /// Descriptions of the variables and headers with these values.
    pub(super) origins: BTreeSet<Arc<str>>,
}

/// A search for all forms, in one pass over a text and a second one over its joined lines.
#[derive(Debug)]
pub(super) struct SecretFinder {
    all: FormFinder,
    base64: FormFinder,
}

/// A search for a set of forms. If there are too many forms for an automaton, each is searched separately.
#[derive(Debug)]
struct FormFinder {
    automaton: Option<AhoCorasick>,
    forms: Vec<(String, FormUse)>,
}

impl SecretFinder {
    /// Creates the search for all forms. Those in `base64` may be broken into lines.
    pub(super) fn new(texts: &BTreeMap<String, FormUse>, base64: &BTreeMap<String, FormUse>) -> Self {
        let mut all = texts.clone();
        super::merge(&mut all, base64.clone());
        Self { all: FormFinder::new(all), base64: FormFinder::new(base64.clone()) }
    }

    pub(super) fn find(&self, text: &str) -> FoundSecrets {
        let mut found = self.all.find(text);
        if let Some(joined) = JoinedLines::of(text) {
            let in_lines = self.base64.find(&joined.text);
            if !in_lines.parts.is_empty() {
                found.parts.extend(in_lines.parts.iter().map(|part| joined.original(part)));
                found.parts = merged(found.parts);
                found.origins.extend(in_lines.origins);
            }
        }
        found
    }
}

impl FormFinder {
    /// Creates the search. It finds overlapping matches too, because the rest of an overlapping value would be shown otherwise. It
    /// uses no DFA, which the library would choose for few forms: its construction takes quadratic time for a long secret that
    /// repeats itself.
    fn new(forms: BTreeMap<String, FormUse>) -> Self {
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let automaton =
            AhoCorasick::builder().kind(kind).match_kind(MatchKind::Standard).build(forms.keys()).ok();
        Self { automaton, forms: forms.into_iter().collect() }
    }

    fn find(&self, text: &str) -> FoundSecrets {
        let Some(automaton) = &self.automaton else { return self.find_one_by_one(text) };
        let mut found = FoundSecrets::default();
        if !automaton.is_match(text) {
            return found;
        }
        // The matches are ordered by their ends.
        for matched in automaton.find_overlapping_iter(text) {
            let mut part = matched.range();
            let Some((_, of)) = self.forms.get(matched.pattern().as_usize()) else { continue };
            if of.is_whole_token && !is_whole_token(text, &part) {
                continue;
            }
            found.origins.extend(of.origins.iter().cloned());
            while let Some(last) = found.parts.pop_if(|last| last.end > part.start) {
                part.start = part.start.min(last.start);
            }
            found.parts.push(part);
        }
        found
    }

    fn find_one_by_one(&self, text: &str) -> FoundSecrets {
        let mut found = FoundSecrets::default();
        for (form, of) in &self.forms {
            let parts = text.match_indices(form.as_str()).map(|(at, form)| at..at + form.len());
            let counted: Vec<_> =
                parts.filter(|part| !of.is_whole_token || is_whole_token(text, part)).collect();
            if !counted.is_empty() {
                found.origins.extend(of.origins.iter().cloned());
                found.parts.extend(counted);
            }
        }
        found.parts = merged(found.parts);
        found
    }
}

/// Returns the parts in order, with overlapping parts merged.
pub(super) fn merged(mut parts: Vec<Range<usize>>) -> Vec<Range<usize>> {
    parts.sort_unstable_by_key(|part| part.start);
    parts.dedup_by(|next, part| {
        let overlaps = next.start < part.end;
        if overlaps {
            part.end = part.end.max(next.end);
        }
        overlaps
    });
    parts
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::Secrets;
    use super::*;

    fn in_lines(encoded: &str, columns: usize, end: &str) -> String {
        let lines: Vec<&str> =
            encoded.as_bytes().chunks(columns).map(|line| std::str::from_utf8(line).expect("text")).collect();
        lines.join(end)
    }

    #[test]
    fn value_in_base64_is_found_in_lines_of_any_length_at_any_offset() {
        let value = "sk-l1ve-0123456789-abcdefghij-0123456789-klmnopqrst-0123456789-uvwxyz";
        let mut secrets = Secrets::default();
        secrets.add(value);
        for before in 0..80 {
            let whole = format!("{}{value} and more", "x".repeat(before));
            let encoded = STANDARD.encode(&whole);
            for columns in [20, 60, 64, 76] {
                for end in ["\n", "\r\n", "\\n", "\\r\\n", "\n    "] {
                    let hidden = secrets.hide(&in_lines(&encoded, columns, end)).replace(end, "");
                    let kept: Vec<&str> = hidden.split("***").collect();
                    // All characters that depend only on the value are hidden; the others belong to the text around it.
                    assert_eq!(kept.len(), 2, "{hidden}");
                    assert!(encoded.len() - kept.concat().len() >= (value.len() * 8 - 10) / 6, "{hidden}");
                    assert!(encoded.starts_with(kept[0]) && encoded.ends_with(kept[1]), "{hidden}");
                }
            }
        }
    }

    #[test]
    fn separate_search_finds_the_same_parts_as_the_automaton() {
        let token = FormUse { is_whole_token: true, ..FormUse::default() };
        let forms = ["token-1", "token-1-and-more", "more-so", "x"];
        let forms = forms.map(|form| (form.to_owned(), FormUse::default()));
        let forms = forms.into_iter().chain([("token".to_owned(), token)]).collect();
        let text = "token-1-and-more-so, token-1; xx token tokens";
        let finder = FormFinder::new(forms);
        let found = finder.find(text);
        assert_eq!(found.parts, [0..19, 21..28, 30..31, 31..32, 33..38]);
        assert_eq!(finder.find_one_by_one(text).parts, found.parts);
    }
}
