//! Checks references in expressions: the step or input must exist, and must have a value when it is read.

use std::collections::BTreeMap;

use crate::codes::Code;
use crate::diagnostics::{Diagnostic, Report};
use crate::draft::{Reference, ReferenceTarget, StepDraft, StepKindDraft, WorkflowDraft};
use crate::expr::StepField;
use crate::graph::StepGraph;
use crate::source::{Span, Spanned, shorten};
use crate::suggest::{did_you_mean, listed_up_to};

/// Number of ids of steps that are shown.
const SHOWN_IDS: usize = 10;

/// Checks all references of a draft.
pub(crate) fn check(draft: &WorkflowDraft, graph: &StepGraph, report: &mut Report) {
    let mut check = ReferenceCheck { draft, graph, report };
    for (number, step) in draft.steps.iter().enumerate() {
        step.references.iter().for_each(|reference| check.reference(reference, Some(number)));
    }
    draft.references.iter().for_each(|reference| check.reference(reference, None));
}

struct ReferenceCheck<'c> {
    draft: &'c WorkflowDraft,
    graph: &'c StepGraph,
    report: &'c mut Report,
}

impl ReferenceCheck<'_> {
    /// Checks a reference. `from` is the step that contains it; `None` for the outputs, which may refer to every step.
    fn reference(&mut self, reference: &Reference, from: Option<usize>) {
        match &reference.to {
            ReferenceTarget::Use(_) => {}
            ReferenceTarget::Input { name, takes_secret } => self.input(name, *takes_secret, reference.span),
            ReferenceTarget::Step { id, field } => {
                let Some(number) = self.graph.ids.get(id).copied() else {
                    return self.unknown_step(id, reference.span);
                };
                if let Some(from) = from
                    && !self.graph.has_ended(number, from)
                {
                    if self.is_in_cycle(number) || self.is_in_cycle(from) {
                        return; // The cycle is reported, and the order of its steps follows from its repair.
                    }
                    return self.not_ended(number, from, id, reference.span);
                }
                if let (Some(step), Some(field)) = (self.draft.steps.get(number), field) {
                    self.field(step, id, field);
                }
            }
        }
    }

    fn input(&mut self, name: &str, takes_secret: bool, span: Span) {
        if let Some(spec) = self.draft.inputs.iter().find(|spec| spec.name == name) {
            if spec.secret && !takes_secret {
                self.misplaced_secret(name, span);
            }
            return;
        }
        if self.draft.refused_inputs.contains(name) {
            return;
        }
        let names = || self.draft.inputs.iter().map(|spec| spec.name.as_str());
        let close = if self.report.is_crowded() { None } else { did_you_mean(name, names()) };
        let help = close.unwrap_or_else(|| "declare it under `inputs`".to_owned());
        let problem = Diagnostic::new(Code::UnknownInput, span, format!("unknown input `{name}`"));
        self.report.add(problem.label("no input with this name").help(help));
    }

    /// Refuses the use of a secret input in a place where the worker does not insert the value.
    fn misplaced_secret(&mut self, name: &str, span: Span) {
        let message = format!("the value of the secret `{name}` is not put in here");
        let help = format!(
            "write `${{{{ inputs.{name} }}}}` by itself in `with` of a call, alone or within text; nowhere else is the \
             value known"
        );
        let problem = Diagnostic::new(Code::SecretUse, span, message);
        self.report.add(problem.label("this would be its name").help(help));
    }

    fn unknown_step(&mut self, id: &str, span: Span) {
        let ids = || self.graph.ids.keys().map(String::as_str);
        let close = if self.report.is_crowded() { None } else { did_you_mean(id, ids()) };
        let help = close.unwrap_or_else(|| match ids().next() {
            Some(_) => format!("the steps with an id are {}", listed_up_to(SHOWN_IDS, ids())),
            None => format!("no step has an id; write `id: {}` at the step that is meant", shorten(id)),
        });
        let problem = Diagnostic::new(Code::UnknownStep, span, format!("unknown step `{id}` in expression"));
        self.report.add(problem.label("no step with this id").help(help));
    }

    /// Refuses a reference to a step that need not have ended when it is read.
    fn not_ended(&mut self, number: usize, from: usize, id: &str, span: Span) {
        if number == from || self.groups(from).any(|group| group == number) {
            let message = if number == from {
                format!("step `{id}` refers to itself")
            } else {
                format!("this step is part of the group `{id}`, which has not ended yet")
            };
            let help = "a step sees those that ended before it";
            return self.report.add(Diagnostic::new(Code::OwnStep, span, message).help(help));
        }
        if self.graph.has_ended(from, number) {
            let message = format!("step `{id}` begins only after this one");
            let help = format!("move this step below `{id}`");
            return self.report.add(Diagnostic::new(Code::LaterStep, span, message).help(help));
        }
        let message = format!("step `{id}` need not have ended when this step begins");
        let help = self.needs_help(number, from);
        self.report.add(Diagnostic::new(Code::NotAnAncestor, span, message).help(help));
    }

    /// Returns true if a step, or a group around it, is part of a cycle or waits for one.
    fn is_in_cycle(&self, number: usize) -> bool {
        std::iter::once(number).chain(self.groups(number)).any(|step| self.graph.is_in_cycle(step))
    }

    /// Returns the change of `needs` that fixes a reference: steps can only wait for steps of the same list.
    fn needs_help(&self, number: usize, from: usize) -> String {
        let parents: BTreeMap<Option<usize>, usize> = std::iter::once(number)
            .chain(self.groups(number))
            .map(|step| (self.parent(step), step))
            .collect();
        let common = std::iter::once(from)
            .chain(self.groups(from))
            .find_map(|step| parents.get(&self.parent(step)).map(|other| (step, *other)));
        let Some((step, other)) = common else { return "move this step below it".to_owned() };
        let whose = if step == from { String::new() } else { format!(" of {}", self.name(step)) };
        match self.draft.steps.get(other).and_then(StepDraft::id) {
            Some(id) => format!("add `{id}` to `needs`{whose}"),
            None => format!("give {} an `id` and add that to `needs`{whose}", self.name(other)),
        }
    }

    fn name(&self, number: usize) -> String {
        match self.draft.steps.get(number).and_then(StepDraft::id) {
            Some(id) => format!("`{id}`"),
            None => "the group around".to_owned(),
        }
    }

    fn parent(&self, number: usize) -> Option<usize> {
        self.draft.steps.get(number).and_then(|step| step.parent)
    }

    fn groups(&self, number: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.parent(number), |group| self.parent(*group))
    }

    fn field(&mut self, step: &StepDraft, id: &str, field: &Spanned<String>) {
        let known = StepField::from_name(&field.value);
        let is_call = match step.kind {
            StepKindDraft::Refused => return,
            StepKindDraft::Call(_) => true,
            StepKindDraft::Set(_) | StepKindDraft::Parallel { .. } => false,
        };
        let name = &field.value;
        let (message, help) = match known {
            Some(StepField::Content) if !is_call => (
                format!("step `{id}` calls no tool, so it has no content"),
                format!("read `steps.{id}.output`"),
            ),
            Some(_) => return,
            None => {
                let fields = || StepField::ALL.into_iter().map(StepField::as_str);
                let help = match name.as_str() {
                    "outcome" | "conclusion" | "state" => Some(format!("write `steps.{id}.status`")),
                    "succeeded" | "failed" | "skipped" | "cancelled" => {
                        Some(format!("write `steps.{id}.status == '{name}'`"))
                    }
                    _ if self.report.is_crowded() => None,
                    _ => did_you_mean(name, fields()),
                };
                let help = help.unwrap_or_else(|| {
                    format!("the values that the step gives are in `output`: `steps.{id}.output.{name}`")
                });
                (format!("a step has no `{name}`"), help)
            }
        };
        self.report.add(Diagnostic::new(Code::UnknownField, field.span, message).help(help));
    }
}
