//! Plans that the machine needs before it can apply a record.
//!
//! A plan is immutable and addressed by its content, so that the machine stays pure although plans are fetched: the driver
//! asks for the missing ones, fetches them, and passes them to [`Machine::provide_plan`](super::Machine::provide_plan).

use std::collections::BTreeSet;

use longshore_proto::{Digest, Event};

use super::{KnownPlan, Machine};

impl Machine {
    /// Returns the plan that is missing before an event can be applied.
    pub fn missing_plan(&self, event: &Event) -> Option<Digest> {
        let digest = match event {
            Event::Submitted { workflow, .. } => Some(workflow.digest),
            Event::Quarantined { .. } => None,
            other => other.run().and_then(|run| self.live.get(&run)).map(|run| run.outline.workflow.digest),
        };
        digest.filter(|digest| !self.plans.contains_key(digest))
    }

    /// Returns the plan of a new run that was unavailable for an earlier one. The driver asks for it again, since its text may be
    /// stored again.
    pub fn unavailable_plan(&self, event: &Event) -> Option<Digest> {
        let Event::Submitted { workflow, .. } = event else { return None };
        matches!(self.plans.get(&workflow.digest), Some(KnownPlan::Broken(_))).then_some(workflow.digest)
    }

    /// Returns the missing plans of live runs. Called once, after a checkpoint was loaded.
    pub fn missing_plans(&self) -> BTreeSet<Digest> {
        let digests = self.live.values().map(|run| run.outline.workflow.digest);
        digests.filter(|digest| !self.plans.contains_key(digest)).collect()
    }

    /// Gives all live runs what follows from their plans. Called once, after the missing plans of a restored state were provided.
    pub fn join_plans(&mut self) {
        for run in self.live.values_mut() {
            if let Some(KnownPlan::Plan(plan, outline)) = self.plans.get(&run.outline.workflow.digest) {
                run.rejoin(plan, outline);
            }
        }
    }
}
