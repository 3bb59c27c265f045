//! Cost estimates of regular expressions, computed before they are compiled or matched.
//!
//! The engine matches in time proportional to the text times the pattern, and a pattern of 20 bytes can have thousands
//! of states: `[ab]*a[ab]{3000}z` takes 15 s for 200 kB. The estimates depend on the pattern's text alone, so they are
//! equal on every machine, and a decision that depends on them can be replayed.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Weight of one character class that has characters outside of ASCII: it is a small automaton over UTF-8.
const UNICODE_CLASS_WEIGHT: u64 = 8;

/// Bytes of text, multiplied by the weight of the pattern, that are matched for one unit of work (100 ns).
const WEIGHTED_BYTES_PER_UNIT: u64 = 8;

/// The largest size of a compiled pattern, in bytes. The default of the engine, 10 MiB, is far more than a condition or a
/// schema needs.
pub const PATTERN_LIMIT_BYTES: usize = 256 * 1024;

/// Returns the cost of matching a text with a pattern of this [weight](pattern_weight), in units of about 100 ns.
pub fn match_units(text: &str, weight: u64) -> u64 {
    let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
    bytes.saturating_mul(weight) / WEIGHTED_BYTES_PER_UNIT
}

/// Returns the weight of a pattern: about the number of its states, with counted repetitions expanded. Matching a text
/// takes at most 12 ns for each byte and each unit of weight (measured with `regex` 1.13). Returns `None` for an invalid
/// pattern.
pub fn pattern_weight(pattern: &str) -> Option<u64> {
    regex_syntax::parse(pattern).ok().map(|hir| weight(&hir))
}

fn weight(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => u64::try_from(literal.0.len()).unwrap_or(u64::MAX),
        HirKind::Class(Class::Unicode(class)) if !class.is_ascii() => UNICODE_CLASS_WEIGHT,
        HirKind::Class(_) => 1,
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or_else(|| repetition.min.saturating_add(1)).max(1);
            weight(&repetition.sub).saturating_add(1).saturating_mul(u64::from(times))
        }
        HirKind::Capture(capture) => weight(&capture.sub).saturating_add(1),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().fold(1, |sum, part| sum.saturating_add(weight(part)))
        }
    }
}

/// Returns the number of parts of a pattern that may have to be case-folded over much of Unicode, which takes up to 20 ms
/// each while the pattern is parsed. An upper bound, computed from the text.
pub fn wide_case_folds(pattern: &str) -> u64 {
    let is_case_insensitive = pattern.split("(?").skip(1).any(|group| {
        group.chars().take_while(|flag| flag.is_ascii_alphabetic() || *flag == '-').any(|flag| flag == 'i')
    });
    if !is_case_insensitive {
        return 0;
    }
    let escapes = pattern.matches('\\').count();
    let negated = pattern.matches("[^").count();
    let beyond_ascii = pattern.chars().filter(|character| !character.is_ascii()).count();
    u64::try_from(escapes + negated + beyond_ascii).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_repetitions_multiply_the_weight() {
        let cases = [
            ("abc", Some(3)),
            ("[ab]*a[ab]{3000}z", Some(6_005)),
            ("(?:a{100}){100}", Some(10_200)),
            (r"^\w+@\w+\.\w+$", Some(59)),
            ("(", None),
        ];
        for (pattern, expected) in cases {
            let found = pattern_weight(pattern);
            assert!(
                found.zip(expected).map_or(found == expected, |(a, b)| a.abs_diff(b) <= b),
                "{pattern}: {found:?}"
            );
        }
        assert_eq!(
            pattern_weight("[ab]*a[ab]{3000}z"),
            Some(6_005),
            "replaying a log needs the same weights"
        );
    }

    #[test]
    fn only_case_insensitive_patterns_have_wide_folds() {
        assert_eq!(wide_case_folds(r"\pL\pN[^a]ü"), 0);
        assert_eq!(wide_case_folds("(?i)error|warning"), 0);
        assert_eq!(wide_case_folds(r"(?s-u:(?i)[\x{0}-\x{10FFFF}&&\pL])"), 3);
        assert_eq!(wide_case_folds("(?i:[^a]ü)"), 2);
    }
}
