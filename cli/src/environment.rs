//! Access to the environment variables of the process. No other module reads them.
//!
//! clap reads `LONGSHORE_DATA` and `LONGSHORE_MCP_CONFIG` beside the options of the same meaning, and anstream reads
//! `NO_COLOR` and `CLICOLOR_FORCE`. All others are read through [`variable`], and the settings of a cluster through [`all`].

use std::collections::BTreeMap;

/// Returns the value of a variable; `None` if it is unset or not UTF-8.
pub(crate) fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the configuration that the rule points to")]
    std::env::var(name).ok()
}

/// The variable for a log filter that Rust programs share.
pub(crate) const SHARED_LOG_FILTER: &str = "RUST_LOG";

/// Returns every variable whose name and value are UTF-8.
pub(crate) fn all() -> BTreeMap<String, String> {
    let texts = std::env::vars_os().map(|(name, value)| (name.into_string(), value.into_string()));
    texts.filter_map(|(name, value)| Some((name.ok()?, value.ok()?))).collect()
}

/// Returns the log filter that the user chose, with the name of its variable. `LONGSHORE_LOG` has precedence over the shared
/// variable.
pub(crate) fn log_filter() -> Option<(&'static str, String)> {
    ["LONGSHORE_LOG", SHARED_LOG_FILTER].into_iter().find_map(|name| {
        let value = variable(name).filter(|value| !value.trim().is_empty())?;
        Some((name, value))
    })
}

/// Returns the trace context of the caller, if there is one: `TRACEPARENT` and `TRACESTATE`.
pub(crate) fn trace() -> Option<(String, Option<String>)> {
    Some((variable("TRACEPARENT").filter(|value| !value.is_empty())?, variable("TRACESTATE")))
}

/// Returns true if the locale can show more than ASCII. The variables are read in the order of POSIX.
pub(crate) fn has_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| variable(name).filter(|value| !value.is_empty()))
        .unwrap_or_default()
        .to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Returns true if a terminal can redraw lines. Build services may look like terminals, and cannot.
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
