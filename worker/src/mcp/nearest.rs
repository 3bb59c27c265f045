//! "Did you mean": the name that somebody probably wanted to write.

/// How alike two names must be, as Jaro-Winkler similarity: one slip in a short name, two or three in a long one.
const ALIKE: f64 = 0.8;

/// The name that is most like `wanted`, if any is like it at all.
pub(super) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(alike, _)| *alike > ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_slip_and_nothing_far_off() {
        let names = ["get_sum", "get_env", "echo"];
        assert_eq!(nearest("get_sun", names), Some("get_sum"));
        assert_eq!(nearest("ehco", names), Some("echo"));
        assert_eq!(nearest("write_file", names), None);
    }
}
