//! What an expression reads: known when the file is checked, so that only these values need to be at hand later.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::input_use::InputUse;

/// What an expression can see of a step.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum StepField {
    /// What the tool returned, or the values of a `set`, or the members' outputs of a group.
    Output,
    /// The raw content list of the tool's answer.
    Content,
    /// How the step ended: `succeeded`, `failed`, `skipped`, ...
    Status,
    /// `{class, message}` of the fault.
    Error,
    /// How many attempts were made.
    Attempts,
}

impl StepField {
    /// Every field.
    pub const ALL: [Self; 5] = [Self::Output, Self::Content, Self::Status, Self::Error, Self::Attempts];

    /// The name in expressions.
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

/// What an expression reads.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ReadSet {
    /// The steps by id, and what it reads of each. A step used whole counts as all its fields.
    pub steps: BTreeMap<String, BTreeSet<StepField>>,
    /// Whether it reads inputs.
    pub inputs: bool,
    /// Whether it reads the run.
    pub run: bool,
    /// Whether it asks how the run stands: `success()`, `failure()`, `always()`, `cancelled()`.
    pub status: bool,
}

impl ReadSet {
    /// Adds what another one reads.
    pub fn merge(&mut self, other: &Self) {
        for (id, fields) in &other.steps {
            self.steps.entry(id.clone()).or_default().extend(fields);
        }
        self.inputs |= other.inputs;
        self.run |= other.run;
        self.status |= other.status;
    }
}

/// One mention of something, to be checked once the whole file is known. Ranges are bytes of the expression.
#[derive(Clone, Debug)]
pub(crate) enum Mention {
    /// `steps.<id>`, with the field if one is named.
    Step { id: String, at: Range<usize>, field: Option<(String, Range<usize>)> },
    /// A use of inputs.
    Use { found: InputUse, at: Range<usize> },
    /// `inputs.<name>`.
    Input { name: String, at: Range<usize> },
}
