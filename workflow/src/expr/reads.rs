//! The values that an expression reads. They are known at compile time, so only these values are needed for the evaluation.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::input_use::InputUse;

/// A field of a step in expressions.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum StepField {
    /// The output of the tool, the values of a `set` step, or the outputs of the members of a group.
    Output,
    /// The raw content list of the tool's result.
    Content,
    /// The status of the step: `succeeded`, `failed`, `skipped`, ...
    Status,
    /// The fault, as `{class, message}`.
    Error,
    /// The number of attempts.
    Attempts,
}

impl StepField {
    /// All fields.
    pub const ALL: [Self; 5] = [Self::Output, Self::Content, Self::Status, Self::Error, Self::Attempts];

    /// Returns the name in expressions.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Content => "content",
            Self::Status => "status",
            Self::Error => "error",
            Self::Attempts => "attempts",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == name)
    }
}

/// The set of values that an expression reads.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ReadSet {
    /// Ids of the steps, with the fields that are read. The use of a whole step counts as all of its fields.
    pub steps: BTreeMap<String, BTreeSet<StepField>>,
    /// True if it reads inputs.
    pub inputs: bool,
    /// True if it reads `run`.
    pub run: bool,
    /// True if it uses the status of the run: `success()`, `failure()`, `always()` or `cancelled()`.
    pub status: bool,
}

impl ReadSet {
    /// Adds the values of another set.
    pub fn merge(&mut self, other: &Self) {
        for (id, fields) in &other.steps {
            self.steps.entry(id.clone()).or_default().extend(fields);
        }
        self.inputs |= other.inputs;
        self.run |= other.run;
        self.status |= other.status;
    }
}

/// A mention of an input or step, to be checked against the whole file. Ranges are bytes of the expression.
#[derive(Clone, Debug)]
pub(crate) enum Mention {
    /// A path that begins with `steps.<id>`. `field` is the name after the id.
    Step { id: String, at: Range<usize>, field: Option<(String, Range<usize>)> },
    /// A use of inputs, to be checked against their types.
    Use { found: InputUse, at: Range<usize> },
    /// A path that begins with `inputs.<name>`.
    Input { name: String, at: Range<usize> },
}
