//! The dependency graph of steps, and from it the steps that have ended when another step begins.
//!
//! A step waits for the one above it, or for those in its `needs`. A member of a group waits for the steps that the group
//! waits for, and for the members in its `needs`. Cycles and duplicate ids are refused here.

use std::collections::{BTreeMap, BTreeSet};

use fixedbitset::FixedBitSet;

use crate::codes::Code;
use crate::diagnostics::{Diagnostic, Report};
use crate::draft::{StepDraft, WorkflowDraft};
use crate::source::shorten;
use crate::suggest::{did_you_mean, listed_up_to};

/// Number of ids of steps that are shown.
const SHOWN_IDS: usize = 10;

/// The dependency graph of the steps of a draft.
#[derive(Debug)]
pub(crate) struct StepGraph {
    /// Indices of the steps by id. If several steps have an id, the first one.
    pub(crate) ids: BTreeMap<String, usize>,
    /// For each step, the steps of the same list that it waits for.
    pub(crate) after: Vec<Vec<usize>>,
    /// For each step, all steps that have ended when it begins.
    ended: Vec<FixedBitSet>,
    /// Steps that are not part of a cycle, and wait for none.
    ordered: FixedBitSet,
}

impl StepGraph {
    pub(crate) fn new(draft: &WorkflowDraft, report: &mut Report) -> Self {
        let steps = &draft.steps;
        let ids = ids(steps, report);
        let after: Vec<_> =
            (0..steps.len()).map(|number| dependencies(steps, &ids, number, report)).collect();
        let order = topological_order(steps, &after, report);
        let ended = ended_before(steps, &after, &order);
        let ordered = order.into_iter().collect();
        Self { ids, after, ended, ordered }
    }

    /// Returns true if a step is part of a cycle or waits for one.
    pub(crate) fn is_in_cycle(&self, step: usize) -> bool {
        !self.ordered.contains(step)
    }

    /// Returns true if `other` has ended when `step` begins.
    pub(crate) fn has_ended(&self, other: usize, step: usize) -> bool {
        self.ended.get(step).is_some_and(|ended| ended.contains(other))
    }
}

/// Indexes the steps by id, and refuses duplicate ids.
fn ids(steps: &[StepDraft], report: &mut Report) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        let Some(id) = &step.id else { continue };
        if ids.contains_key(&id.value) {
            let message = format!("two steps have the id `{}`", id.value);
            report.add(
                Diagnostic::new(Code::DuplicateId, id.span, message).help("give one of them another id"),
            );
        } else {
            ids.insert(id.value.clone(), number);
        }
    }
    ids
}

/// Returns the steps of the same list that a step waits for, and refuses invalid `needs`.
fn dependencies(
    steps: &[StepDraft],
    ids: &BTreeMap<String, usize>,
    number: usize,
    report: &mut Report,
) -> Vec<usize> {
    let Some(step) = steps.get(number) else { return Vec::new() };
    let Some(needs) = &step.needs else { return step.previous.into_iter().collect() };
    let siblings = || siblings(steps, step.parent, number);
    let mut after = BTreeSet::new();
    for need in needs {
        let found = ids.get(&need.value).and_then(|other| Some((*other, steps.get(*other)?)));
        let message = match found {
            Some((other, _)) if other == number => "a step cannot wait for itself".to_owned(),
            Some((other, sibling)) if sibling.parent == step.parent => {
                after.insert(other);
                continue;
            }
            Some(_) => format!("`{}` is in another list of steps", need.value),
            None => format!("there is no step `{}`", shorten(&need.value)),
        };
        let help = match found {
            Some((other, _)) if other == number => Some("remove it".to_owned()),
            Some(_) => Some(
                "name steps of the same list; to wait for a member of a group, name the group".to_owned(),
            ),
            None if report.is_crowded() => None,
            None => did_you_mean(&need.value, siblings()).or_else(|| {
                let is_alone = siblings().next().is_none();
                let named = || format!("this list has {}", listed_up_to(SHOWN_IDS, siblings()));
                Some(if is_alone { "no other step of this list has an `id`".to_owned() } else { named() })
            }),
        };
        let code = if found.is_some() { Code::BadNeed } else { Code::UnknownStep };
        report.add(Diagnostic::new(code, need.span, message).maybe_help(help));
    }
    after.into_iter().collect()
}

/// Returns the ids of the other steps in the same list.
fn siblings(steps: &[StepDraft], parent: Option<usize>, except: usize) -> impl Iterator<Item = &str> {
    steps
        .iter()
        .enumerate()
        .filter(move |(number, step)| step.parent == parent && *number != except)
        .filter_map(|(_, step)| step.id())
}

