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
//! `apply` finds the run and delegates: `settle` applies a worker's report, `stop` applies cancels and deadlines, and
//! `advance` starts and ends steps as a consequence.

mod advance;
mod checkpoint;
mod failure;
mod fire;
mod grants;
mod ignored;
mod in_doubt;
mod needs;
mod obstacle;
mod record;
mod retention;
mod run;
mod run_change;
mod scope;
mod settle;
mod stop;
mod timers;
mod value;
mod view;

#[cfg(test)]
mod history;
#[cfg(test)]
mod scenario;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use longshore_proto::{
    DeliveryId, Digest, Epoch, Event, Fault, FaultClass, Grant, GrantDecision, Job, JobId, Record, RunId,
    RunStatus, RunSummary, RunView, Seq, Signal, StepStatus, Timestamp,
};
use longshore_workflow::{Plan, StepIndex};
use serde_json::Value;

pub use checkpoint::{RestoreError, STATE_VERSION, UnsavedState};
pub use ignored::RecordIgnored;
pub use needs::Needs;
pub use retention::Retention;
pub use run::Run;
pub use run::Step;
pub use run_change::RunChange;
use scope::BlobValues;
pub use value::{NoValue, RunValue};

/// Maximum number of timers that one tick fires. One durable write has room for them; the others follow in the next tick.
const FIRED_PER_TICK: usize = 1_000;

/// Action for the driver. Performing one twice is harmless.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Append an event to the log.
    Append(Event),
    /// Send a job to the queue.
    Dispatch {
        /// The job.
        job: Box<Job>,
        /// Size of its arguments as JSON text, in bytes.
        argument_bytes: usize,
    },
    /// Send the decision about a delivery to its worker.
    Grant(Grant),
    /// Recall a job whose outcome is no longer wanted.
    Recall(JobId),
    /// A run changed; for updates and metrics.
    Changed(RunChange),
}

/// Actions for the driver, in this order.
pub type Effects = Vec<Effect>;

/// A plan, or the reason why its text does not compile.
#[derive(Clone, Debug)]
enum KnownPlan {
    Plan(Arc<Plan>),
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
    live: BTreeMap<RunId, Run>,
    /// Ended runs that are kept, and the order in which they are removed.
    finished: BTreeMap<RunId, Timestamp>,
    finished_order: BTreeSet<(Timestamp, RunId)>,

