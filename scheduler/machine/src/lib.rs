//! The machine: a pure state machine of one partition. It applies the records of the log and returns effects.
//!
//! ```text
//!            Record (log, in order)                  Dispatch(job) ──► queue
//!   driver ───────────────────────────► apply ─────► Recall(job)   ──► queue
//!            now (leader's clock)                    Changed       ──► run updates, metrics
//!          ───────────────────────────► tick ──────► Append(Fired) ──► log
//! ```
//!
//! Pure: no await, no clock, no randomness, no channel; ordered maps only. Time is the record's timestamp and never
//! goes back. The same code runs in leaders, in recovery and in tests, so a log always gives the same state. Performing an
//! effect twice is harmless, and [`Machine::resume`] derives the effects of a takeover from the state alone.
//!
//! [`Machine::apply`] is in `apply`, which finds the run and delegates to the module for the event.

mod advance;
mod apply;
mod arguments;
mod attempts;
mod begin;
mod checkpoint;
mod decision;
mod dispatch;
mod effect;
mod evaluate;
mod failure;
mod fire;
mod frame;
mod grants;
mod ignored;
mod in_doubt;
mod live_run;
mod needs;
mod obstacle;
mod outline;
mod quarantine;
mod reads;
mod resume;
mod run;
mod run_change;
mod scope;
mod settle;
mod step;
mod stop;
mod terminate;
mod timer_key;
mod timers;
mod value;
mod view;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod history;
#[cfg(test)]
mod scenario;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use longshore_proto::{Digest, Epoch, Retention, RunId, RunSummary, RunView, Seq, Timestamp};
use longshore_workflow::Plan;

pub use checkpoint::{RestoreError, STATE_VERSION, UnsavedState};
pub use effect::{Effect, Effects};
pub use evaluate::{EvaluationOutcome, PendingEvaluation};
pub use ignored::RecordIgnored;
use outline::PlanOutline;
pub use outline::StepDescription;
pub use run::Run;
pub use run_change::RunChange;
pub use scope::LargeValues;
pub use step::Step;
pub use value::{NoValue, RunValue};

/// A plan, or the reason why its text does not compile.
#[derive(Clone, Debug)]
enum KnownPlan {
    Plan(Arc<Plan>, Arc<PlanOutline>),
    Broken(String),
}

/// The state of one partition.
#[derive(Debug, Default)]
pub struct Machine {
    /// Sequence of the log entry of the last applied record.
    applied: Seq,
    /// Index of the last applied record within its log entry. A restored state has applied the whole entry.
    part: u32,
    now: Timestamp,
    epoch: Epoch,
    live: BTreeMap<RunId, Box<Run>>,
    /// Ended runs that are kept, and the order in which they are removed.
    finished: BTreeMap<RunId, Timestamp>,
    finished_order: BTreeSet<(Timestamp, RunId)>,
    /// Bounds on the finished runs that are kept.
    retention: Retention,

    // Derived from the state above: decides nothing and is never stored.
    /// Number of jobs that live runs have outstanding.
    jobs_out: usize,
    timers: timers::TimerIndex,
    plans: BTreeMap<Digest, KnownPlan>,
    dirty: checkpoint::UnsavedChanges,
    /// Runs of which this reader could not apply a record, with the reason. The leader quarantines them.
    unreadable: BTreeMap<RunId, String>,
}

impl Machine {
    /// Returns the state of an empty partition.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the sequence of the last applied record.
    pub const fn applied(&self) -> Seq {
        self.applied
    }

    /// Returns the epoch of the current leader.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the number of runs that have not ended.
    pub fn live_run_count(&self) -> usize {
        self.live.len()
    }

    /// Returns the number of jobs that live runs have outstanding.
    pub const fn outstanding_jobs(&self) -> usize {
        self.jobs_out
    }

    /// Returns the ids of the runs that have not ended, in order.
    pub fn live_run_ids(&self) -> impl Iterator<Item = RunId> {
        self.live.keys().copied()
    }

    /// Provides a plan that was asked for, or the reason why it is unavailable.
    pub fn provide_plan(&mut self, digest: Digest, plan: Result<Arc<Plan>, String>) {
        let known = match plan {
            Ok(plan) => {
                let outline = Arc::new(PlanOutline::of(&plan));
                KnownPlan::Plan(plan, outline)
            }
            Err(why) => KnownPlan::Broken(why),
        };
        self.plans.insert(digest, known);
    }

    /// Returns the view of a run that has not ended, or ended since the last checkpoint.
    pub fn view(&self, run: RunId) -> Option<RunView> {
        self.run(run).map(Run::view)
    }

    /// Returns a run that has not ended, or ended since the last checkpoint.
    pub fn run(&self, run: RunId) -> Option<&Run> {
        self.live.get(&run).map(Box::as_ref).or_else(|| self.dirty.ended(run))
    }

    /// Returns the summaries of all runs that [`Machine::view`] knows, in the order of their ids.
    pub fn summaries(&self) -> Vec<RunSummary> {
        let mut all: Vec<_> =
            self.live.values().map(Box::as_ref).chain(self.dirty.all_ended()).map(Run::summary).collect();
        all.sort_unstable_by_key(|summary| summary.run);
        all
    }
}
