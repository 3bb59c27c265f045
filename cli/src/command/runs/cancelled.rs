//! The results of `longshore runs cancel`: messages for people, or JSON documents.

use std::fmt::Display;

use serde::Serialize;

use crate::failure::Failure;
use crate::output::Output;

/// Name of the JSON document.
const SCHEMA: &str = "longshore.cancel";

/// Result for a run that was to be cancelled.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CancelOutcome {
    /// The run is being cancelled, and ends soon.
    Cancelling,
    /// The run has ended by this cancel.
    Cancelled,
    /// The run had already ended.
    Ended,
    /// The run could not be cancelled.
    Failed,
}

#[derive(Serialize)]
struct CancelDocument<'a> {
    run: &'a str,
    outcome: CancelOutcome,
    message: &'a str,
}

/// Printer of the result for each run.
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

    /// Prints the outcome of a run only in JSON. For people, runs that are not given by their ids are only counted.
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
        self.output.document_without_credentials(SCHEMA, &CancelDocument { run: &run, outcome, message })
    }

    /// Prints why a run could not be cancelled. `run` is its id, or the text of the command line.
    pub(super) fn failed(&self, run: impl Display, failure: &Failure) -> Result<(), Failure> {
        self.output.failure(failure);
        self.document(run, CancelOutcome::Failed, &failure.message)
    }
}
