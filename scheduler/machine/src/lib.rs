//! The machine: the state of one partition, and what follows from each record of its log.
//!
//! ```text
//!            Record (log, in order)                  Dispatch(job) ──► queue
//!   driver ───────────────────────────► handle ────► Recall(job)   ──► queue
//!            now (leader's clock)                    Changed       ──► observer
//!          ───────────────────────────► tick ──────► Append(Fired) ──► log
//! ```
//!
//! Pure: no await, no clock, no randomness, no channel; ordered maps only. Time is the record's timestamp and never
//! goes back. The same fold runs live, in recovery and in tests, so the log cannot mean two things. Effects are
//! harmless to perform twice, and [`Machine::resume`] derives again from state alone what ought to be in flight.
//!
//! `handle` only finds the run and delegates: `settle` says what a worker's report means, `stop` what ends
//! things early, `advance` what begins and ends as a consequence.

mod advance;
mod change;
mod checkpoint;
mod needs;
mod obstacle;
mod record;
mod refused;
mod retention;
mod run;
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
    Digest, Epoch, Event, Fault, FaultClass, Job, JobId, Record, RunId, RunStatus, RunSummary, RunView, Seq,
    Signal, StepStatus, Timer, TimerKind, Timestamp,
};
use longshore_workflow::{Plan, StepIndex};
use serde_json::Value;

pub use change::Change;
pub use checkpoint::{Drained, RestoreError, STATE_VERSION};
pub use needs::Needs;
pub use refused::Refused;
pub use retention::Retention;
pub use run::Run;
pub use run::Step;
use scope::BlobValues;
pub use value::{NoValue, RunValue};

/// Timers asked for in one tick: as many as one durable write carries with ease; the rest follow in the next.
const FIRED_PER_TICK: usize = 1_000;

/// What should now be done. Performing one twice is harmless.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A fact the leader wants recorded.
    Append(Event),
    /// A job to be carried out.
    Dispatch(Box<Job>),
    /// A job whose outcome is no longer wanted.
    Recall(JobId),
    /// Somebody who watches a run has something to see.
    Changed(Change),
}

/// What should now be done, in this order.
pub type Effects = Vec<Effect>;

/// A plan, or why its text no longer compiles.
#[derive(Clone, Debug)]
enum Known {
    Plan(Arc<Plan>),
    Broken(String),
}

/// The state of one partition.
#[derive(Debug, Default)]
pub struct Machine {
    applied: Seq,
    /// How far it has come in the entry of that record. Of what is restored, the whole entry was applied.
    part: u32,
    now: Timestamp,
    epoch: Epoch,
    live: BTreeMap<RunId, Run>,
    /// Runs that have ended and are still kept, and the order they go in.
    finished: BTreeMap<RunId, Timestamp>,
    finished_order: BTreeSet<(Timestamp, RunId)>,

    // Derived or soft: never decides anything, never stored.
    /// How many jobs the live runs have out.
    jobs_out: usize,
    timers: timers::Index,
    plans: BTreeMap<Digest, Known>,
    blobs: BlobValues,
    lost_blobs: BTreeMap<Digest, String>,
    dirty: checkpoint::Dirty,
    retention: Retention,
}

impl Machine {
    /// An empty partition.
    pub fn new() -> Self {
        Self::default()
    }

    /// The last record applied.
    pub const fn applied(&self) -> Seq {
        self.applied
    }

    /// Whose announcement stands.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many runs have not ended.
    pub fn live_runs(&self) -> usize {
        self.live.len()
    }

    /// How many jobs they have out.
    pub const fn jobs_out(&self) -> usize {
        self.jobs_out
    }

    /// The runs that have not ended, in the order of their ids.
    pub fn live_ids(&self) -> impl Iterator<Item = RunId> {
        self.live.keys().copied()
    }

    /// Hands over a plan that was asked for, or why it cannot be had.
    pub fn learn_plan(&mut self, digest: Digest, plan: Result<Arc<Plan>, String>) {
        self.plans.insert(digest, plan.map_or_else(Known::Broken, Known::Plan));
    }

    /// Hands over a large value that was asked for, or why it cannot be had: whatever reads it comes to an end.
    pub fn learn_blob(&mut self, digest: Digest, value: Result<Arc<Value>, String>) {
        match value {
            Ok(value) => _ = self.blobs.insert(digest, value),
            Err(why) => _ = self.lost_blobs.insert(digest, why),
        }
    }

    /// Lets go of all large values; the next decision that needs one asks again.
    pub fn forget_blobs(&mut self) {
        self.blobs.clear();
        self.lost_blobs.clear();
    }

