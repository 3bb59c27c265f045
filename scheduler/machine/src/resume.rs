//! Effects of a takeover, derived from the state alone.
//!
//! The jobs are listed by their ids, and built one by one when they are sent: there may be a hundred thousand of them, each with its
//! arguments.

use longshore_proto::{Event, Grant, GrantDecision, JobAddress, JobId, StepStatus};
use longshore_workflow::{Plan, StepIndex, StepKind};

use super::{Effect, Effects, KnownPlan, Machine, Run, Step, dispatch};

impl Machine {
    /// Returns the effects that a new leader must perform, except for the [jobs](Self::jobs_to_send) that it has to send.
    pub fn resume(&self) -> Effects {
        let mut effects: Effects = self.quarantines().collect();
        for run in self.live.values().filter(|run| !self.unreadable.contains_key(&run.id)) {
            match self.plans.get(&run.outline.workflow.digest) {
                Some(KnownPlan::Plan(..)) => {
                    run.frame.indices().for_each(|index| resume_step(run, index, &mut effects));
                    if let Some(number) = run.evaluation {
                        effects.push(Effect::Evaluate { run: run.id, step: None, number });
                    }
                    if run.can_advance() {
                        effects.push(Effect::Append(Event::Continued { run: run.id }));
                    }
                }
                // The run cannot continue; see `quarantine`.
                Some(KnownPlan::Broken(why)) => {
                    effects.push(Effect::Append(Event::Quarantined { run: run.id, reason: why.clone() }));
                }
                None => {}
            }
        }
        effects
    }

    /// Returns the outstanding jobs that the queue has to have: no delivery of them has been granted.
    pub fn jobs_to_send(&self) -> impl Iterator<Item = JobAddress> {
        let readable = self.live.values().filter(|run| !self.unreadable.contains_key(&run.id));
        let planned = readable.filter_map(|run| Some((run, self.plan_of(run)?)));
        planned.flat_map(|(run, plan)| run.frame.indices().filter_map(move |index| address(run, plan, index)))
    }

    /// Returns true if a step waits for the outcome of this job.
    pub fn is_outstanding(&self, id: &JobId) -> bool {
        self.outstanding_step(id).is_some()
    }

    /// Returns the effects that send a job. None if no outstanding job has this id, or if a delivery of it was granted.
    pub fn send_job(&self, id: &JobId) -> Effects {
        let mut effects = Effects::new();
        if let Some((run, plan, index)) = self.outstanding_step(id)
            && !self.unreadable.contains_key(&run.id)
            && let Some(step) = run.step(index).filter(|step| is_to_send(step))
        {
            effects.extend(dispatch::dispatch_effect(run, plan, index));
            if step.stopped {
                effects.push(Effect::Recall(id.clone()));
            }
        }
        effects
    }

    /// Returns the step that waits for the outcome of a job, with its run and plan.
    fn outstanding_step(&self, id: &JobId) -> Option<(&Run, &Plan, StepIndex)> {
        let run = self.live.get(&id.run)?;
        let plan = self.plan_of(run)?;
        let index = plan.find(&id.step).filter(|index| run.job_id(*index).as_ref() == Some(id))?;
        Some((run, plan, index))
    }

    /// Returns the plan of a run, if it is known and compiles.
    fn plan_of(&self, run: &Run) -> Option<&Plan> {
        match self.plans.get(&run.outline.workflow.digest)? {
            KnownPlan::Plan(plan, _) => Some(plan),
            KnownPlan::Broken(_) => None,
        }
    }
}

fn is_to_send(step: &Step) -> bool {
    step.status == StepStatus::Running && step.granted_to().is_none()
}

fn address(run: &Run, plan: &Plan, index: StepIndex) -> Option<JobAddress> {
    run.step(index).filter(|step| is_to_send(step))?;
    let StepKind::Call(call) = &plan.step(index)?.kind else { return None };
    Some(JobAddress { server: call.server.clone(), id: run.job_id(index)? })
}

fn resume_step(run: &Run, index: StepIndex, effects: &mut Effects) {
    let Some(step) = run.step(index).filter(|step| step.status == StepStatus::Running) else { return };
    if let Some(number) = step.pending_evaluation_number() {
        effects.push(Effect::Evaluate { run: run.id, step: Some(index), number });
    }
    let Some(id) = run.job_id(index) else { return };
    // The job of a granted call is not sent again: no other delivery may make the call.
    if let Some(delivery) = step.granted_to() {
        effects.push(Effect::Grant(Grant {
            job: id.clone(),
            delivery: delivery.clone(),
            decision: GrantDecision::Granted,
        }));
    }
    if step.stopped {
        effects.push(Effect::Recall(id));
    }
}
