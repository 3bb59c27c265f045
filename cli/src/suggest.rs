//! What help texts say about a name that is not known.

use longshore_suggest::closest;

/// How many names a list shows: a screen has no room for the tools of a large server.
const LISTED: usize = 20;

/// The names there are, and the one that was probably meant.
pub(crate) fn among(wanted: &str, names: &[&str]) -> String {
    match closest(wanted, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? Known: {}", listed(names)),
        None => format!("known: {}", listed(names)),
    }
}

/// The one that was probably meant, or else the names there are: for lists that are long and written down elsewhere.
pub(crate) fn nearest(wanted: &str, names: &[&str]) -> String {
    match closest(wanted, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {}", listed(names)),
    }
}

/// The names, as a sentence has them.
fn listed(names: &[&str]) -> String {
    let shown: Vec<_> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    match (names.len(), names.len().saturating_sub(LISTED)) {
        (0, _) => "none".to_owned(),
        (_, 0) => shown.join(", "),
        (_, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        assert_eq!(listed(&[]), "none");
        assert_eq!(listed(&["a", "b"]), "`a`, `b`");
        assert!(listed(&["x"; 25]).ends_with("`x` and 5 more"));
    }
}
