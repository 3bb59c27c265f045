//! Texts that several tables and pages of runs contain.

use longshore_proto::{RunSummary, Timestamp};

use crate::output::{BAD, Elapsed, StyledLine};

/// Returns the fault of a run with the step that failed, in one line.
pub(super) fn error(summary: &RunSummary) -> StyledLine {
    match (&summary.failed_step, &summary.error) {
        (Some(step), Some(fault)) => StyledLine::of(BAD, &format!("{step}: {fault}")),
        (None, Some(fault)) => StyledLine::of(BAD, &fault.to_string()),
        (_, None) => StyledLine::default(),
    }
}

/// Returns the time between two moments, or no text if one of them is missing.
pub(super) fn between(from: Option<Timestamp>, until: Option<Timestamp>) -> String {
    match (from, until) {
        (Some(from), Some(until)) => Elapsed(until.since(from)).to_string(),
        _ => String::new(),
    }
}
