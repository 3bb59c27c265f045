//! The signs of statuses, in Unicode or in ASCII.
//!
//! Colour is never the only difference: each status has its own sign, and its name is printed beside it.

use anstyle::Style;
use longshore_proto::{RunStatus, StepStatus};

use super::styled_line::{BAD, BUSY, DOUBTFUL, FAINT, GOOD};

/// Set of signs, by what the locale can show.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Symbols {
    /// Signs of one column.
    Unicode,
    /// Signs of one character.
    Ascii,
}

impl Symbols {
    /// Returns the sign of a step's status and its style.
    pub(crate) const fn step(self, status: StepStatus) -> (&'static str, Style) {
        let (unicode, ascii, style) = match status {
            StepStatus::Pending => ("·", ".", FAINT),
            StepStatus::Running => ("▸", ">", BUSY),
            StepStatus::Retrying => ("↻", "~", DOUBTFUL),
            StepStatus::Succeeded => ("✓", "+", GOOD),
            StepStatus::Failed => ("✗", "x", BAD),
            StepStatus::Indeterminate => ("?", "?", BAD),
            StepStatus::Skipped => ("-", "-", FAINT),
            StepStatus::Cancelled => ("⊘", "o", DOUBTFUL),
        };
        (self.either(unicode, ascii), style)
    }

    /// Returns the sign of a run's status and its style.
    pub(crate) const fn run(self, status: RunStatus) -> (&'static str, Style) {
        self.step(match status {
            RunStatus::Running => StepStatus::Running,
            RunStatus::Interrupted => StepStatus::Indeterminate,
            RunStatus::Succeeded => StepStatus::Succeeded,
            RunStatus::Failing | RunStatus::Failed => StepStatus::Failed,
            RunStatus::Cancelling | RunStatus::Cancelled => StepStatus::Cancelled,
        })
    }

    /// Returns the sign that marks cut text.
    pub(crate) const fn ellipsis(self) -> &'static str {
        self.either("…", "...")
    }

    const fn either(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        match self {
            Self::Unicode => unicode,
            Self::Ascii => ascii,
        }
    }
}
