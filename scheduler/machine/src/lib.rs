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
mod arguments;
mod attempts;
mod begin;
mod checkpoint;
mod decision;
mod dispatch;
mod evaluate;
mod failure;
mod fire;
mod frame;
mod grants;
mod ignored;
mod in_doubt;
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

use longshore_proto::{
    DeliveryId, Digest, Epoch, EvaluationNumber, Event, Grant, GrantDecision, Job, JobId, Record, Retention,
    RunId, RunStatus, RunSummary, RunView, Seq, Signal, Timer, Timestamp,
};
use longshore_workflow::{Plan, StepIndex};

pub use checkpoint::{RestoreError, STATE_VERSION, UnsavedState};
pub use evaluate::{EvaluationOutcome, PendingEvaluation};
pub use ignored::RecordIgnored;
use outline::PlanOutline;
pub use outline::StepDescription;
pub use run::Run;
pub use run_change::RunChange;
pub use scope::LargeValues;
pub use step::Step;
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
    /// Evaluate expressions, and append the result as [`Event::Evaluated`]; see [`Machine::pending_evaluation`].
    Evaluate {
        /// The run.
        run: RunId,
        /// The step. `None` for the outputs of the run.
        step: Option<StepIndex>,
        /// Number of the evaluation.
        number: EvaluationNumber,
    },
    /// Recall a job whose outcome is no longer wanted. If its step has [ended](Machine::is_outstanding), the queue does not need the
    /// job any more.
    Recall(JobId),
    /// A run changed; for updates and metrics.
    Changed(RunChange),
}

