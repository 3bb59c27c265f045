//! Suggestions for help texts: the known name that is most similar to an unknown one.
//!
//! A crate of its own, because the workflow language, the worker and the command line all need it, and their common
//! dependency `longshore-proto` should not depend on text distances. No I/O.

/// The least similarity of a suggestion (Jaro-Winkler, 0 to 1); less similar names confuse more than they help. This
/// measure finds names with another ending.
const MIN_SIMILARITY: f64 = 0.8;

/// Number of characters of a name for each accepted edit (an inserted, missing, wrong or transposed character). This
/// measure finds short names.
const CHARS_PER_EDIT: usize = 3;

/// The longest name that is compared, in characters: the cost grows with the square of the length.
const NAME_LIMIT_CHARS: usize = 64;

/// The largest number of known names that are compared. They may be the keys of a value of megabytes, and the comparison
/// runs while a record is applied.
const KNOWN_LIMIT: usize = 200;

/// The largest number of pairs of characters that are compared, over all known names: about 2 ms of work.
const PAIRS_LIMIT: usize = 200_000;

/// Returns the name in `known` that is most similar to `name`, if one is similar enough. Dashes and underscores are equal.
/// Compares the first known names only, up to a limit of names and a limit of pairs of characters.
pub fn closest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if name.chars().nth(NAME_LIMIT_CHARS).is_some() {
        return None;
    }
    let normalized = |text: &str| text.to_lowercase().replace('_', "-");
    let name = normalized(name);
    let length = name.chars().count();
    let (mut pairs, mut best) = (0, None);
    for candidate in known.into_iter().take(KNOWN_LIMIT) {
        if candidate.chars().nth(NAME_LIMIT_CHARS).is_some() {
            continue;
        }
        let compared = normalized(candidate);
        pairs += length * compared.chars().count();
        if pairs > PAIRS_LIMIT {
            break;
        }
        let similarity = strsim::jaro_winkler(&name, &compared);
        let is_close =
            similarity >= MIN_SIMILARITY || strsim::osa_distance(&name, &compared) <= length / CHARS_PER_EDIT;
        // The last one of equally similar names wins.
        if is_close && best.is_none_or(|(most, _)| similarity >= most) {
            best = Some((similarity, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_names_are_suggested() {
        let known = ["timeout", "retry", "continue-on-error"];
        assert_eq!(closest("tiemout", known), Some("timeout"));
        assert_eq!(closest("continue_on_error", known), Some("continue-on-error"));
        assert_eq!(closest("colour", known), None);
        assert_eq!(closest("ulr", ["url"]), Some("url"));
        assert_eq!(closest("b", ["a"]), None);
        assert_eq!(closest(&"t".repeat(100_000), known), None);
        let long = "timeouts".repeat(100_000);
        let many = std::iter::repeat_n(long.as_str(), 1_000_000);
        assert_eq!(closest("timeout", many), None, "long names are not compared, and neither are very many");
        let long = "m".repeat(NAME_LIMIT_CHARS);
        let most = PAIRS_LIMIT / NAME_LIMIT_CHARS / NAME_LIMIT_CHARS;
        let after = |count| {
            closest(
                &long,
                std::iter::repeat_n("x".repeat(NAME_LIMIT_CHARS), count)
                    .chain([long.clone()])
                    .collect::<Vec<_>>()
                    .iter()
                    .map(String::as_str),
            )
            .is_some()
        };
        assert!(after(most - 1) && !after(most), "the number of compared pairs is bounded too");
    }
}
