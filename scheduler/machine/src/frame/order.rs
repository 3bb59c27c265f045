//! Order of the steps of a frame: which can begin, which groups have no member left, and where a step failed.
//!
//! Each step has one number: before it begins, how many steps it still waits for (its group counts as one until it begins), and
//! for a running group, how many members have not ended. So a step that ended costs as much as it has followers.

use std::collections::{BTreeMap, BTreeSet};

use longshore_proto::StepStatus;
use longshore_workflow::{Plan, StepIndex, StepKind};

use crate::step::Step;

/// Order of the steps of a frame.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Order {
    /// For a pending step, the steps that it waits for; for a running group, the members that have not ended. Zero for others.
    left: Vec<u32>,
    /// Calls that can begin.
    ready_calls: BTreeSet<StepIndex>,
    /// Other steps that can begin.
    ready_others: BTreeSet<StepIndex>,
    /// Steps at the top that have not ended.
    top_left: usize,
    /// The first step that failed without `continue-on-error`, in each group and at the top.
    failed: BTreeMap<Option<StepIndex>, StepIndex>,
}

impl Order {
    /// Derives the order from the states of the steps.
    pub(super) fn of(plan: &Plan, steps: &[Step]) -> Self {
        let mut order = Self { left: vec![0; steps.len()], ..Self::default() };
        let status = |index: StepIndex| steps.get(index.0).map(|step| step.status);
        let has_ended = |index: &StepIndex| status(*index).is_none_or(StepStatus::is_terminal);
        for (number, step) in plan.steps.iter().enumerate() {
            let index = StepIndex(number);
            order.top_left += usize::from(step.parent.is_none() && !has_ended(&index));
            let left = match status(index) {
                Some(StepStatus::Pending) => {
                    let waits_for_group =
                        step.parent.is_some_and(|group| status(group) == Some(StepStatus::Pending));
                    let before = step.after.iter().filter(|before| !has_ended(before)).count();
                    let left = before + usize::from(waits_for_group);
                    if left == 0 {
                        order.add_ready(step, index);
                    }
                    left
                }
                Some(StepStatus::Running) => match &step.kind {
                    StepKind::Parallel { members, .. } => {
                        members.iter().filter(|member| !has_ended(member)).count()
                    }
                    StepKind::Call(_) | StepKind::Set(_) => 0,
                },
                _ => 0,
            };
            if let Some(slot) = order.left.get_mut(number) {
                *slot = u32::try_from(left).unwrap_or(u32::MAX);
            }
            if steps.get(number).is_some_and(Step::has_failed) {
                order.note_failure(step, index);
            }
        }
        order
    }

    /// Returns true if all steps have ended.
    pub(super) const fn has_ended(&self) -> bool {
        self.top_left == 0
    }

    /// Returns the first step of a group, or at the top, that failed without `continue-on-error`.
    pub(super) fn first_failed(&self, group: Option<StepIndex>) -> Option<StepIndex> {
        self.failed.get(&group).copied()
    }

    /// Takes the first step that can begin; a call only if `with_calls`.
    pub(super) fn take_ready(&mut self, with_calls: bool) -> Option<StepIndex> {
        let call = self.ready_calls.first().copied().filter(|_| with_calls);
        let other = self.ready_others.first().copied();
        match (call, other) {
            (Some(call), Some(other)) if call < other => self.ready_calls.take(&call),
            (Some(call), None) => self.ready_calls.take(&call),
            (_, Some(other)) => self.ready_others.take(&other),
            (None, None) => None,
        }
    }

    /// Returns true if a step can begin; a call only if `with_calls`.
    pub(super) fn can_begin(&self, with_calls: bool) -> bool {
        !self.ready_others.is_empty() || with_calls && !self.ready_calls.is_empty()
    }

    /// Returns a copy that only knows where steps failed.
    pub(super) fn failures(&self) -> Self {
        Self { failed: self.failed.clone(), ..Self::default() }
    }

    /// Notes that a step ended. Returns its group if that is running and has no other member left.
    pub(super) fn note_ended(&mut self, plan: &Plan, steps: &[Step], index: StepIndex) -> Option<StepIndex> {
        let step = plan.step(index)?;
        let state = steps.get(index.0)?;
        // A step may end before its turn, with its group.
        if let Some(left) = self.left.get_mut(index.0) {
            *left = 0;
        }
        self.ready_calls.remove(&index);
        self.ready_others.remove(&index);
        if state.has_failed() {
            self.note_failure(step, index);
        }
        for follower in &step.followers {
            let is_pending = steps.get(follower.0).is_some_and(|step| step.status == StepStatus::Pending);
            if is_pending && self.decrement(*follower) {
                self.add_ready(plan.step(*follower)?, *follower);
            }
        }
        let Some(group) = step.parent else {
            self.top_left = self.top_left.saturating_sub(1);
            return None;
        };
        let is_running = steps.get(group.0).is_some_and(|step| step.status == StepStatus::Running);
        (is_running && self.decrement(group)).then_some(group)
    }

    /// Notes that a group began, so that its members can begin. None of them has ended.
    pub(super) fn note_group_began(&mut self, plan: &Plan, index: StepIndex) {
        let Some(StepKind::Parallel { members, .. }) = plan.step(index).map(|step| &step.kind) else {
            return;
        };
        if let Some(left) = self.left.get_mut(index.0) {
            *left = u32::try_from(members.len()).unwrap_or(u32::MAX);
        }
        for member in members {
            if self.decrement(*member)
                && let Some(step) = plan.step(*member)
            {
                self.add_ready(step, *member);
            }
        }
    }

    /// Counts one down; true if nothing is left.
    fn decrement(&mut self, index: StepIndex) -> bool {
        let Some(left) = self.left.get_mut(index.0) else { return false };
        *left = left.saturating_sub(1);
        *left == 0
    }

    /// Lets a step begin.
    pub(super) fn add_ready(&mut self, step: &longshore_workflow::Step, index: StepIndex) {
        match step.kind {
            StepKind::Call(_) => self.ready_calls.insert(index),
            StepKind::Set(_) | StepKind::Parallel { .. } => self.ready_others.insert(index),
        };
    }

    fn note_failure(&mut self, step: &longshore_workflow::Step, index: StepIndex) {
        if !step.continue_on_error {
            let first = self.failed.entry(step.parent).or_insert(index);
            *first = index.min(*first);
        }
    }
}