/// Actions for the driver, in this order.
pub type Effects = Vec<Effect>;

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

    /// Applies one record and adds its effects to `effects`, in the order in which they have to be performed.
    ///
    /// A record that is ignored counts as applied. The exception is [`RecordIgnored::Unprepared`]: nothing changed, and the
    /// record has to be passed in again.
    pub fn apply(&mut self, record: &Record, effects: &mut Effects) -> Result<(), RecordIgnored> {
        if (record.seq, record.part) <= (self.applied, self.part) {
            return Err(RecordIgnored::AlreadyApplied);
        }
        if self.missing_plan(&record.event).is_some() {
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
                Ok(())
            }
            Event::Configured { retention } => {
                self.retention = *retention;
                self.expire();
                Ok(())
            }
            Event::Quarantined { run, reason } => self.quarantine(*run, reason, effects),
            Event::Submitted { run, namespace, workflow, inputs, trace, .. } => {
                if self.live.contains_key(run) || self.finished.contains_key(run) {
                    return Err(RecordIgnored::DuplicateRun);
                }
                let identity = (*run, namespace.clone());
                let run = Run::new(identity, workflow.clone(), inputs.clone(), trace.clone(), self.now);
                self.begin(Box::new(run), effects);
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
                self.change(job.run, effects, |run, plan, now, effects| {
                    settle::settle(run, plan, (job, settlement), &report, now, effects)
                })
            }
            Event::Resumed { run } => self.change(*run, effects, |run, _, now, _| {
                grants::send_again(run, now);
                Ok(())
            }),
            Event::NotCalled { job } => {
                self.change(job.run, effects, |run, plan, _, _| settle::note_not_called(run, plan, job))
            }
            Event::Signalled { run, namespace, signal } => {
                // The sender may have been unable to read the run, so its namespace is checked here.
                if self.live.get(run).is_some_and(|run| run.namespace != *namespace) {
                    return Err(RecordIgnored::OtherNamespace);
                }
                self.change(*run, effects, |run, plan, now, effects| match signal {
                    Signal::Cancel { reason } => stop::cancel(run, plan, reason, now, effects),
                    Signal::Terminate { reason } => {
                        terminate::terminate(run, reason, now, effects);
                        Ok(())
                    }
                })
            }
            Event::Evaluated { run, step, number, result } => {
                self.change(*run, effects, |run, plan, now, effects| {
                    evaluate::apply(run, plan, (step.as_ref(), *number), result, now, effects)
                })
            }
            Event::Continued { run } => self.change(*run, effects, |run, _, _, _| {
                run.can_advance().then_some(()).ok_or(RecordIgnored::NotAwaited)
            }),
            Event::Fired { epoch, timer } => self.fire(*epoch, timer, effects),
        }
    }

    /// Advances past a record without applying its event, which cannot be decoded; see [`Machine::note_unreadable`].
    pub fn skip(&mut self, seq: Seq, part: u32, at: Timestamp) {
        (self.applied, self.part) = (self.applied, self.part).max((seq, part));
        self.now = self.now.max(at);
        self.expire();
    }

    /// Adds one effect for each timer that is due by the leader's clock: the append of the event that it fired.
    pub fn tick(&mut self, clock: Timestamp, effects: &mut Effects) {
        for _ in 0..FIRED_PER_TICK {
            let Some((run, key)) = self.timers.ask(clock) else { return };
            if let Some(kind) = self.live.get(&run).and_then(|run| run.timer_kind(key)) {
                effects.push(Effect::Append(Event::Fired { epoch: self.epoch, timer: Timer { run, kind } }));
            }
        }
    }

    /// Returns the time when the next [`Machine::tick`] is due.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.timers.first()
    }

    /// Decides about a delivery that asks for a grant. The decision starts and ends no step, so the run is not advanced.
    fn decide_grant(&mut self, job: &JobId, delivery: &DeliveryId) -> GrantDecision {
        let Some(run) = self.live.get_mut(&job.run) else { return GrantDecision::Denied };
        let Some(KnownPlan::Plan(plan, _)) = self.plans.get(&run.outline.workflow.digest) else {
            return GrantDecision::Denied;
        };
        let decision = grants::decide(run, plan, job, delivery, self.now);
        self.follow_changes(job.run);
        decision
    }

    /// Starts a run.
    fn begin(&mut self, mut run: Box<Run>, effects: &mut Effects) {
        let plan = match self.plans.get(&run.outline.workflow.digest) {
            Some(KnownPlan::Plan(plan, outline)) => {
                run.adopt(plan, Arc::clone(outline));
                Ok(Arc::clone(plan))
            }
            Some(KnownPlan::Broken(why)) => Err(why.clone()),
            None => Err("its workflow is missing".to_owned()),
        };
        match plan {
            Ok(plan) => {
                self.timers.add(&run);
                advance::advance(&mut run, &plan, self.now, effects);
            }
            Err(why) => self.note_unreadable(run.id, why, effects),
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
        if self.unreadable.contains_key(&id) {
            return Err(RecordIgnored::UnreadableRun);
        }
        let mut run = self.live.remove(&id).ok_or(RecordIgnored::UnknownRun)?;
        let (before, out) = (Some(run.status), run.frame.jobs_out());
        let plan = match self.plans.get(&run.outline.workflow.digest) {
            Some(KnownPlan::Plan(plan, outline)) => {
                run.rejoin(plan, outline);
                Arc::clone(plan)
            }
            Some(KnownPlan::Broken(why)) => {
                let why = why.clone();
                self.live.insert(id, run);
                self.note_unreadable(id, why, effects);
                return Err(RecordIgnored::UnreadableRun);
            }
            None => {
                self.live.insert(id, run);
                return Err(RecordIgnored::Unprepared);
            }
        };
        let changed = change(&mut run, &plan, self.now, effects);
        if changed.is_ok() {
            advance::advance(&mut run, &plan, self.now, effects);
            self.jobs_out -= out;
            self.keep(run, before, effects);
        } else {
            self.live.insert(id, run);
            self.follow_changes(id);
        }
        changed
    }

    /// Notes that outstanding calls will not be reported; `alive` is the time when their process was last known to be alive.
    /// [`Machine::resume`] sends their jobs again.
    fn lose_jobs(&mut self, alive: Timestamp) {
        let lost = |run: &mut Box<Run>| settle::lose_jobs(run, alive).then_some(run.id);
        let lost: Vec<_> = self.live.values_mut().filter_map(lost).collect();
        lost.into_iter().for_each(|run| self.follow_changes(run));
    }

    /// Notes that live runs may have made any call that is not safe to repeat.
    fn lose_records(&mut self) {
        let now = self.now;
        self.live.values_mut().for_each(|run| grants::lose_records(run, now));
        let all: Vec<_> = self.live.keys().copied().collect();
        all.into_iter().for_each(|run| self.follow_changes(run));
    }

    /// Follows a change of a live run that started and ended no step.
    fn follow_changes(&mut self, id: RunId) {
        if let Some(run) = self.live.get_mut(&id) {
            self.timers.follow(id, run.frame.take_changes().timers);
            self.dirty.change(id);
        }
    }

    /// Puts a run back after a change. `before` is its earlier status, or `None` for a new run.
    fn keep(&mut self, mut run: Box<Run>, before: Option<RunStatus>, effects: &mut Effects) {
        let status_changed = before.map_or_else(|| run.status.is_terminal(), |before| before != run.status);
        let changes = run.frame.take_changes();
        let (started, steps) = (before.is_none(), changes.steps.into_iter().collect());
        effects.push(Effect::Changed(RunChange { run: run.id, started, status_changed, steps }));
        self.timers.follow(run.id, changes.timers);
        if run.status.is_terminal() {
            self.timers.remove(&run);
            self.finished.insert(run.id, self.now);
            self.finished_order.insert((self.now, run.id));
            self.dirty.end(run);
        } else {
            self.dirty.change(run.id);
            self.jobs_out += run.frame.jobs_out();
            self.live.insert(run.id, run);
        }
    }
}
