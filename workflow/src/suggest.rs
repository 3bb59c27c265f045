//! What help texts say about words: which one was meant, and which ones there are.

use longshore_suggest::closest;

/// The word that was probably meant, as a sentence.
pub(crate) fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    closest(word, known).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// Words that a list shows; the others are counted. A workflow may declare thousands of inputs.
const LISTED: usize = 30;

/// A list of words for people: `a`, `b` and `c`.
pub(crate) fn listed<'k>(words: impl IntoIterator<Item = &'k str>) -> String {
    let mut words = words.into_iter();
    let quoted: Vec<String> = words.by_ref().take(LISTED).map(|word| format!("`{word}`")).collect();
    match (quoted.as_slice(), words.count()) {
        ([], _) => "nothing".to_owned(),
        ([one], _) => one.clone(),
        ([most @ .., last], 0) => format!("{} and {last}", most.join(", ")),
        (shown, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_like_a_sentence() {
        assert_eq!(listed(["a", "b", "c"]), "`a`, `b` and `c`");
        assert_eq!(listed([]), "nothing");
        assert!(listed(["a"; 1_000]).ends_with("`a` and 970 more"));
    }
}
