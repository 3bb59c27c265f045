//! A finding of `longshore doctor`: what was checked, the result, and advice.

use anstyle::Style;
use serde::Serialize;

use crate::output::{BAD, DOUBTFUL, FAINT, GOOD, Symbols};

/// Result of a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FindingLevel {
    /// No problem.
    Good,
    /// The subject works, but the operator should check it.
    Doubtful,
    /// The subject does not work, or will fail soon.
    Wrong,
    /// The check has no result.
    Unknown,
}

/// One checked subject.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// The subject.
    pub(crate) name: &'static str,
    /// The result.
    pub(crate) level: FindingLevel,
    /// The result in words.
    pub(crate) text: String,
    /// Advice on how to fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
    /// The reason is a missing permission, which has an exit code of its own.
    #[serde(skip)]
    pub(crate) lacks_permission: bool,
}

impl Finding {
    /// Creates a finding without advice.
    pub(crate) fn new(name: &'static str, level: FindingLevel, text: &str) -> Self {
        Self { name, level, text: text.to_owned(), help: None, lacks_permission: false }
    }

    /// Adds advice on how to fix it.
    pub(crate) fn help(mut self, help: &str) -> Self {
        self.help = Some(help.to_owned());
        self
    }

    /// Marks the finding as caused by a missing permission if `lacks_permission` is true.
    pub(crate) fn lacking_permission(mut self, lacks_permission: bool) -> Self {
        self.lacks_permission = lacks_permission;
        self
    }

    /// Adds advice on how to fix it, if there is any.
    pub(crate) fn maybe_help(mut self, help: Option<&str>) -> Self {
        self.help = help.map(str::to_owned);
        self
    }
}

impl FindingLevel {
    /// Returns the sign and its style.
    pub(crate) const fn sign(self, symbols: Symbols) -> (&'static str, Style) {
        match (self, symbols) {
            (Self::Good, Symbols::Unicode) => ("✓", GOOD),
            (Self::Good, Symbols::Ascii) => ("+", GOOD),
            (Self::Doubtful, _) => ("!", DOUBTFUL),
            (Self::Wrong, Symbols::Unicode) => ("✗", BAD),
            (Self::Wrong, Symbols::Ascii) => ("x", BAD),
            (Self::Unknown, _) => ("?", FAINT),
        }
    }
}
