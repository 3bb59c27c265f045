//! Plans and large values that the machine needs before it can apply a record.
//!
//! Both are immutable and addressed by their content, so that the machine stays pure although they are fetched: the driver
//! asks for the missing ones, fetches them, and passes them to [`Machine::provide_plan`](super::Machine::provide_plan) and
//! [`Machine::provide_blob`](super::Machine::provide_blob).

use std::collections::BTreeSet;

use longshore_proto::{Digest, Event, Outcome, Payload, Settlement, StepStatus};
use longshore_workflow::{Condition, Plan, ReadSet, StepField, StepIndex, StepKind};

use super::step::Step;
use super::{KnownPlan, Machine, Run};

/// Content addresses of missing plans and values.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Needs {
    /// Texts of workflows.
    pub plans: BTreeSet<Digest>,
    /// Large values.
    pub blobs: BTreeSet<Digest>,
}

impl Needs {
    /// Returns true if nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.plans.is_empty() && self.blobs.is_empty()
    }
}

impl Machine {
    /// Returns what is missing before an event can be applied. Ask again after providing it: a plan names the values that it
    /// reads.
    pub fn needs(&self, event: &Event) -> Needs {
        let mut needs = Needs::default();
        match event {
            Event::LeaderAnnounced { .. } => {}
            Event::Submitted { workflow, inputs, .. } => match self.plans.get(&workflow.digest) {
                None => _ = needs.plans.insert(workflow.digest),
                Some(KnownPlan::Plan(plan, _)) => {
                    if let Some(digest) = inputs.blob()
                        && all_reads(plan).any(|reads| reads.inputs)
                    {
                        needs.blobs.insert(digest);
                    }
                }
                Some(KnownPlan::Broken(_)) => {}
            },
            Event::Settled { job, settlement, .. } => {
                if let Some(run) = self.live.get(&job.run) {
                    self.needs_of(run, fresh_blobs(settlement), &mut needs);
                }
            }
            // It starts no step, so nothing is read.
            Event::Starting { job, .. } | Event::NotCalled { job } => {
                let run = self.live.get(&job.run);
                needs.plans.extend(
                    run.map(|run| run.outline.workflow.digest)
                        .filter(|digest| !self.plans.contains_key(digest)),
                );
            }
            Event::Returned { job, .. } => {
                if let Some(run) = self.live.get(&job.run) {
                    self.needs_of(run, Vec::new(), &mut needs);
                }
            }
            Event::Resumed { run } | Event::Signalled { run, .. } => {
                if let Some(run) = self.live.get(run) {
                    self.needs_of(run, Vec::new(), &mut needs);
                }
            }
            Event::Fired { timer, .. } => {
                if let Some(run) = self.live.get(&timer.run) {
                    self.needs_of(run, Vec::new(), &mut needs);
                }
            }
        }
        needs
            .blobs
            .retain(|digest| !self.blobs.contains_key(digest) && !self.lost_blobs.contains_key(digest));
        needs
    }

    /// Returns the missing plans of live runs. Called once, after a checkpoint was loaded.
    pub fn missing_plans(&self) -> BTreeSet<Digest> {
        self.live
            .values()
            .map(|run| run.outline.workflow.digest)
            .filter(|digest| !self.plans.contains_key(digest))
            .collect()
    }

    /// Returns the reason why a run cannot continue, if a value that it still reads is lost.
    pub(super) fn lost_value(&self, run: &Run, plan: &Plan) -> Option<&str> {
        if self.lost_blobs.is_empty() {
            return None; // nearly always
        }
        let mut read = BTreeSet::new();
        values_read(plan, run, &mut read);
        read.iter().find_map(|digest| self.lost_blobs.get(digest)).map(String::as_str)
    }

    /// Adds every large value that is read by a step which has not begun, or by an output of the run.
    fn needs_of(&self, run: &Run, fresh: Vec<Digest>, needs: &mut Needs) {
        let plan = match self.plans.get(&run.outline.workflow.digest) {
            Some(KnownPlan::Plan(plan, _)) => plan,
            Some(KnownPlan::Broken(_)) => return, // the next record ends the run, whatever its values are
            None => {
                needs.plans.insert(run.outline.workflow.digest);
                return;
            }
        };
        let keeps_blobs = run.inputs.blob().is_some() || run.frame.has_blobs();
        if fresh.is_empty() && !keeps_blobs {
            return; // nearly always: no large value in the run, nothing to look for
        }
        needs.blobs.extend(fresh);
        values_read(plan, run, &mut needs.blobs);
    }
}

/// Adds the large values that the expressions that are still to be evaluated read.
fn values_read(plan: &Plan, run: &Run, found: &mut BTreeSet<Digest>) {
    for reads in pending_reads(plan, run) {
        if reads.inputs {
            found.extend(run.inputs.blob());
        }
        for (id, fields) in &reads.steps {
            if let Some(index) = plan.find_id(id) {
                blobs_of(plan, run, index, fields, found);
            }
        }
    }
}

/// Returns the blobs of a settlement. Whether a step reads them is known only once it is applied, so they are always
/// fetched. That is cheap, because a worker has just stored them.
fn fresh_blobs(settlement: &Settlement) -> Vec<Digest> {
    let Settlement::Done(Outcome::Output(output)) = settlement else { return Vec::new() };
    output.value.blob().into_iter().chain(output.content.as_ref().and_then(Payload::blob)).collect()
}

/// Adds the blobs in some fields of a step. The output of a group consists of the outputs of its members.
fn blobs_of(
    plan: &Plan,
    run: &Run,
    index: StepIndex,
    fields: &BTreeSet<StepField>,
    found: &mut BTreeSet<Digest>,
) {
    if let Some(output) = run.step(index).and_then(Step::output) {
        if fields.contains(&StepField::Output) {
            found.extend(output.value.blob());
        }
        if fields.contains(&StepField::Content) {
            found.extend(output.content.as_ref().and_then(Payload::blob));
        }
    }
    if let Some(StepKind::Parallel { members, .. }) = plan.step(index).map(|step| &step.kind) {
        for member in members {
            blobs_of(plan, run, *member, fields, found);
        }
    }
}

/// Returns the read sets of all expressions that are still to be evaluated.
fn pending_reads(plan: &Plan, run: &Run) -> impl Iterator<Item = ReadSet> {
    let pending =
        plan.steps.iter().zip(run.frame.steps()).filter(|(_, state)| state.status == StepStatus::Pending);
    pending
        .flat_map(|(step, _)| step_reads(step))
        .chain(plan.outputs.iter().map(|(_, output)| output.reads()))
}

fn all_reads(plan: &Plan) -> impl Iterator<Item = ReadSet> {
    plan.steps.iter().flat_map(step_reads).chain(plan.outputs.iter().map(|(_, output)| output.reads()))
}

fn step_reads(step: &longshore_workflow::Step) -> Vec<ReadSet> {
    let condition = match &step.condition {
        Condition::Success => None,
        Condition::SuccessAnd(expr) | Condition::Explicit(expr) => Some(expr.reads().clone()),
    };
    let body = match &step.kind {
        StepKind::Call(call) => {
            vec![
                Some(call.with.reads()),
                call.idempotency_key.as_ref().map(longshore_workflow::Template::reads),
            ]
        }
        StepKind::Set(values) => vec![Some(values.reads())],
        StepKind::Parallel { .. } => Vec::new(),
    };
    condition.into_iter().chain(body.into_iter().flatten()).collect()
}
