//! Help texts about an unknown name: the known names, and the closest one.

use longshore_suggest::closest;

/// Number of names that a list shows. The tools of a large server would not fit a screen.
const MAX_LISTED_NAMES: usize = 20;

/// Returns a text with the known names, and the closest one.
pub(crate) fn among(wanted: &str, names: &[&str]) -> String {
    match closest(wanted, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? Known: {}", listed(names)),
        None => format!("known: {}", listed(names)),
    }
}

/// Returns a text with the closest name, or with the known names if none is close. For long lists that are documented
/// elsewhere.
pub(crate) fn nearest(wanted: &str, names: &[&str]) -> String {
    match closest(wanted, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {}", listed(names)),
    }
}

/// Returns the names as a part of a sentence.
fn listed(names: &[&str]) -> String {
    let shown: Vec<_> = names.iter().take(MAX_LISTED_NAMES).map(|name| format!("`{name}`")).collect();
    match (names.len(), names.len().saturating_sub(MAX_LISTED_NAMES)) {
        (0, _) => "none".to_owned(),
        (_, 0) => shown.join(", "),
        (_, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_list_is_cut() {
        assert_eq!(listed(&[]), "none");
        assert_eq!(listed(&["a", "b"]), "`a`, `b`");
        assert!(listed(&["x"; 25]).ends_with("`x` and 5 more"));
    }
}
