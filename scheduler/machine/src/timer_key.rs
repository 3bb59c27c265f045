//! The names of timers within a run.

use longshore_proto::Timestamp;
use longshore_workflow::StepIndex;

/// A timer of a run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum TimerKey {
    /// The deadline of the run.
    Run,
    /// A timer of a step.
    Step(StepNumber, StepTimer),
}

/// The index of a step in half the memory: there is a timer for each outstanding call.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct StepNumber(u32);

impl From<StepIndex> for StepNumber {
    fn from(index: StepIndex) -> Self {
        // Plans are bounded far below the limit of the type.
        Self(u32::try_from(index.0).unwrap_or(u32::MAX))
    }
}

impl From<StepNumber> for StepIndex {
    fn from(number: StepNumber) -> Self {
        Self(number.0 as usize)
    }
}

/// A timer of a step.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum StepTimer {
    /// The start of the next attempt, or the moment when the outstanding job is taken for lost.
    Call,
    /// The end of the wait for a sign of life of the worker that makes a granted call.
    Doubt,
    /// The end of the wait for the report of a recalled call.
    Grace,
    /// The deadline of a group.
    Deadline,
}

impl StepTimer {
    pub(super) const ALL: [Self; 4] = [Self::Call, Self::Doubt, Self::Grace, Self::Deadline];
}

/// A change of a timer: its time before and after it, each `None` if the timer is not set.
pub(super) type TimerChange = (TimerKey, Option<Timestamp>, Option<Timestamp>);
