//! A frame: one execution of a list of steps. Its counters make the cost of a record independent of the number of steps.
//!
//! All changes of a step go through [`Frame::change`], which keeps the counters: calls without an outcome, values that are
//! held, timers. The [`Order`] says which steps can begin. Both follow from the stored states and the plan, and are never stored.

mod order;
mod tally;

use std::collections::{BTreeSet, VecDeque};

use longshore_proto::Timestamp;
use longshore_workflow::{Plan, StepIndex};
use serde::{Deserialize, Serialize};

use super::step::Step;
use super::timer_key::{StepTimer, TimerChange, TimerKey};
use order::Order;
use tally::{Footprint, Tally};

/// One execution of a list of steps.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Vec<Step>")]
pub(super) struct Frame {
    steps: Vec<Step>,
    tally: Tally,
    /// `None` until the plan is known.
    order: Option<Box<Order>>,
    /// `None` while no record is applied, so that a frame at rest takes little memory.
    changes: Option<Box<FrameChanges>>,
}

/// Changes of a frame by the current record.
#[derive(Clone, Debug, Default)]
pub(super) struct FrameChanges {
    /// Steps that ended and whose followers do not know it yet.
    ended: VecDeque<StepIndex>,
    /// Changed steps.
    pub(super) steps: BTreeSet<StepIndex>,
    /// Changed timers.
    pub(super) timers: Vec<TimerChange>,
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.steps == other.steps
    }
}

impl From<Vec<Step>> for Frame {
    fn from(steps: Vec<Step>) -> Self {
        let mut tally = Tally::default();
        steps.iter().for_each(|step| tally.add(&Footprint::of(step)));
        Self { steps, tally, ..Self::default() }
    }
}

impl Serialize for Frame {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.steps.serialize(serializer)
    }
}

impl Frame {
    /// Creates a frame of steps that have not begun.
    pub(super) fn new(plan: &Plan) -> Self {
        let mut frame = Self::from(vec![Step::pending(); plan.steps.len()]);
        frame.find_order(plan);
        frame
    }

    /// Derives the order of a frame that was restored without its plan.
    pub(super) fn find_order(&mut self, plan: &Plan) {
        if self.order.is_none() {
            self.order = Some(Box::new(Order::of(plan, &self.steps)));
        }
    }

    /// Returns the steps, in the order of the plan.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns a step by its index in the plan.
    pub(super) fn step(&self, index: StepIndex) -> Option<&Step> {
        self.steps.get(index.0)
    }

    /// Returns the indices of all steps.
    pub(super) fn indices(&self) -> impl Iterator<Item = StepIndex> + use<> {
        (0..self.steps.len()).map(StepIndex)
    }

    /// Returns the number of calls without an outcome, with the steps that wait for an evaluation.
    pub(super) const fn calls(&self) -> usize {
        self.tally.calls as usize
    }

    /// Returns the number of calls whose job is outstanding, without those that wait for their next attempt.
    pub(super) const fn jobs_out(&self) -> usize {
        self.tally.jobs_out as usize
    }

    /// Returns the size of the arguments of all calls without an outcome, as JSON text in bytes.
    pub(super) const fn argument_bytes(&self) -> usize {
        self.tally.argument_bytes
    }

    /// Returns the number of steps that are indeterminate.
    pub(super) const fn indeterminate(&self) -> usize {
        self.tally.indeterminate as usize
    }

    /// Changes a step. Returns `None` if there is no such step.
    pub(super) fn change<R>(&mut self, index: StepIndex, change: impl FnOnce(&mut Step) -> R) -> Option<R> {
        let step = self.steps.get_mut(index.0)?;
        let before = Footprint::of(step);
        let result = change(step);
        let after = Footprint::of(step);
        self.tally.subtract(&before);
        self.tally.add(&after);
        let changes = self.changes.get_or_insert_default();
        for timer in StepTimer::ALL {
            let (before, after) = (before.timer(timer), after.timer(timer));
            if before != after {
                changes.timers.push((TimerKey::Step(index.into(), timer), before, after));
            }
        }
        if after.has_ended && !before.has_ended {
            changes.ended.push_back(index);
        }
        changes.steps.insert(index);
        Some(result)
    }

    /// Returns the timers of all steps, with their times.
    pub(super) fn timers(&self) -> impl Iterator<Item = (TimerKey, Timestamp)> {
        self.indices().zip(&self.steps).flat_map(|(index, step)| {
            let times = Footprint::of(step);
            let of_step = move |timer| Some((TimerKey::Step(index.into(), timer), times.timer(timer)?));
            StepTimer::ALL.into_iter().filter_map(of_step)
        })
    }

    /// Returns the changes since the last call.
    pub(super) fn take_changes(&mut self) -> FrameChanges {
        self.changes.take().map(|changes| *changes).unwrap_or_default()
    }

    /// Returns the first step that ended and whose followers do not know it yet.
    pub(super) fn next_ended(&mut self) -> Option<StepIndex> {
        self.changes.as_mut()?.ended.pop_front()
    }

    /// Notes that a step ended. Returns its group if that has no other member left.
    pub(super) fn note_ended(&mut self, plan: &Plan, index: StepIndex) -> Option<StepIndex> {
        let (steps, order) = (&self.steps, self.order.as_mut()?);
        order.note_ended(plan, steps, index)
    }

    /// Notes that a group began, so that its members can begin.
    pub(super) fn note_group_began(&mut self, plan: &Plan, index: StepIndex) {
        if let Some(order) = &mut self.order {
            order.note_group_began(plan, index);
        }
    }

    /// Takes the first step that can begin, by the order of the plan; a call only if `with_calls`.
    pub(super) fn take_ready(&mut self, with_calls: bool) -> Option<StepIndex> {
        self.order.as_mut()?.take_ready(with_calls)
    }

    /// Returns true if a step can begin; a call only if `with_calls`.
    pub(super) fn can_begin(&self, with_calls: bool) -> bool {
        self.order.as_ref().is_some_and(|order| order.can_begin(with_calls))
    }

    /// Lets a step that was taken begin later.
    pub(super) fn put_back(&mut self, plan: &Plan, index: StepIndex) {
        if let (Some(order), Some(step)) = (&mut self.order, plan.step(index)) {
            order.add_ready(step, index);
        }
    }

    /// Returns a copy with the statuses of all steps, and the values of some.
    pub(super) fn with_only(&self, values: &BTreeSet<StepIndex>) -> Self {
        let copy = |(index, step): (StepIndex, &Step)| {
            if values.contains(&index) {
                return step.clone();
            }
            Step { status: step.status, stopped: step.stopped, call: None, record: None }
        };
        let steps = self.indices().zip(&self.steps).map(copy).collect();
        let order = self.order.as_ref().map(|order| Box::new(order.failures()));
        Self { steps, tally: self.tally, order, changes: None }
    }

    /// Returns the first step of a group, or at the top, that failed without `continue-on-error`.
    pub(super) fn first_failed(&self, group: Option<StepIndex>) -> Option<StepIndex> {
        self.order.as_ref()?.first_failed(group)
    }

    /// Returns true if all steps have ended.
    pub(super) fn has_ended(&self) -> bool {
        self.order.as_ref().is_some_and(|order| order.has_ended())
    }

    /// Returns true if the counters follow from the states and the plan.
    #[cfg(test)]
    pub(super) fn is_consistent(&self, plan: &Plan) -> bool {
        let again = Self::from(self.steps.clone());
        self.tally == again.tally
            && self.order.as_ref().is_none_or(|order| **order == Order::of(plan, &self.steps))
    }
}
