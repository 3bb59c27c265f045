//! The environment of the process: the only place where it is read.
//!
//! Where data and servers are (`LONGSHORE_DATA`, `LONGSHORE_MCP_CONFIG`) is read by clap beside the options of the
//! same meaning; colours (`NO_COLOR`, `CLICOLOR_FORCE`) by anstream. Everything else goes through [`variable`], and the
//! settings of a cluster through [`all`].

use std::collections::BTreeMap;

/// The value of a variable; nothing if it is unset or no text.
pub(crate) fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the configuration that the rule points to")]
    std::env::var(name).ok()
}

/// The variable for a log filter that all of Rust shares.
pub(crate) const FOREIGN_LOG_FILTER: &str = "RUST_LOG";

/// Every variable whose name and value are text.
pub(crate) fn all() -> BTreeMap<String, String> {
    let texts = std::env::vars_os().map(|(name, value)| (name.into_string(), value.into_string()));
    texts.filter_map(|(name, value)| Some((name.ok()?, value.ok()?))).collect()
}

/// The log filter somebody chose, with the variable it stands in. Ours goes before the one that all of Rust shares.
pub(crate) fn log_filter() -> Option<(&'static str, String)> {
    ["LONGSHORE_LOG", FOREIGN_LOG_FILTER].into_iter().find_map(|name| {
        let value = variable(name).filter(|value| !value.trim().is_empty())?;
        Some((name, value))
    })
}

/// The trace the caller belongs to, if it says so: `TRACEPARENT` and `TRACESTATE`.
pub(crate) fn trace() -> Option<(String, Option<String>)> {
    Some((variable("TRACEPARENT").filter(|value| !value.is_empty())?, variable("TRACESTATE")))
}

/// Whether the locale has more than ASCII to show, by the order in which POSIX asks the variables.
pub(crate) fn has_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| variable(name).filter(|value| !value.is_empty()))
        .unwrap_or_default()
        .to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Whether a terminal can draw over what it has shown. A build service may pretend to be one.
pub(crate) fn can_redraw(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("TERM").is_some_and(|term| !term.is_empty() && term != "dumb") && variable("CI").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        assert!(has_unicode(with(&[("LANG", "en_GB.UTF-8")])));
        assert!(has_unicode(with(&[("LC_ALL", ""), ("LANG", "C.utf8")])));
        assert!(!has_unicode(with(&[("LC_ALL", "C"), ("LANG", "en_GB.UTF-8")])));
        assert!(!has_unicode(with(&[])));
    }

    #[test]
    fn a_dumb_terminal_and_a_build_service_cannot_redraw() {
        assert!(can_redraw(with(&[("TERM", "xterm")])));
        assert!(!can_redraw(with(&[("TERM", "dumb")])));
        assert!(!can_redraw(with(&[("TERM", "xterm"), ("CI", "true")])));
        assert!(!can_redraw(with(&[])));
    }
}
