//! Applies a record: finds the run, and delegates to the module for the event.
//!
//! `settle` applies a worker's report, `stop` applies cancels and deadlines, and `advance` starts and ends steps as a
//! consequence.

use longshore_proto::{
    DeliveryId, Epoch, Event, Grant, GrantDecision, JobId, Record, Seq, Signal, Timestamp,
};

use super::{
    Effect, Effects, KnownPlan, Machine, RecordIgnored, Run, evaluate, grants, settle, stop, terminate,
};

impl Machine {
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
}
