//! What happens to runs, told while it happens to whoever listens.

use longshore_proto::{RunSummary, StepView};
use serde::Serialize;

/// What has happened to a run since the last news of it: one message, however many of its steps have changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct News {
    /// The run as it stands now.
    #[serde(flatten)]
    pub run: RunSummary,
    /// The steps that stand elsewhere now. Their outputs are left out: they may be large, and the run's view has them. Empty
    /// as well where so many have changed that they would not fit into a message.
    pub steps: Vec<StepView>,
    /// Whether the run itself has begun, turned or ended, or only its steps stand elsewhere.
    #[serde(skip)]
    pub status_changed: bool,
}

/// News of runs, as JSON on `longshore.v1.evt.<namespace>.<workflow>.<run>.run` when the run itself has begun, turned or
/// ended, and on `.step` when only its steps stand elsewhere.
///
/// Contract: best effort. News may be lost or come twice; what comes of one run comes in its order. Whoever needs to be
/// sure looks at the run itself.
pub trait Events: Send + Sync {
    /// Tells news. Never waits for anything: news are dropped and counted when too many are on their way.
    fn tell(&self, news: &News);
}
