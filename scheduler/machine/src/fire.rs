//! Timers that fired.

use longshore_proto::{Epoch, StepPath, StepStatus, Timer, TimerKind, Timestamp};
use longshore_workflow::Plan;

use super::{Effect, Effects, Machine, RecordIgnored, Run, advance, grants, stop};

impl Machine {
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
        self.timers.note_fired(timer);
        let fired = self.change(timer.run, effects, |run, plan, now, effects| {
            let set = run.timers.get(&timer.kind).copied().ok_or(RecordIgnored::TimerNotSet)?;
            if set > now {
                return Err(RecordIgnored::TimerNotDue); // fired by a clock that was ahead, or set again since
            }
            run.timers.remove(&timer.kind);
            match &timer.kind {
                TimerKind::Retry { step, .. } => retry(run, plan, step, now, 0, effects),
                TimerKind::Lost { step, sent, .. } => {
                    retry(run, plan, step, now, sent.saturating_add(1), effects)
                }
                TimerKind::Doubt { step, attempt } => {
                    grants::doubt_is_over(run, plan, (step, *attempt), now, effects)
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
}

/// Sends the job of a step whose timer fired.
fn retry(
    run: &mut Run,
    plan: &Plan,
    path: &StepPath,
    now: Timestamp,
    sent: u32,
    effects: &mut Effects,
) -> Result<(), RecordIgnored> {
    let index = run.find(path).ok_or(RecordIgnored::UnknownStep)?;
    // All its attempts would have been reported by now.
    if grants::end_and_recall(run, plan, index, now, effects) {
        return Ok(());
    }
    let step = run.step_if(index, |step| step.call.is_some()).ok_or(RecordIgnored::AlreadySettled)?;
    step.status = StepStatus::Running;
    let stopped = step.stopped;
    advance::dispatch(run, plan, index, now, sent, effects);
    if let (true, Some(job)) = (stopped, run.job_id(index)) {
        effects.push(Effect::Recall(job));
    }
    Ok(())
}
