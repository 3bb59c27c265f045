//! Parts of help texts: suggestions for unknown names, and lists of known names.

use longshore_suggest::closest;

/// Returns a question about the known name that is most similar to an unknown one, if one is similar.
pub(crate) fn did_you_mean<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    closest(name, known).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// Number of names that a list shows; the others are counted. A workflow may declare thousands of inputs.
const LISTED: usize = 30;

/// Formats a list of names: `a`, `b` and `c`.
pub(crate) fn listed<'k>(names: impl IntoIterator<Item = &'k str>) -> String {
    listed_up_to(LISTED, names)
}

/// Formats a list of names, of which `limit` are shown and the others counted.
pub(crate) fn listed_up_to<'k>(limit: usize, names: impl IntoIterator<Item = &'k str>) -> String {
    let mut names = names.into_iter();
    let quoted: Vec<String> = names.by_ref().take(limit).map(|name| format!("`{name}`")).collect();
    match (quoted.as_slice(), names.count()) {
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
    fn names_are_listed_as_in_a_sentence_and_long_lists_are_cut() {
        assert_eq!(listed(["a", "b", "c"]), "`a`, `b` and `c`");
        assert_eq!(listed([]), "nothing");
        assert!(listed(["a"; 1_000]).ends_with("`a` and 970 more"));
        assert_eq!(listed_up_to(2, ["a", "b", "c"]), "`a`, `b` and 1 more");
        assert_eq!(listed_up_to(2, ["a", "b"]), "`a` and `b`");
    }
}
