//! What an expression can see when it is evaluated.

use std::borrow::Cow;

use serde_json::Value;

use super::StepField;

/// The values of one run, as far as it has come. The machine implements this over its state.
pub trait Scope {
    /// The inputs: an object.
    fn inputs(&self) -> Cow<'_, Value>;

    /// One field of a step. Nothing if the key is absent, for instance the output of a step that was skipped.
    fn step(&self, id: &str, field: StepField) -> Option<Cow<'_, Value>>;

    /// The run: an object with `id`, `workflow`, `attempt`, and `error` (`class`, `message`, `step`) once it failed.
    fn run(&self) -> Cow<'_, Value>;

    /// Whether a step has failed for good, for `success()` and `failure()`.
    fn failed(&self) -> bool;

    /// Whether the run was told to stop, for `success()` and `cancelled()`.
    fn cancelled(&self) -> bool;
}
