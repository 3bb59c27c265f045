//! "Did you mean": the known name that somebody probably wanted to write.

/// How alike two names must be, as Jaro-Winkler similarity: one slip in a short name, two or three in a long one.
const ALIKE: f64 = 0.8;

/// How many names a list shows: a screen has no room for the tools of a large server.
const LISTED: usize = 20;

/// The name that is most like `wanted`, if any is like it at all.
pub(crate) fn closest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// The names there are, and the one that was probably meant.
pub(crate) fn among(wanted: &str, names: &[&str]) -> String {
    match closest(wanted, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? Known: {}", listed(names)),
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
    fn finds_a_slip_and_nothing_far_off() {
        assert_eq!(closest("tabels", ["git", "tables"]), Some("tables"));
        assert_eq!(closest("tabels", ["git", "files"]), None);
    }

    #[test]
    fn a_long_list_is_cut() {
        assert_eq!(listed(&[]), "none");
        assert_eq!(listed(&["a", "b"]), "`a`, `b`");
        assert!(listed(&["x"; 25]).ends_with("`x` and 5 more"));
    }
}
