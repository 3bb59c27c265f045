//! What a doctor found: how it stands, in words, and how to mend it.

use anstyle::Style;
use serde::Serialize;

use crate::output::{BAD, DOUBTFUL, FAINT, GOOD, Symbols};

/// How something stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// As it should be.
    Good,
    /// It works, and somebody should have a look.
    Doubtful,
    /// It does not work, or will not for long.
    Wrong,
    /// It could not be told.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) name: &'static str,
    /// How it stands.
    pub(crate) level: Level,
    /// In words.
    pub(crate) text: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
    /// The reason is a missing permission, which has an exit code of its own.
    #[serde(skip)]
    pub(crate) lacks_permission: bool,
}

impl Finding {
    /// A finding without advice.
    pub(crate) fn new(name: &'static str, level: Level, text: &str) -> Self {
        Self { name, level, text: text.to_owned(), help: None, lacks_permission: false }
    }

    /// How to mend it.
    pub(crate) fn help(mut self, help: &str) -> Self {
        self.help = Some(help.to_owned());
        self
    }

    /// Says if the reason is a missing permission.
    pub(crate) fn lacking_permission(mut self, lacks_permission: bool) -> Self {
        self.lacks_permission = lacks_permission;
        self
    }

    /// How to mend it, if that is known.
    pub(crate) fn maybe_help(mut self, help: Option<&str>) -> Self {
        self.help = help.map(str::to_owned);
        self
    }
}

impl Level {
    /// Its sign and style.
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
