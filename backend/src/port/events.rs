//! What happens to runs, told while it happens to whoever listens.

use longshore_proto::{Namespace, RunId, RunSummary, StepView, WorkflowName};

/// A small piece of news about a run.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// The run has begun, turned, or ended.
    Run(RunSummary),
    /// A step stands elsewhere now. Its output is left out: it may be large, and the run's view has it.
    Step {
        /// Whose run it is.
        namespace: Namespace,
        /// What the run runs.
        workflow: WorkflowName,
        /// The run.
        run: RunId,
        /// The step.
        step: StepView,
    },
}

/// News of runs, on `longshore.v1.evt.<namespace>.<workflow>.<run>.run` (a [`RunSummary`]) and `.step` (a
/// [`StepView`]), as JSON.
///
/// Contract: best effort. News may be lost or come twice; what comes of one run comes in its order. Whoever needs to be
/// sure looks at the run itself.
pub trait Events: Send + Sync {
    /// Tells news. Never waits for anything: news are dropped and counted when too many are on their way.
    fn tell(&self, news: &News);
}
