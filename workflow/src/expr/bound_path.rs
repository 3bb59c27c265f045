//! The values an expression reads from outside: each path from `inputs`, `steps` or `run` is one slot.
//!
//! When the file is checked, `steps.fetch.output.title` becomes the slot 0 and the tree refers to `@0`. When the
//! expression is evaluated, only the value at the end of the path is turned into one of the evaluator's, and only if
//! it is asked for.

use std::borrow::Cow;
use std::sync::OnceLock;

use cel::common::types::{CelBool, CelOptional};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use serde_json::{Map, Value};

use super::convert::to_val;
use super::meter::{self, Meter};
use super::{Scope, StepField};

/// Where a path begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Root {
    Inputs,
    Run,
    /// A step, whole.
    Step(String),
    /// A field of a step; the first segment of the path is its name.
    Field(String, StepField),
}

/// One name of a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segment {
    pub(super) name: String,
    /// Written `.?name`: what is missing from here on is nothing, and no error.
    pub(super) optional: bool,
}

/// What is wanted of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    Value,
    /// `has(path)`.
    Presence,
}

/// A path that an expression reads.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slot {
    pub(super) root: Root,
    pub(super) path: Vec<Segment>,
    pub(super) wanted: Wanted,
}

/// Where a path led to.
pub(super) enum Walked<'v> {
    Found(&'v Value),
    /// What stands before the missing segment, if anything, and the segment's number.
    Missing(Option<&'v Value>, usize),
}

impl Slot {
    /// The value the path begins at.
    pub(super) fn fetch<'s>(&self, scope: &'s dyn Scope) -> Option<Cow<'s, Value>> {
        match &self.root {
            Root::Inputs => Some(scope.inputs()),
            Root::Run => Some(scope.run()),
            Root::Field(id, field) => scope.step(id, *field),
            Root::Step(id) => {
                let present =
                    StepField::ALL.into_iter().filter_map(|field| Some((field, scope.step(id, field)?)));
                let fields: Map<_, _> =
                    present.map(|(field, value)| (field.as_str().to_owned(), value.into_owned())).collect();
                Some(Cow::Owned(Value::Object(fields)))
            }
        }
    }

    /// Follows the path from what [`Slot::fetch`] gave.
    pub(super) fn walk<'v>(&self, start: Option<&'v Value>) -> Walked<'v> {
        let Some(mut value) = start else { return Walked::Missing(None, 0) };
        let done = usize::from(matches!(self.root, Root::Field(..)));
        for (number, segment) in self.path.iter().enumerate().skip(done) {
            match value.get(&segment.name) {
                Some(next) => value = next,
                None => return Walked::Missing(Some(value), number),
            }
        }
        Walked::Found(value)
    }

    /// The number of the first segment that may be missing.
    fn first_optional(&self) -> Option<usize> {
        self.path.iter().position(|segment| segment.optional)
    }

    /// Whether the slot is the value at its end and nothing else.
    pub(super) fn is_plain(&self) -> bool {
        self.wanted == Wanted::Value && self.first_optional().is_none()
    }

    /// Returns true if the value at its end may be missing.
    pub(super) fn is_optional(&self) -> bool {
        self.wanted == Wanted::Value && self.first_optional().is_some()
    }

    /// The input that it is, if it is one and nothing within it.
    pub(super) fn input(&self) -> Option<&str> {
        match (&self.root, self.path.as_slice()) {
            (Root::Inputs, [only]) if self.wanted == Wanted::Value => Some(&only.name),
            _ => None,
        }
    }

    /// The path as it is written, up to and without segment `end`.
    pub(super) fn text(&self, end: usize) -> String {
        let mut text = match &self.root {
            Root::Inputs => "inputs".to_owned(),
            Root::Run => "run".to_owned(),
            Root::Step(id) | Root::Field(id, _) => format!("steps.{id}"),
        };
        for segment in self.path.iter().take(end) {
            text.push('.');
            text.push_str(&segment.name);
        }
        text
    }
}

/// The slots of one evaluation, and the few other names a tree refers to.
pub(super) struct Live<'v> {
    slots: &'v [Slot],
    roots: &'v [Option<Cow<'v, Value>>],
    values: Vec<OnceLock<Option<Box<dyn Val + 'v>>>>,
    meter: &'v Meter,
    failed: bool,
    cancelled: bool,
}

impl<'v> Live<'v> {
    /// `roots` holds what [`Slot::fetch`] gave for each slot.
    pub(super) fn new(
        slots: &'v [Slot],
        roots: &'v [Option<Cow<'v, Value>>],
        meter: &'v Meter,
        (failed, cancelled): (bool, bool),
    ) -> Self {
        let values = slots.iter().map(|_| OnceLock::new()).collect();
        Self { slots, roots, values, meter, failed, cancelled }
    }

    /// Charges for a copy of a value. `None` if the budget is spent.
    pub(super) fn charge(&self, value: &dyn Val) -> Option<()> {
        self.meter.charge(meter::of_val(value)).ok()
    }

    /// A slot with the value its path begins at.
    pub(super) fn slot(&self, index: usize) -> Option<(&'v Slot, Option<&'v Value>)> {
        Some((self.slots.get(index)?, self.roots.get(index)?.as_deref()))
    }

    /// The value of a slot; nothing if it is missing and that is an error.
    fn make(&self, index: usize) -> Option<Box<dyn Val + 'v>> {
        let (slot, start) = self.slot(index)?;
        let walked = slot.walk(start);
        if slot.wanted == Wanted::Presence {
            let present = match walked {
                Walked::Found(_) => true,
                // Only the last name may be missing: as with every `has()`.
                Walked::Missing(_, at) if at + 1 == slot.path.len() => false,
                Walked::Missing(..) => return None,
            };
            return Some(Box::new(CelBool::from(present)));
        }
        let optional = slot.first_optional();
        match walked {
            Walked::Found(value) => {
                self.meter.charge(meter::of_json(value)).ok()?;
                let value = to_val(value).ok()?;
                Some(if optional.is_some() { Box::new(CelOptional::of(value)) } else { value })
            }
            Walked::Missing(_, at) if optional.is_some_and(|first| first <= at) => {
                Some(Box::new(CelOptional::none()))
            }
            Walked::Missing(..) => None,
        }
    }
}

impl VariableResolver for Live<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let flag = |value: bool| Some(CowVal::owned(CelBool::from(value)));
        match variable.strip_prefix('@')? {
            "meter" => Some(CowVal::Borrowed(self.meter)),
            "success" => flag(!self.failed && !self.cancelled),
            "failure" => flag(self.failed),
            "cancelled" => flag(self.cancelled),
            number => {
                let index: usize = number.parse().ok()?;
                let value = self.values.get(index)?.get_or_init(|| self.make(index));
                value.as_deref().map(CowVal::Borrowed)
            }
        }
    }
}