    // Derived from the state above: decides nothing and is never stored.
    /// Number of jobs that live runs have outstanding.
    jobs_out: usize,
    timers: timers::TimerIndex,
    plans: BTreeMap<Digest, KnownPlan>,
    blobs: BlobValues,
    lost_blobs: BTreeMap<Digest, String>,
    dirty: checkpoint::UnsavedChanges,
    retention: Retention,
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
        self.plans.insert(digest, plan.map_or_else(KnownPlan::Broken, KnownPlan::Plan));
    }

    /// Provides a large value that was asked for, or the reason why it is unavailable: runs that read it then fail.
    pub fn provide_blob(&mut self, digest: Digest, value: Result<Arc<Value>, String>) {
        match value {
            Ok(value) => _ = self.blobs.insert(digest, value),
            Err(why) => _ = self.lost_blobs.insert(digest, why),
        }
    }

    /// Drops all large values. A later record that needs one asks for it again.
    pub fn drop_blobs(&mut self) {
        self.blobs.clear();
        self.lost_blobs.clear();
    }

    /// Returns the view of a run that has not ended, or ended since the last checkpoint.
    pub fn view(&self, run: RunId) -> Option<RunView> {
        self.run(run).map(Run::view)
    }

    /// Returns a run that has not ended, or ended since the last checkpoint.
    pub fn run(&self, run: RunId) -> Option<&Run> {
        self.live.get(&run).or_else(|| self.dirty.ended(run))
    }

    /// Returns the summaries of all runs that [`Machine::view`] knows, in the order of their ids.
    pub fn summaries(&self) -> Vec<RunSummary> {
        let mut all: Vec<_> = self.live.values().chain(self.dirty.all_ended()).map(Run::summary).collect();
        all.sort_unstable_by_key(|summary| summary.run);
        all
    }

    /// Applies one record and adds its effects to `effects`, in the order in which they have to be performed.
    ///
    /// A record that is ignored counts as applied. The exception is [`RecordIgnored::Unprepared`]: nothing changed, and the
    /// record has to be passed in again.
    pub fn apply(&mut self, record: &Record, effects: &mut Effects) -> Result<(), RecordIgnored> {
        if (record.seq, record.part) <= (self.applied, self.part) {
            return Err(RecordIgnored::AlreadyApplied);
        }
        if !self.needs(&record.event).is_empty() {
            return Err(RecordIgnored::Unprepared);
        }
        let before = self.now;
        self.skip(record.seq, record.part, record.at);
        match &record.event {
            Event::LeaderAnnounced { jobs_lost, records_lost, .. } => {
                self.epoch = Epoch(record.seq);
                if *jobs_lost {
                    self.lose_jobs(before);
                }
                if *records_lost {
                    self.lose_records();
                }
                self.timers.reset_asked();
                self.live.values().for_each(|run| self.timers.follow(run));
                Ok(())
            }
            Event::Submitted { run, namespace, workflow, inputs, trace } => {
                if self.live.contains_key(run) || self.finished.contains_key(run) {
                    return Err(RecordIgnored::DuplicateRun);
                }
                let identity = (*run, namespace.clone());
                let run = Run::new(identity, workflow.clone(), inputs.clone(), trace.clone(), self.now);
                self.begin(run, effects);
                Ok(())
            }
            Event::Starting { job, delivery } => {
                let decision = self.decide_grant(job, delivery);
                effects.push(Effect::Grant(Grant { job: job.clone(), delivery: delivery.clone(), decision }));
                Ok(())
            }
            Event::Returned { job, delivery } => self.change(job.run, effects, |run, plan, now, effects| {
                grants::take_back(run, plan, (job, delivery), now, effects)
            }),
            Event::Settled { job, settlement, attempts, unreported, unreported_worker, .. } => {
                let unreported_worker = unreported_worker.as_ref();
                let report = settle::WorkerReport { attempts, unreported: *unreported, unreported_worker };
                self.change(job.run, effects, |run, plan, now, _| {
                    settle::settle(run, plan, job, settlement, &report, now)
                })
            }
            Event::Resumed { run } => self.change(*run, effects, |run, plan, now, _| {
                grants::send_again(run, plan, now);
                Ok(())
            }),
            Event::NotCalled { job } => {
                let found = self.live.get_mut(&job.run).ok_or(RecordIgnored::UnknownRun)?;
                settle::note_not_called(found, job)?;
                self.dirty.change(job.run);
                Ok(())
            }
            Event::Signalled { run, namespace, signal: Signal::Cancel { reason } } => {
                // The sender may have been unable to read the run, so its namespace is checked here.
                if self.live.get(run).is_some_and(|run| run.namespace != *namespace) {
                    return Err(RecordIgnored::OtherNamespace);
                }
                self.change(*run, effects, |run, plan, now, effects| {
                    stop::cancel(run, plan, reason, now, effects)
                })
            }
            Event::Fired { epoch, timer } => self.fire(*epoch, timer, effects),
        }
    }

    /// Advances past a record without applying its event. Every reader does so with an event that cannot be decoded.
    pub fn skip(&mut self, seq: Seq, part: u32, at: Timestamp) {
        (self.applied, self.part) = (self.applied, self.part).max((seq, part));
        self.now = self.now.max(at);
        self.expire();
    }

    /// Adds one effect for each timer that is due by the leader's clock: the append of the event that it fired.
    pub fn tick(&mut self, clock: Timestamp, effects: &mut Effects) {
        let mut asked = 0;
        while asked < FIRED_PER_TICK
            && let Some(run) = self.timers.due(clock).and_then(|run| self.live.get(&run))
        {
            for timer in self.timers.ask(run, clock) {
                asked += 1;
                effects.push(Effect::Append(Event::Fired { epoch: self.epoch, timer }));
            }
            self.timers.follow(run);
        }
    }

    /// Returns the time when the next [`Machine::tick`] is due.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.timers.first()
    }

    /// Returns the effects that a new leader must perform, such as the dispatch of each outstanding job. They are derived from
    /// the state alone.
    pub fn resume(&self) -> Effects {
        let mut effects = Effects::new();
        for run in self.live.values() {
            let Some(KnownPlan::Plan(plan)) = self.plans.get(&run.workflow.digest) else {
                // The run cannot continue. The next record about it ends it, and this cancel is that record.
                let reason = "its workflow cannot be compiled any more".to_owned();
                effects.push(Effect::Append(Event::Signalled {
                    run: run.id,
                    namespace: run.namespace.clone(),
                    signal: Signal::Cancel { reason },
                }));
                continue;
            };
            for (number, step) in run.steps.iter().enumerate() {
                if step.status != StepStatus::Running {
                    continue;
                }
                // The job of a granted call is not sent again: no other delivery may make the call.
                let decided = step.granted_to().zip(run.job_id(StepIndex(number)));
                effects.push(match decided {
                    Some((delivery, job)) => {
                        let (delivery, decision) = (delivery.clone(), GrantDecision::Granted);
                        Effect::Grant(Grant { job, delivery, decision })
                    }
                    None => match advance::dispatch_effect(run, plan, StepIndex(number)) {
                        Some(effect) => effect,
                        None => continue,
                    },
                });
                if step.stopped {
                    effects.extend(run.job_id(StepIndex(number)).map(Effect::Recall));
                }
            }
        }
        effects
    }

    /// Decides about a delivery that asks for a grant. The decision starts and ends no step, so the run is not advanced.
    fn decide_grant(&mut self, job: &JobId, delivery: &DeliveryId) -> GrantDecision {
        let Some(run) = self.live.get_mut(&job.run) else { return GrantDecision::Denied };
        let Some(KnownPlan::Plan(plan)) = self.plans.get(&run.workflow.digest) else {
            return GrantDecision::Denied;
        };
        let decision = grants::decide(run, plan, job, delivery, self.now);
        run.touched.clear();
        self.timers.follow(run);
        self.dirty.change(job.run);
        decision
    }

    /// Starts a run.
    fn begin(&mut self, mut run: Run, effects: &mut Effects) {
        match self.plans.get(&run.workflow.digest) {
            Some(KnownPlan::Plan(plan)) => {
                let plan = Arc::clone(plan);
                run.adopt(&plan);
                self.advance_run(&mut run, &plan, effects);
            }
            Some(KnownPlan::Broken(why)) => run.fail(Fault::new(FaultClass::Internal, why), self.now),
            None => run.fail(Fault::new(FaultClass::Internal, "its plan is missing"), self.now),
        }
        self.keep(run, None, effects);
    }

    /// Changes a live run, and advances it.
    fn change(
        &mut self,
        id: RunId,
        effects: &mut Effects,
        change: impl FnOnce(&mut Run, &Plan, Timestamp, &mut Effects) -> Result<(), RecordIgnored>,
    ) -> Result<(), RecordIgnored> {
        let mut run = self.live.remove(&id).ok_or(RecordIgnored::UnknownRun)?;
        let (before, out) = (Some(run.status), run.jobs_out());
        let plan = match self.plans.get(&run.workflow.digest) {
            Some(KnownPlan::Plan(plan)) => Arc::clone(plan),
            Some(KnownPlan::Broken(why)) => {
                run.fail(Fault::new(FaultClass::Internal, why), self.now);
                self.jobs_out -= out;
                self.keep(run, before, effects);
                return Ok(());
            }
            None => {
                self.live.insert(id, run);
                return Err(RecordIgnored::Unprepared);
            }
        };
        let changed = change(&mut run, &plan, self.now, effects);
        if changed.is_ok() {
            self.advance_run(&mut run, &plan, effects);
            self.jobs_out -= out;
            self.keep(run, before, effects);
        } else {
            run.touched.clear();
            self.live.insert(id, run);
        }
        changed
    }

    /// Advances a run. Fails it if it reads a value that is lost.
    fn advance_run(&self, run: &mut Run, plan: &Plan, effects: &mut Effects) {
        match self.lost_value(run, plan) {
            Some(why) => {
                let out = (0..run.steps.len()).filter_map(|step| run.job_id(StepIndex(step)));
                effects.extend(out.map(Effect::Recall));
                run.fail(Fault::new(FaultClass::Internal, why), self.now);
            }
            None => advance::advance(run, plan, &self.blobs, self.now, effects),
        }
    }

    /// Notes that outstanding calls will not be reported; `alive` is the time when their process was last known to be alive.
    /// [`Machine::resume`] sends their jobs again.
    fn lose_jobs(&mut self, alive: Timestamp) {
        for run in self.live.values_mut() {
            if settle::lose_jobs(run, alive) {
                self.dirty.change(run.id);
            }
        }
    }

    /// Notes that live runs may have made any call that is not safe to repeat.
    fn lose_records(&mut self) {
        for run in self.live.values_mut() {
            grants::lose_records(run, self.now);
            self.dirty.change(run.id);
        }
    }

    /// Puts a run back after a change. `before` is its earlier status, or `None` for a new run.
    fn keep(&mut self, mut run: Run, before: Option<RunStatus>, effects: &mut Effects) {
        let steps = std::mem::take(&mut run.touched).into_iter().collect();
        let status_changed = before.map_or_else(|| run.status.is_terminal(), |before| before != run.status);
        effects.push(Effect::Changed(RunChange {
            run: run.id,
            started: before.is_none(),
            status_changed,
            steps,
        }));
        if run.status.is_terminal() {
            self.timers.forget(run.id);
            self.finished.insert(run.id, self.now);
            self.finished_order.insert((self.now, run.id));
            self.dirty.end(run);
        } else {
            self.timers.follow(&run);
            self.dirty.change(run.id);
            self.jobs_out += run.jobs_out();
            self.live.insert(run.id, run);
        }
    }
}