/// Returns the steps in an order in which each follows all steps that it waits for. Omits steps that are part of a cycle or
/// wait for one, and reports a cycle.
fn topological_order(steps: &[StepDraft], after: &[Vec<usize>], report: &mut Report) -> Vec<usize> {
    let mut waiting: Vec<usize> = after.iter().map(Vec::len).collect();
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    for (number, before) in after.iter().enumerate() {
        for other in before {
            if let Some(followers) = followers.get_mut(*other) {
                followers.push(number);
            }
        }
    }
    let is_free = |waiting: &[usize], number: usize| waiting.get(number) == Some(&0);
    let mut order: Vec<usize> = (0..steps.len()).filter(|number| is_free(&waiting, *number)).collect();
    let mut next = 0;
    while let Some(number) = order.get(next).copied() {
        next += 1;
        for follower in followers.get(number).into_iter().flatten() {
            if let Some(left) = waiting.get_mut(*follower) {
                *left = left.saturating_sub(1);
            }
            if is_free(&waiting, *follower) {
                order.push(*follower);
            }
        }
    }
    if order.len() < steps.len() {
        report_cycle(steps, after, &waiting, report);
    }
    order
}

/// Reports a cycle: follows the dependencies of a step that is not in the order until a step occurs for the second time.
fn report_cycle(steps: &[StepDraft], after: &[Vec<usize>], waiting: &[usize], report: &mut Report) {
    let is_waiting = |number: &usize| waiting.get(*number).is_some_and(|left| *left > 0);
    let Some(start) = (0..steps.len()).find(is_waiting) else { return };
    let mut walk: Vec<usize> = vec![start];
    let cycle = loop {
        let Some(last) = walk.last() else { return };
        let Some(next) = after.get(*last).and_then(|before| before.iter().find(|other| is_waiting(other)))
        else {
            return;
        };
        if let Some(at) = walk.iter().position(|seen| seen == next) {
            break walk.split_off(at);
        }
        walk.push(*next);
    };
    let Some(first) = cycle.iter().min_by_key(|number| **number).and_then(|number| steps.get(*number)) else {
        return;
    };
    let name = |number: &usize| match steps.get(*number).and_then(StepDraft::id) {
        Some(id) => format!("`{id}`"),
        None => format!("step {}", number + 1),
    };
    let names: Vec<_> = cycle.iter().chain(cycle.first()).map(name).collect();
    let message = format!("steps wait for each other in a circle: {}", names.join(" waits for "));
    let implied = cycle.iter().find(|number| steps.get(**number).is_some_and(|step| step.needs.is_none()));
    let help = match implied {
        Some(number) => format!(
            "{} waits for the step above it because it has no `needs`; write `needs: []` if it need not",
            name(number)
        ),
        None => "remove one of these names from `needs`".to_owned(),
    };
    report.add(Diagnostic::new(Code::Cycle, first.label_span(), message).help(help));
}

/// Returns, for each step, all steps that have ended when it begins.
fn ended_before(steps: &[StepDraft], after: &[Vec<usize>], order: &[usize]) -> Vec<FixedBitSet> {
    let none = FixedBitSet::with_capacity(steps.len());
    let mut ended = vec![none.clone(); steps.len()];
    let members = members(steps);
    for number in order {
        let mut set = none.clone();
        for other in after.get(*number).into_iter().flatten() {
            set.insert(*other);
            [members.get(*other), ended.get(*other)]
                .into_iter()
                .flatten()
                .for_each(|more| set.union_with(more));
        }
        if let Some(slot) = ended.get_mut(*number) {
            *slot = set;
        }
    }
    // A group precedes its members in the file, so its own set is complete here.
    for (number, step) in steps.iter().enumerate() {
        let of_group = step.parent.and_then(|parent| ended.get(parent)).cloned();
        if let (Some(set), Some(of_group)) = (ended.get_mut(number), of_group) {
            set.union_with(&of_group);
        }
    }
    ended
}

/// Returns, for each step, its members and theirs, at any depth.
fn members(steps: &[StepDraft]) -> Vec<FixedBitSet> {
    let mut members = vec![FixedBitSet::with_capacity(steps.len()); steps.len()];
    for (number, step) in steps.iter().enumerate().rev() {
        let Some(parent) = step.parent else { continue };
        let mut below = members.get(number).cloned().unwrap_or_default();
        below.grow(steps.len());
        below.insert(number);
        if let Some(set) = members.get_mut(parent) {
            set.union_with(&below);
        }
    }
    members
}
