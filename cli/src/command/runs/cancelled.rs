//! The result of `longshore runs cancel` for one run: a message for a person, or a JSON document.

use std::fmt::Display;

use serde::Serialize;

use crate::failure::Failure;
use crate::output::Output;

/// The name of the document.
const SCHEMA: &str = "longshore.cancel";

/// The outcome of a cancel for one run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CancelOutcome {
    /// The cancel is stored, and the run ends soon.
    Cancelling,
    /// The run has ended by this cancel.
    Cancelled,
    /// The run had ended before.
    Ended,
    /// The cancel is not stored.
    Failed,
}

#[derive(Serialize)]
struct Document<'a> {
    run: &'a str,
    outcome: CancelOutcome,
    message: &'a str,
}

/// The printer of the outcomes of one command.
#[derive(Clone, Copy)]
pub(super) struct CancelReport<'a> {
    pub(super) output: &'a Output,
    pub(super) json: bool,
}

impl CancelReport<'_> {
    /// Prints the outcome of a run.
    pub(super) fn print(
        &self,
        run: impl Display,
        outcome: CancelOutcome,
        message: &str,
    ) -> Result<(), Failure> {
        if self.json {
            return self.document(run, outcome, message);
        }
        self.output.message(message);
        Ok(())
    }

    /// Prints the outcome of a run in JSON only: runs that are not named by their ids are summed up for a person.
    pub(super) fn document(
        &self,
        run: impl Display,
        outcome: CancelOutcome,
        message: &str,
    ) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let run = run.to_string();
        self.output.diagnosis(SCHEMA, &Document { run: &run, outcome, message })
    }

    /// Prints why a cancel is not stored. `run` is the id as it was given.
    pub(super) fn failed(&self, run: impl Display, failure: &Failure) -> Result<(), Failure> {
        self.output.failure(failure);
        self.document(run, CancelOutcome::Failed, &failure.message)
    }
}
