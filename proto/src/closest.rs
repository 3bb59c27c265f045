//! "Did you mean": the known word that is closest to an unknown one.

/// The similarity below which a suggestion is more puzzling than helpful (Jaro-Winkler, 0 to 1). It finds words with
/// another ending.
const SIMILAR_ENOUGH: f64 = 0.8;

/// One slip for so many letters (a letter too much, missing, wrong, or swapped with the next): it finds short words.
const LETTERS_PER_SLIP: usize = 3;

/// Words longer than this are not compared: the cost grows with the square of the length.
const WORD_LIMIT_CHARS: usize = 64;

/// Known words that are compared. They may be the keys of a value of megabytes, and the comparison runs while a record is
/// applied.
const KNOWN_LIMIT: usize = 200;

/// Pairs of letters that are compared, over all known words: about 2 ms of work.
const PAIRS_LIMIT: usize = 200_000;

/// Returns the closest of `known` to `word`, if any is close. Dashes and underscores count as the same. The first known words
/// are compared, up to a bound in words and in pairs of letters.
pub fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.chars().nth(WORD_LIMIT_CHARS).is_some() {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let word = plain(word);
    let letters = word.chars().count();
    let (mut pairs, mut best) = (0, None);
    for candidate in known.into_iter().take(KNOWN_LIMIT) {
        if candidate.chars().nth(WORD_LIMIT_CHARS).is_some() {
            continue;
        }
        let compared = plain(candidate);
        pairs += letters * compared.chars().count();
        if pairs > PAIRS_LIMIT {
            break;
        }
        let similarity = strsim::jaro_winkler(&word, &compared);
        let is_close = similarity >= SIMILAR_ENOUGH
            || strsim::osa_distance(&word, &compared) <= letters / LETTERS_PER_SLIP;
        // Of equally close words the last one counts.
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
    fn only_close_words_are_suggested() {
        let known = ["timeout", "retry", "continue-on-error"];
        assert_eq!(closest("tiemout", known), Some("timeout"));
        assert_eq!(closest("continue_on_error", known), Some("continue-on-error"));
        assert_eq!(closest("colour", known), None);
        assert_eq!(closest("ulr", ["url"]), Some("url"));
        assert_eq!(closest("b", ["a"]), None);
        assert_eq!(closest(&"t".repeat(100_000), known), None);
        let long = "timeouts".repeat(100_000);
        let many = std::iter::repeat_n(long.as_str(), 1_000_000);
        assert_eq!(closest("timeout", many), None, "neither long words nor very many are compared");
        let long = "m".repeat(WORD_LIMIT_CHARS);
        let most = PAIRS_LIMIT / WORD_LIMIT_CHARS / WORD_LIMIT_CHARS;
        let after = |count| {
            closest(
                &long,
                std::iter::repeat_n("x".repeat(WORD_LIMIT_CHARS), count)
                    .chain([long.clone()])
                    .collect::<Vec<_>>()
                    .iter()
                    .map(String::as_str),
            )
            .is_some()
        };
        assert!(after(most - 1) && !after(most), "the work is bounded, not only the words");
    }
}
