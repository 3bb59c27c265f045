//! Timers: asks the log to fire those that are due, and applies those that fired.

use longshore_proto::{Epoch, Event, StepStatus, Timer, Timestamp};
use longshore_workflow::{Plan, StepIndex};

use super::timer_key::{StepTimer, TimerKey};
use super::{Effect, Effects, KnownPlan, Machine, RecordIgnored, Run, dispatch, grants, stop};

/// Maximum number of timers that one tick fires. One durable write has room for them; the others follow in the next tick.
const FIRED_PER_TICK: usize = 1_000;

impl Machine {
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

    /// Applies the event that a timer fired.
    pub(super) fn fire(
        &mut self,
        epoch: Epoch,
        timer: &Timer,
        effects: &mut Effects,
    ) -> Result<(), RecordIgnored> {
        if epoch != self.epoch {
            return Err(RecordIgnored::StaleEpoch);
        }
        let run = self.live.get(&timer.run).ok_or(RecordIgnored::UnknownRun)?;
        let set = match self.plans.get(&run.outline.workflow.digest) {
            Some(KnownPlan::Plan(plan, _)) => run.find_timer(plan, &timer.kind),
            // The change below ends the run, whatever its timers are.
            Some(KnownPlan::Broken(_)) | None => Some((TimerKey::Run, self.now)),
        };
        let (key, at) = set.ok_or(RecordIgnored::TimerNotSet)?;
        if at > self.now {
            // Fired by a clock that was ahead, or set again since.
            self.timers.note_not_due(timer.run, key, at);
            return Err(RecordIgnored::TimerNotDue);
        }
        self.timers.unset(at, timer.run, key);
        self.change(timer.run, effects, |run, plan, now, effects| match key {
            TimerKey::Run => {
                run.deadline = None;
                stop::run_out_of_time(run, plan, now, effects);
                Ok(())
            }
            TimerKey::Step(step, timer) => fire_step(run, plan, (step.into(), timer), now, effects),
        })
    }
}

/// Applies a timer of a step.
fn fire_step(
    run: &mut Run,
    plan: &Plan,
    (index, timer): (StepIndex, StepTimer),
    now: Timestamp,
    effects: &mut Effects,
) -> Result<(), RecordIgnored> {
    run.change(index, |step| {
        let call = step.call.as_mut();
        match timer {
            StepTimer::Call => _ = call.map(|call| call.due_at = None),
            StepTimer::Doubt => _ = call.map(|call| call.doubt_ends_at = None),
            StepTimer::Grace => _ = call.map(|call| call.grace_ends_at = None),
            StepTimer::Deadline => step.record_mut().deadline = None,
        }
    });
    match timer {
        StepTimer::Call => retry(run, plan, index, now, effects),
        StepTimer::Doubt => _ = grants::end_and_recall(run, index, now, effects),
        StepTimer::Grace => stop::grace_is_over(run, index, now, effects),
        StepTimer::Deadline => return stop::group_out_of_time(run, plan, index, now, effects),
    }
    Ok(())
}

/// Sends the job of a step whose next attempt is due, or whose job is taken for lost.
fn retry(run: &mut Run, plan: &Plan, index: StepIndex, now: Timestamp, effects: &mut Effects) {
    // All its attempts would have been reported by now.
    if grants::end_and_recall(run, index, now, effects) {
        return;
    }
    let sent_again = run.change(index, |step| {
        let was_lost = step.status == StepStatus::Running;
        step.status = StepStatus::Running;
        step.call.as_ref().filter(|_| was_lost).map_or(0, |call| call.sent_again.saturating_add(1))
    });
    dispatch::dispatch(run, plan, index, now, sent_again.unwrap_or_default(), effects);
    if run.step(index).is_some_and(|step| step.stopped) {
        effects.extend(run.job_id(index).map(Effect::Recall));
    }
}
