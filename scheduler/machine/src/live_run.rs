//! Live runs: begins one, changes one, and puts it back with what follows for timers, checkpoint and updates.

use std::sync::Arc;

use longshore_proto::{RunId, RunStatus, Timestamp};
use longshore_workflow::Plan;

use super::{Effect, Effects, KnownPlan, Machine, RecordIgnored, Run, RunChange, advance};

impl Machine {
    /// Starts a run.
    pub(super) fn begin(&mut self, mut run: Box<Run>, effects: &mut Effects) {
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
    pub(super) fn change(
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

    /// Follows a change of a live run that started and ended no step.
    pub(super) fn follow_changes(&mut self, id: RunId) {
        if let Some(run) = self.live.get_mut(&id) {
            self.timers.follow(id, run.frame.take_changes().timers);
            self.dirty.change(id);
        }
    }

    /// Puts a run back after a change. `before` is its earlier status, or `None` for a new run.
    pub(super) fn keep(&mut self, mut run: Box<Run>, before: Option<RunStatus>, effects: &mut Effects) {
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
