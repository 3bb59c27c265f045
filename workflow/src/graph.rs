//! Which steps wait for which, and so which have ended when another begins.
//!
//! A step waits for the one above it, or for those it names in `needs`; a member of a group waits for what the group
//! waits for, and for the members it names. Circles are found here, and duplicate ids on the way.

use std::collections::{BTreeMap, BTreeSet};

use crate::codes::Code;
use crate::diagnostics::{Diagnostic, Report};
use crate::draft::{Draft, StepDraft};
use crate::suggest::did_you_mean;

/// The order of the steps of a draft.
#[derive(Debug)]
pub(crate) struct Graph {
    /// The steps by id; of several with one id, the first.
    pub(crate) ids: BTreeMap<String, usize>,
    /// For each step, those in the same list that must have ended before it begins.
    pub(crate) after: Vec<Vec<usize>>,
    /// For each step, all that have ended when it begins.
    ended: Vec<Set>,
}

/// A set of steps: one bit each, because a thousand steps can all stand before each other.
#[derive(Clone, Debug, Default)]
struct Set(Vec<u64>);

impl Set {
    fn insert(&mut self, step: usize) {
        let word = step / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(bits) = self.0.get_mut(word) {
            *bits |= 1 << (step % 64);
        }
    }

    fn contains(&self, step: usize) -> bool {
        self.0.get(step / 64).is_some_and(|bits| bits & (1 << (step % 64)) != 0)
    }

    fn extend(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (bits, more) in self.0.iter_mut().zip(&other.0) {
            *bits |= more;
        }
    }
}

impl Graph {
    pub(crate) fn new(draft: &Draft, report: &mut Report) -> Self {
        let steps = &draft.steps;
        let ids = ids(steps, report);
        let after: Vec<_> = (0..steps.len()).map(|number| waits_for(steps, &ids, number, report)).collect();
        let order = order(steps, &after, report);
        let ended = ended(steps, &after, &order);
        Self { ids, after, ended }
    }

    /// Whether `other` has ended when `step` begins.
    pub(crate) fn has_ended(&self, other: usize, step: usize) -> bool {
        self.ended.get(step).is_some_and(|ended| ended.contains(other))
    }
}

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

/// The steps of the same list that a step waits for.
fn waits_for(
    steps: &[StepDraft],
    ids: &BTreeMap<String, usize>,
    number: usize,
    report: &mut Report,
) -> Vec<usize> {
    let Some(step) = steps.get(number) else { return Vec::new() };
    let Some(needs) = &step.needs else { return step.previous.into_iter().collect() };
    let mut after = BTreeSet::new();
    for need in needs {
        let found = ids.get(&need.value).and_then(|other| Some((*other, steps.get(*other)?)));
        let message = match found {
            Some((other, _)) if other == number => "a step cannot wait for itself".to_owned(),
            Some((other, sibling)) if sibling.parent == step.parent => {
                after.insert(other);
                continue;
            }
            Some(_) => format!("`{}` stands in another list of steps", need.value),
            None => format!("there is no step `{}`", need.value.chars().take(80).collect::<String>()),
        };
        let help = match found {
            Some((other, _)) if other == number => Some("remove it".to_owned()),
            Some(_) => Some(
                "name steps of the same list; to wait for a member of a group, name the group".to_owned(),
            ),
            None if report.is_crowded() => None,
            None => did_you_mean(&need.value, siblings(steps, step.parent, number)),
        };
        let code = if found.is_some() { Code::BadNeed } else { Code::UnknownStep };
        report.add(Diagnostic::new(code, need.span, message).maybe_help(help));
    }
    after.into_iter().collect()
}

fn siblings(steps: &[StepDraft], parent: Option<usize>, but: usize) -> impl Iterator<Item = &str> {
    steps
        .iter()
        .enumerate()
        .filter(move |(number, step)| step.parent == parent && *number != but)
        .filter_map(|(_, step)| step.id())
}

/// The steps so that each comes after all it waits for. Those in a circle are left out, and the circle reported.
fn order(steps: &[StepDraft], after: &[Vec<usize>], report: &mut Report) -> Vec<usize> {
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
        report_circle(steps, after, &waiting, report);
    }
    order
}

/// Walks from a step that never became free along steps that did not either, until one comes again.
fn report_circle(steps: &[StepDraft], after: &[Vec<usize>], waiting: &[usize], report: &mut Report) {
    let stuck = |number: &usize| waiting.get(*number).is_some_and(|left| *left > 0);
    let Some(start) = (0..steps.len()).find(stuck) else { return };
    let mut walk: Vec<usize> = vec![start];
    let circle = loop {
        let Some(last) = walk.last() else { return };
        let Some(next) = after.get(*last).and_then(|before| before.iter().find(|other| stuck(other))) else {
            return;
        };
        if let Some(at) = walk.iter().position(|seen| seen == next) {
            break walk.split_off(at);
        }
        walk.push(*next);
    };
    let Some(first) = circle.iter().min_by_key(|number| **number).and_then(|number| steps.get(*number))
    else {
        return;
    };
    let name = |number: &usize| match steps.get(*number).and_then(StepDraft::id) {
        Some(id) => format!("`{id}`"),
        None => format!("step {}", number + 1),
    };
    let names: Vec<_> = circle.iter().chain(circle.first()).map(name).collect();
    let message = format!("steps wait for each other in a circle: {}", names.join(" waits for "));
    let implied = circle.iter().find(|number| steps.get(**number).is_some_and(|step| step.needs.is_none()));
    let help = match implied {
        Some(number) => format!(
            "{} waits for the step above it because it has no `needs`; write `needs: []` if it need not",
            name(number)
        ),
        None => "remove one of these names from `needs`".to_owned(),
    };
    report.add(Diagnostic::new(Code::Cycle, first.place(), message).help(help));
}

/// For each step, all that have ended when it begins. Groups come before their members in the file.
fn ended(steps: &[StepDraft], after: &[Vec<usize>], order: &[usize]) -> Vec<Set> {
    let mut own: Vec<Set> = vec![Set::default(); steps.len()];
    let inside = inside(steps);
    for number in order {
        let mut set = Set::default();
        for other in after.get(*number).into_iter().flatten() {
            set.insert(*other);
            [inside.get(*other), own.get(*other)].into_iter().flatten().for_each(|more| set.extend(more));
        }
        if let Some(slot) = own.get_mut(*number) {
            *slot = set;
        }
    }
    for (number, step) in steps.iter().enumerate() {
        let above = step.parent.and_then(|parent| own.get(parent)).cloned().unwrap_or_default();
        if let Some(set) = own.get_mut(number) {
            set.extend(&above);
        }
    }
    own
}

/// For each step, the steps inside it, at any depth.
fn inside(steps: &[StepDraft]) -> Vec<Set> {
    let mut inside: Vec<Set> = vec![Set::default(); steps.len()];
    for (number, step) in steps.iter().enumerate().rev() {
        let Some(parent) = step.parent else { continue };
        let mut below = inside.get(number).cloned().unwrap_or_default();
        below.insert(number);
        if let Some(set) = inside.get_mut(parent) {
            set.extend(&below);
        }
    }
    inside
}
