//! Bound paths: the paths from `inputs`, `steps` or `run` whose values an expression reads.
//!
//! Compilation replaces `steps.fetch.output.title` by `@0`, a reference to the bound path with index 0. Evaluation converts
//! only the value at the end of the path, and only if the evaluator requests it.

use std::borrow::Cow;
use std::sync::OnceLock;

use cel::common::types::{CelBool, CelOptional};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use serde_json::{Map, Value};

use super::convert::to_val;
use super::meter::{self, WorkMeter};
use super::{Scope, StepField};

/// The root of a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PathRoot {
    Inputs,
    Run,
    /// A step as a whole.
    Step(String),
    /// A field of a step. The first segment of the path is the name of the field.
    Field(String, StepField),
}

/// A name in a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PathSegment {
    pub(super) name: String,
    /// True for `.?name`: a name that is missing from here on gives an empty optional instead of an error.
    pub(super) optional: bool,
}

/// The use of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PathUse {
    Value,
    /// The path is the argument of `has()`.
    Presence,
}

/// A path that an expression reads.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BoundPath {
    pub(super) root: PathRoot,
    pub(super) segments: Vec<PathSegment>,
    pub(super) usage: PathUse,
}

/// The result of following a path.
pub(super) enum PathLookup<'v> {
    Found(&'v Value),
    /// The value before the missing segment, if there is one, and the index of that segment.
    Missing(Option<&'v Value>, usize),
}

impl BoundPath {
    /// Returns the value at the root of the path.
    pub(super) fn fetch<'s>(&self, scope: &'s dyn Scope) -> Option<Cow<'s, Value>> {
        match &self.root {
            PathRoot::Inputs => Some(scope.inputs()),
            PathRoot::Run => Some(scope.run()),
            PathRoot::Field(id, field) => scope.step(id, *field),
            PathRoot::Step(id) => {
                let present =
                    StepField::ALL.into_iter().filter_map(|field| Some((field, scope.step(id, field)?)));
                let fields: Map<_, _> =
                    present.map(|(field, value)| (field.as_str().to_owned(), value.into_owned())).collect();
                Some(Cow::Owned(Value::Object(fields)))
            }
        }
    }

    /// Follows the path from the value that [`BoundPath::fetch`] returned.
    pub(super) fn follow<'v>(&self, start: Option<&'v Value>) -> PathLookup<'v> {
        let Some(mut value) = start else { return PathLookup::Missing(None, 0) };
        let done = usize::from(matches!(self.root, PathRoot::Field(..)));
        for (number, segment) in self.segments.iter().enumerate().skip(done) {
            match value.get(&segment.name) {
                Some(next) => value = next,
                None => return PathLookup::Missing(Some(value), number),
            }
        }
        PathLookup::Found(value)
    }

    /// Returns the index of the first segment that may be missing.
    fn first_optional(&self) -> Option<usize> {
        self.segments.iter().position(|segment| segment.optional)
    }

    /// Returns true if the path has no optional segment and is not the argument of `has()`.
    pub(super) fn is_plain(&self) -> bool {
        self.usage == PathUse::Value && self.first_optional().is_none()
    }

    /// Returns true if the path gives an optional.
    pub(super) fn is_optional(&self) -> bool {
        self.usage == PathUse::Value && self.first_optional().is_some()
    }

    /// Returns the input if the path is `inputs.<name>`.
    pub(super) fn input(&self) -> Option<&str> {
        match (&self.root, self.segments.as_slice()) {
            (PathRoot::Inputs, [only]) if self.usage == PathUse::Value => Some(&only.name),
            _ => None,
        }
    }

    /// Returns the text of the path up to segment `end`, exclusive.
    pub(super) fn text(&self, end: usize) -> String {
        let mut text = match &self.root {
            PathRoot::Inputs => "inputs".to_owned(),
            PathRoot::Run => "run".to_owned(),
            PathRoot::Step(id) | PathRoot::Field(id, _) => format!("steps.{id}"),
        };
        for segment in self.segments.iter().take(end) {
            text.push('.');
            text.push_str(&segment.name);
        }
        text
    }
}

/// The values of bound paths in one evaluation, and the other names that a bound tree contains.
pub(super) struct Bindings<'v> {
    paths: &'v [BoundPath],
    roots: &'v [Option<Cow<'v, Value>>],
    values: Vec<OnceLock<Option<Box<dyn Val + 'v>>>>,
    meter: &'v WorkMeter,
    failed: bool,
    cancelled: bool,
}

impl<'v> Bindings<'v> {
    /// Creates the bindings. `roots` are the results of [`BoundPath::fetch`] for each path.
    pub(super) fn new(
        paths: &'v [BoundPath],
        roots: &'v [Option<Cow<'v, Value>>],
        meter: &'v WorkMeter,
        (failed, cancelled): (bool, bool),
    ) -> Self {
        let values = paths.iter().map(|_| OnceLock::new()).collect();
        Self { paths, roots, values, meter, failed, cancelled }
    }

    /// Charges for a copy of a value. Returns `None` if the budget is exhausted.
    pub(super) fn charge(&self, value: &dyn Val) -> Option<()> {
        self.meter.charge(meter::of_val(value)).ok()
    }

    /// Returns a path and the value at its root.
    pub(super) fn path(&self, index: usize) -> Option<(&'v BoundPath, Option<&'v Value>)> {
        Some((self.paths.get(index)?, self.roots.get(index)?.as_deref()))
    }

    /// Converts the value of a path for the evaluator. Returns `None` if it is missing and not optional.
    fn convert(&self, index: usize) -> Option<Box<dyn Val + 'v>> {
        let (path, start) = self.path(index)?;
        let found = path.follow(start);
        if path.usage == PathUse::Presence {
            let present = match found {
                PathLookup::Found(_) => true,
                // Only the last name may be missing, as with every `has()` of CEL.
                PathLookup::Missing(_, at) if at + 1 == path.segments.len() => false,
                PathLookup::Missing(..) => return None,
            };
            return Some(Box::new(CelBool::from(present)));
        }
        let optional = path.first_optional();
        match found {
            PathLookup::Found(value) => {
                self.meter.charge(meter::of_json(value)).ok()?;
                let value = to_val(value).ok()?;
                Some(if optional.is_some() { Box::new(CelOptional::of(value)) } else { value })
            }
            PathLookup::Missing(_, at) if optional.is_some_and(|first| first <= at) => {
                Some(Box::new(CelOptional::none()))
            }
            PathLookup::Missing(..) => None,
        }
    }
}

impl VariableResolver for Bindings<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let flag = |value: bool| Some(CowVal::owned(CelBool::from(value)));
        match variable.strip_prefix('@')? {
            "meter" => Some(CowVal::Borrowed(self.meter)),
            "success" => flag(!self.failed && !self.cancelled),
            "failure" => flag(self.failed),
            "cancelled" => flag(self.cancelled),
            number => {
                let index: usize = number.parse().ok()?;
                let value = self.values.get(index)?.get_or_init(|| self.convert(index));
                value.as_deref().map(CowVal::Borrowed)
            }
        }
    }
}
