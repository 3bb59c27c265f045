//! Progress of a run: what begins and ends as a consequence of a record, and the end of the run.
//!
//! A worklist: a step that ended makes its followers ready and ends its group, and ready steps begin in the order of the plan.
//! The cost is that of the steps that begin and end, not that of the run.

use longshore_proto::{Event, Fault, INLINE_LIMIT_BYTES, Payload, RunStatus, StepStatus, Timestamp};
use longshore_workflow::{Plan, StepIndex, StepKind, WorkBudget};

use serde_json::Value;

use super::decision::Evaluator;
use super::failure::note_failure;
use super::run::RunError;
use super::scope::LargeValues;
use super::{Effect, Effects, Run};

/// Calls of one run that may be out at once. One run cannot fill the queue, and a group of a thousand still goes
/// out in a few waves.
pub(super) const WINDOW: usize = 256;

/// Begins and ends whatever can, within the budget of one record.
pub(super) fn advance(run: &mut Run, plan: &Plan, now: Timestamp, effects: &mut Effects) {
    let mut progress = Progress::new(plan, now, effects);
    loop {
        progress.propagate_ends(run);
        let Some(index) = run.frame.take_ready(run.frame.calls() < WINDOW) else { break };
        if !progress.begin(run, index) {
            return progress.continue_later(run);
        }
    }
    if run.status.is_terminal() {
        return; // its outputs were evaluated
    }
    if run.frame.has_ended() {
        progress.finish(run);
    } else if run.error.is_some() && run.status == RunStatus::Running {
        run.status = RunStatus::Failing;
    }
}

impl Run {
    /// Returns true if a step can begin, or the run can end, without another record.
    pub(super) fn can_advance(&self) -> bool {
        let can_end = self.frame.has_ended() && self.evaluation.is_none() && !self.status.is_terminal();
        can_end || self.frame.can_begin(self.frame.calls() < WINDOW)
    }
}

/// Surroundings in which steps of a run begin and end.
pub(super) struct Progress<'a> {
    pub(super) plan: &'a Plan,
    pub(super) now: Timestamp,
    pub(super) effects: &'a mut Effects,
    /// Knows no large value: they are fetched for evaluations only.
    pub(super) values: LargeValues,
    /// Shared by all expressions that this record makes the run evaluate.
    pub(super) budget: WorkBudget,
    /// An evaluation used the budget and did not exhaust it.
    pub(super) has_evaluated: bool,
}

impl<'a> Progress<'a> {
    pub(super) fn new(plan: &'a Plan, now: Timestamp, effects: &'a mut Effects) -> Self {
        let (values, budget) = (LargeValues::default(), WorkBudget::of_record());
        Self { plan, now, effects, values, budget, has_evaluated: false }
    }

    /// Leaves what can begin or end to the next record, which the leader appends.
    fn continue_later(&mut self, run: &Run) {
        self.effects.push(Effect::Append(Event::Continued { run: run.id }));
    }

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

    /// Ends a run whose steps have all ended, or lets it wait for the evaluation of its outputs.
    fn finish(&mut self, run: &mut Run) {
        if run.error.is_some() || run.status == RunStatus::Cancelling {
            return self.end_run(run, Ok(Payload::NULL));
        }
        if run.evaluation.is_some() {
            return;
        }
        let evaluator = Evaluator { run, plan: self.plan, values: &self.values, budget: &self.budget };
        let outputs = evaluator.outputs();
        let is_small = |outputs: &Value| outputs.to_string().len() <= INLINE_LIMIT_BYTES;
        if self.budget.is_spent() && self.has_evaluated {
            self.continue_later(run);
        } else if self.values.take_missing().is_empty()
            && !self.budget.is_spent()
            && outputs.as_ref().map_or(true, is_small)
        {
            self.end_run(run, outputs.map(Payload::Inline));
        } else {
            let number = run.next_evaluation();
            self.effects.push(Effect::Evaluate { run: run.id, step: None, number });
        }
    }

    /// Ends a run. The outputs count only if it succeeded.
    pub(super) fn end_run(&self, run: &mut Run, outputs: Result<Payload, Fault>) {
        run.evaluation = None;
        match (outputs, run.status) {
            (_, RunStatus::Cancelling) => run.status = RunStatus::Cancelled,
            _ if run.error.is_some() => run.status = RunStatus::Failed,
            (Ok(outputs), _) => {
                run.outputs = Some(Box::new(outputs));
                run.status = RunStatus::Succeeded;
            }
            (Err(fault), _) => {
                run.error = Some(Box::new(RunError { fault, step: None }));
                run.status = RunStatus::Failed;
            }
        }
        run.finished_at = Some(self.now);
    }
}