    /// A run that has not ended, or has ended since the last checkpoint.
    pub fn view(&self, run: RunId) -> Option<RunView> {
        self.run(run).map(Run::view)
    }

    /// A run that has not ended, or has ended since the last checkpoint, as it is kept.
    pub fn run(&self, run: RunId) -> Option<&Run> {
        self.live.get(&run).or_else(|| self.dirty.ended(run))
    }

    /// Every run that [`Machine::view`] shows, in the order of the ids.
    pub fn summaries(&self) -> Vec<RunSummary> {
        let mut all: Vec<_> = self.live.values().chain(self.dirty.all_ended()).map(Run::summary).collect();
        all.sort_unstable_by_key(|summary| summary.run);
        all
    }

    /// Takes one record and adds what follows from it to `effects`, in the order to be done.
    ///
    /// A refusal says why nothing followed; the record counts as applied all the same. The exception is
    /// [`Refused::Unprepared`]: nothing was changed, and the record is to be handed in again.
    pub fn handle(&mut self, record: &Record, effects: &mut Effects) -> Result<(), Refused> {
        if (record.seq, record.part) <= (self.applied, self.part) {
            return Err(Refused::AlreadyApplied);
        }
        if !self.needs(&record.event).is_empty() {
            return Err(Refused::Unprepared);
        }
        self.pass(record.seq, record.part, record.at);
        match &record.event {
            Event::LeaderAnnounced { jobs_lost, .. } => {
                self.epoch = Epoch(record.seq);
                if *jobs_lost {
                    self.lose_jobs();
                }
                self.timers.ask_anew();
                self.live.values().for_each(|run| self.timers.follow(run));
                Ok(())
            }
            Event::Submitted { run, namespace, workflow, inputs, trace } => {
                if self.live.contains_key(run) || self.finished.contains_key(run) {
                    return Err(Refused::DuplicateRun);
                }
                let who = (*run, namespace.clone());
                let run = Run::new(who, workflow.clone(), inputs.clone(), trace.clone(), self.now);
                self.begin(run, effects);
                Ok(())
            }
            Event::Settled { job, settlement, attempts, unreported, unreported_worker, .. } => {
                let unreported_worker = unreported_worker.as_ref();
                let report = settle::WorkerReport { attempts, unreported: *unreported, unreported_worker };
                self.change(job.run, effects, |run, plan, now, _| {
                    settle::settle(run, plan, job, settlement, &report, now)
                })
            }
            Event::Resumed { run } => {
                let found = self.live.get_mut(run).ok_or(Refused::UnknownRun)?;
                settle::send_again(found, self.now);
                self.dirty.change(*run);
                Ok(())
            }
            Event::Signalled { run, namespace, signal: Signal::Cancel { reason } } => {
                // Whoever sent it may not have been able to look at the run: this is where it is decided.
                if self.live.get(run).is_some_and(|run| run.namespace != *namespace) {
                    return Err(Refused::OtherNamespace);
                }
                self.change(*run, effects, |run, plan, now, effects| {
                    stop::cancel(run, plan, reason, now, effects)
                })
            }
            Event::Fired { epoch, timer } => self.fire(*epoch, timer, effects),
        }
    }

    /// Passes over an event that cannot be read, as everybody else does.
    pub fn pass(&mut self, seq: Seq, part: u32, at: Timestamp) {
        (self.applied, self.part) = (self.applied, self.part).max((seq, part));
        self.now = self.now.max(at);
        self.expire();
    }

    /// The leader's clock has moved: asks the log to record the timers whose moment has come.
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

