//! "Did you mean": the known word that is closest to an unknown one.

/// The similarity below which a suggestion is more puzzling than helpful (Jaro-Winkler, 0 to 1). It finds words with
/// another ending.
const SIMILAR_ENOUGH: f64 = 0.8;

/// One slip for so many letters (a letter too much, missing, wrong, or swapped with the next): it finds short words.
const LETTERS_PER_SLIP: usize = 3;

/// Words longer than this are not compared: the cost grows with the square of the length.
const WORD_LIMIT_CHARS: usize = 64;

/// Of more known words only the first are compared, at about 1 µs each: they may be the keys of a value of megabytes, and the
/// comparison runs while a record is applied.
const KNOWN_LIMIT: usize = 200;

/// The closest of `known` to `word`, if any is close. Dashes and underscores count as the same.
pub fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.chars().nth(WORD_LIMIT_CHARS).is_some() {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let word = plain(word);
    known
        .into_iter()
        .take(KNOWN_LIMIT)
        .filter(|candidate| candidate.chars().nth(WORD_LIMIT_CHARS).is_none())
        .map(|candidate| (strsim::jaro_winkler(&word, &plain(candidate)), candidate))
        .filter(|(similarity, candidate)| {
            let slips = strsim::osa_distance(&word, &plain(candidate));
            *similarity >= SIMILAR_ENOUGH || slips <= word.chars().count() / LETTERS_PER_SLIP
        })
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
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
    }
}
