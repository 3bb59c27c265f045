//! Progress of a run: what begins and ends as a consequence of a record, and the end of the run.
//!
//! A worklist: a step that ended makes its followers ready and ends its group, and ready steps begin in the order of the plan.
//! The cost is that of the steps that begin and end, not that of the run.

use longshore_proto::{Fault, FaultClass, RunStatus, StepStatus, Timestamp};
use longshore_workflow::{Plan, StepIndex, StepKind, WorkBudget};
use serde_json::{Map, Value};

use super::failure::note_failure;
use super::run::RunError;
use super::scope::{BlobValues, RunScope};
use super::{Effects, Run};

/// Calls of one run that may be out at once. One run cannot fill the queue, and a group of a thousand still goes
/// out in a few waves.
pub(super) const WINDOW: usize = 256;

/// Begins and ends whatever can. Called once for each record, so its budget is that of the record.
pub(super) fn advance(run: &mut Run, plan: &Plan, blobs: &BlobValues, now: Timestamp, effects: &mut Effects) {
    let mut progress = Progress { plan, blobs, now, effects, budget: WorkBudget::new() };
    loop {
        progress.propagate_ends(run);
        match run.frame.take_ready(run.frame.calls() < WINDOW) {
            Some(index) => progress.begin(run, index),
            None => break,
        }
    }
    if run.frame.has_ended() {
        progress.finish(run);
    } else if run.error.is_some() && run.status == RunStatus::Running {
        run.status = RunStatus::Failing;
    }
}

/// What the steps of a run need to begin and to end.
pub(super) struct Progress<'a> {
    pub(super) plan: &'a Plan,
    pub(super) blobs: &'a BlobValues,
    pub(super) now: Timestamp,
    pub(super) effects: &'a mut Effects,
    /// Shared by all expressions that this record makes the run evaluate.
    pub(super) budget: WorkBudget,
}

impl Progress<'_> {
    /// Tells followers and groups of the steps that ended, until no further group ends.
    fn propagate_ends(&mut self, run: &mut Run) {
        while let Some(index) = run.frame.next_ended() {
            let group = run.frame.note_ended(self.plan, index);
            note_failure(run, self.plan, index);
            if let Some(group) = group {
                self.end_group(run, group);
            }
        }
    }

    /// Ends a group whose members have all ended.
    fn end_group(&self, run: &mut Run, index: StepIndex) {
        let Some(StepKind::Parallel { members, .. }) = self.plan.step(index).map(|step| &step.kind) else {
            return;
        };
        let was_cancelled =
            |member: &StepIndex| run.step(*member).is_some_and(|step| step.status == StepStatus::Cancelled);
        let out_of_time = run.step(index).and_then(|group| group.error().cloned());
        let failed = run.frame.first_failed(Some(index));
        let (status, fault) = if let Some(fault) = out_of_time {
            (StepStatus::Failed, Some(fault))
        } else if let Some((member, path)) = failed.and_then(|member| run.step(member).zip(run.path(member)))
        {
            (StepStatus::Failed, Some(Fault::of_member(path, member.error())))
        } else if members.iter().any(was_cancelled) {
            (StepStatus::Cancelled, None)
        } else {
            (StepStatus::Succeeded, None)
        };
        run.change(index, |group| group.end(status, fault, self.now));
    }

    /// Ends a run whose steps have all ended.
    fn finish(&self, run: &mut Run) {
        let scope = RunScope { run, plan: self.plan, blobs: self.blobs, group: None };
        let mut outputs = Map::new();
        let mut broken = None;
        if run.error.is_none() && run.status != RunStatus::Cancelling {
            for (name, template) in &self.plan.outputs {
                match template.render_optional(&scope, &self.budget) {
                    Ok(value) => outputs.extend(value.map(|value| (name.clone(), value))),
                    Err(error) => {
                        let problem = format!("output `{name}`: {error}");
                        broken.get_or_insert_with(|| Fault::new(FaultClass::Expression, problem));
                    }
                }
            }
        }
        if let Some(fault) = broken {
            run.error = Some(Box::new(RunError { fault, step: None }));
        }
        run.status = match (&run.error, run.status) {
            (_, RunStatus::Cancelling) => RunStatus::Cancelled,
            (Some(_), _) => RunStatus::Failed,
            (None, _) => {
                run.outputs = Some(Box::new(Value::Object(outputs)));
                RunStatus::Succeeded
            }
        };
        run.finished_at = Some(self.now);
    }
}
