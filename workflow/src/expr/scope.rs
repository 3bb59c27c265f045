//! The scope in which expressions are evaluated.

use std::borrow::Cow;

use serde_json::Value;

use super::StepField;

/// The values of a run that expressions can read. The scheduler's machine implements it over the state of the run.
pub trait Scope {
    /// Returns the inputs: an object.
    fn inputs(&self) -> Cow<'_, Value>;

    /// Returns a field of a step. `None` if it is absent, such as the output of a skipped step.
    fn step(&self, id: &str, field: StepField) -> Option<Cow<'_, Value>>;

    /// Returns the run: an object with `id`, `workflow`, `attempt`, and `error` (`class`, `message`, `step`) once it failed.
    fn run(&self) -> Cow<'_, Value>;

    /// Returns true if a step has failed without further attempts, for `success()` and `failure()`.
    fn failed(&self) -> bool;

    /// Returns true if the run was cancelled, for `success()` and `cancelled()`.
    fn cancelled(&self) -> bool;
}