    /// When the next [`Machine::tick`] is due.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.timers.first()
    }

    /// What ought to be in flight, from state alone: used by whoever takes a partition over.
    pub fn resume(&self) -> Effects {
        let mut effects = Effects::new();
        for run in self.live.values() {
            let Some(Known::Plan(plan)) = self.plans.get(&run.workflow.digest) else {
                // Nothing of it can go on, and any record about it ends it; so that it does not wait for ever for one.
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
                let Some(job) = advance::job(run, plan, StepIndex(number)) else { continue };
                let id = job.id.clone();
                effects.push(Effect::Dispatch(Box::new(job)));
                if step.stopped {
                    effects.push(Effect::Recall(id));
                }
            }
        }
        effects
    }

    /// Begins a run.
    fn begin(&mut self, mut run: Run, effects: &mut Effects) {
        match self.plans.get(&run.workflow.digest) {
            Some(Known::Plan(plan)) => {
                let plan = Arc::clone(plan);
                run.adopt(&plan);
                self.go_on(&mut run, &plan, effects);
            }
            Some(Known::Broken(why)) => run.fail(Fault::new(FaultClass::Internal, why), self.now),
            None => run.fail(Fault::new(FaultClass::Internal, "its plan is missing"), self.now),
        }
        self.keep(run, None, effects);
    }

    /// Changes a live run, and lets it go on from there.
    fn change(
        &mut self,
        id: RunId,
        effects: &mut Effects,
        change: impl FnOnce(&mut Run, &Plan, Timestamp, &mut Effects) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let mut run = self.live.remove(&id).ok_or(Refused::UnknownRun)?;
        let (before, out) = (Some(run.status), run.jobs_out());
        let plan = match self.plans.get(&run.workflow.digest) {
            Some(Known::Plan(plan)) => Arc::clone(plan),
            Some(Known::Broken(why)) => {
                run.fail(Fault::new(FaultClass::Internal, why), self.now);
                self.jobs_out -= out;
                self.keep(run, before, effects);
                return Ok(());
            }
            None => {
                self.live.insert(id, run);
                return Err(Refused::Unprepared);
            }
        };
        let changed = change(&mut run, &plan, self.now, effects);
        if changed.is_ok() {
            self.go_on(&mut run, &plan, effects);
            self.jobs_out -= out;
            self.keep(run, before, effects);
        } else {
            run.touched.clear();
            self.live.insert(id, run);
        }
        changed
    }

    /// Lets a run go on from where it stands, unless it reads a value that is lost.
    fn go_on(&self, run: &mut Run, plan: &Plan, effects: &mut Effects) {
        match self.lacks(run, plan) {
            Some(why) => {
                let out = (0..run.steps.len()).filter_map(|step| run.job_id(StepIndex(step)));
                effects.extend(out.map(Effect::Recall));
                run.fail(Fault::new(FaultClass::Internal, why), self.now);
            }
            None => advance::advance(run, plan, &self.blobs, self.now, effects),
        }
    }

    /// A timer's moment has come, says the log.
    fn fire(&mut self, epoch: Epoch, timer: &Timer, effects: &mut Effects) -> Result<(), Refused> {
        if epoch != self.epoch {
            return Err(Refused::StaleEpoch);
        }
        self.timers.heard(timer);
        let fired = self.change(timer.run, effects, |run, plan, now, effects| {
            let set = run.timers.get(&timer.kind).copied().ok_or(Refused::TimerNotSet)?;
            if set > now {
                return Err(Refused::TimerNotDue); // asked for by a clock that was ahead, or set anew since
            }
            run.timers.remove(&timer.kind);
            match &timer.kind {
                TimerKind::Retry { step, .. } => retry(run, plan, step, now, 0, effects),
                TimerKind::Lost { step, sent, .. } => {
                    retry(run, plan, step, now, sent.saturating_add(1), effects)
                }
                TimerKind::Step { step } => stop::group_out_of_time(run, plan, step, now, effects),
                TimerKind::Run => {
                    stop::run_out_of_time(run, plan, now, effects);
                    Ok(())
                }
                TimerKind::Grace => {
                    stop::grace_is_over(run, plan, now);
                    Ok(())
                }
            }
        });
        if let Some(run) = self.live.get(&timer.run) {
            self.timers.follow(run);
        }
        fired
    }

    /// Notes that the calls which were out will not be reported; [`Machine::resume`] sends their jobs again.
    fn lose_jobs(&mut self) {
        for run in self.live.values_mut() {
            if settle::lose_jobs(run, self.now) {
                self.dirty.change(run.id);
            }
        }
    }

    /// Puts a run back where it belongs after a change. Before that it stood somewhere, or was not there.
    fn keep(&mut self, mut run: Run, before: Option<RunStatus>, effects: &mut Effects) {
        let steps = std::mem::take(&mut run.touched).into_iter().collect();
        let turned = before.map_or_else(|| run.status.is_terminal(), |before| before != run.status);
        effects.push(Effect::Changed(Change { run: run.id, began: before.is_none(), turned, steps }));
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

/// Sends the job of a step whose moment has come, for the first or for another time.
fn retry(
    run: &mut Run,
    plan: &Plan,
    path: &longshore_proto::StepPath,
    now: Timestamp,
    sent: u32,
    effects: &mut Effects,
) -> Result<(), Refused> {
    let index = run.find(path).ok_or(Refused::UnknownStep)?;
    let step = run.step_if(index, |step| step.call.is_some()).ok_or(Refused::AlreadySettled)?;
    step.status = StepStatus::Running;
    let stopped = step.stopped;
    advance::dispatch(run, plan, index, now, sent, effects);
    if let (true, Some(job)) = (stopped, run.job_id(index)) {
        effects.push(Effect::Recall(job));
    }
    Ok(())
}
