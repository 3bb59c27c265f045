//! Reasons why a record has no effect.

/// Reason why a record has no effect. Not an error: logs hold duplicates and late reports, and every reader ignores the
/// same ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RecordIgnored {
    /// The record was applied before.
    #[error("already applied")]
    AlreadyApplied,
    /// The run was submitted before.
    #[error("the run was submitted before")]
    DuplicateRun,
    /// The run is unknown or has ended.
    #[error("no such run, or it has ended")]
    UnknownRun,
    /// The sender of the signal belongs to another namespace than the run.
    #[error("the run is of another namespace")]
    OtherNamespace,
    /// The run's plan has no such step.
    #[error("the run has no such step")]
    UnknownStep,
    /// The step already has its outcome.
    #[error("the step has its outcome")]
    AlreadySettled,
    /// A newer attempt is outstanding.
    #[error("a newer attempt is out")]
    StaleAttempt,
    /// The leader that wrote the record no longer leads.
    #[error("written by a leader that no longer leads")]
    StaleEpoch,
    /// The timer is no longer set.
    #[error("the timer is no longer set")]
    TimerNotSet,
    /// The timer is not due yet.
    #[error("the timer's moment has not come")]
    TimerNotDue,
    /// The run cannot be continued by this reader, which waits for its quarantine.
    #[error("the run cannot be read")]
    UnreadableRun,
    /// The state does not wait for this evaluation.
    #[error("the evaluation is not awaited any more")]
    NotAwaited,
    /// The run is stopping already.
    #[error("the run is stopping already")]
    AlreadyStopping,
    /// The driver did not provide the plan of [`Machine::missing_plan`](super::Machine::missing_plan).
    #[error("a plan is missing")]
    Unprepared,
}
