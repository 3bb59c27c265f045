//! Effects of a takeover, derived from the state alone.

use longshore_proto::{Event, Grant, GrantDecision, StepStatus};
use longshore_workflow::{Plan, StepIndex};

use super::{Effect, Effects, KnownPlan, Machine, Run, dispatch};

impl Machine {
    /// Returns the effects that a new leader must perform, such as the dispatch of each outstanding job. They are derived from
    /// the state alone.
    pub fn resume(&self) -> Effects {
        let mut effects: Effects = self.quarantines().collect();
        for run in self.live.values().filter(|run| !self.unreadable.contains_key(&run.id)) {
            match self.plans.get(&run.outline.workflow.digest) {
                Some(KnownPlan::Plan(plan, _)) => {
                    run.frame.indices().for_each(|index| resume_step(run, plan, index, &mut effects));
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
}

fn resume_step(run: &Run, plan: &Plan, index: StepIndex, effects: &mut Effects) {
    let Some(step) = run.step(index).filter(|step| step.status == StepStatus::Running) else { return };
    if let Some(number) = step.pending_evaluation_number() {
        effects.push(Effect::Evaluate { run: run.id, step: Some(index), number });
    }
    let Some(id) = run.job_id(index) else { return };
    match step.granted_to() {
        // The job of a granted call is not sent again: no other delivery may make the call.
        Some(delivery) => effects.push(Effect::Grant(Grant {
            job: id.clone(),
            delivery: delivery.clone(),
            decision: GrantDecision::Granted,
        })),
        None => effects.extend(dispatch::dispatch_effect(run, plan, index)),
    }
    if step.stopped {
        effects.push(Effect::Recall(id));
    }
}
