//! Expressions: CEL, compiled when the file is checked and evaluated against a [`Scope`].
//!
//! The language and its evaluator are the `cel` crate's; nothing of it shows outside this module. What is ours: the
//! conversion of JSON, what can be seen, a few functions, limits on work and depth, and messages that name the value
//! that broke an expression. `parse` makes a tree, `bind` prepares it, `slots` fetches values when it runs.

mod bind;
mod budget;
mod convert;
mod error;
mod failure;
pub(crate) mod find;
mod foreign;
mod functions;
mod input_use;
mod meter;
mod names;
mod parse;
mod path;
mod patterns;
mod reads;
mod refused;
mod room;
mod scope;
mod slots;
mod units;
mod uses;
mod words;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use cel::common::ast::{Expr as Tree, IdedExpr};
use cel::{Context, ExecutionError};
use serde_json::Value;

pub use budget::WorkBudget;
pub use error::EvalError;
pub(crate) use input_use::{InputUse, LiteralKind, OperandKind, TypedOperand};
pub(crate) use reads::Mention;
pub use reads::{ReadSet, StepField};
pub(crate) use refused::Refused;
pub use scope::Scope;

use failure::Failure;
use meter::Meter;
use slots::{Live, Slot, Walked};
use words::in_words;

/// What beginning an evaluation costs.
const EXPRESSION_UNITS: u64 = 100;

/// What finding one value in the scope costs: steps are searched by their names.
const SLOT_UNITS: u64 = 50;

/// What finding the words for a failure costs.
const EXPLANATION_UNITS: u64 = 2_000;

/// Result of an evaluation.
enum Outcome {
    Value(Value),
    /// An optional value, which may be absent.
    Optional(Option<Value>),
}

/// A compiled expression.
#[derive(Debug)]
pub struct Expr {
    source: String,
    tree: IdedExpr,
    depth: usize,
    /// How many nodes the tree has.
    nodes: u64,
    slots: Vec<Slot>,
    reads: ReadSet,
}

impl Expr {
    /// Compiles a text without braces. Everything it mentions is to be checked against the file.
    pub(crate) fn compile(text: &str) -> Result<(Self, Vec<Mention>), Vec<Refused>> {
        let (tree, info) = parse::parse(text).map_err(|refused| vec![refused])?;
        let uses = uses::uses(text, &tree, &info);
        let (tree, mut bound) = bind::bind(text, tree, &info);
        if !bound.refused.is_empty() {
            return Err(bound.refused);
        }
        bound.mentions.extend(uses.into_iter().map(|(found, at)| Mention::Use { found, at }));
        let depth = parse::depth(&tree);
        let nodes = parse::size(&tree) as u64;
        let source = text.trim().to_owned();
        Ok((Self { source, tree, depth, nodes, slots: bound.slots, reads: bound.reads }, bound.mentions))
    }

    /// The text, without braces.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it reads.
    pub const fn reads(&self) -> &ReadSet {
        &self.reads
    }

    /// Its value. The work is charged to `budget`.
    ///
    /// # Errors
    ///
    /// When a value is missing or of a type that an operator does not take, when the result has no form in JSON, or
    /// when it would be more work than the budget has left.
    pub fn evaluate(&self, scope: &dyn Scope, budget: &WorkBudget) -> Result<Value, EvalError> {
        match self.outcome(scope, budget)? {
            Outcome::Value(value) => Ok(value),
            Outcome::Optional(_) => Err(self.is_an_optional()),
        }
    }

    /// Its value, or `None` if it is an optional without one, as `inputs.?limit` is where the input is absent.
    ///
    /// # Errors
    ///
    /// As [`Expr::evaluate`].
    pub(crate) fn evaluate_optional(
        &self,
        scope: &dyn Scope,
        budget: &WorkBudget,
    ) -> Result<Option<Value>, EvalError> {
        Ok(match self.outcome(scope, budget)? {
            Outcome::Value(value) => Some(value),
            Outcome::Optional(value) => value,
        })
    }

    /// The error of an optional where a value is wanted.
    pub(crate) fn is_an_optional(&self) -> EvalError {
        EvalError::new(&self.source, convert::ConvertError::Optional)
    }

    fn outcome(&self, scope: &dyn Scope, budget: &WorkBudget) -> Result<Outcome, EvalError> {
        let meter = budget.meter();
        let roots = self.fetch(scope, meter).map_err(|_| EvalError::too_much(&self.source))?;
        match self.passed_on(&roots) {
            Some(value) if meter.charge(meter::of_json(value)).is_ok() => Ok(Outcome::Value(value.clone())),
            Some(_) => Err(EvalError::too_much(&self.source)),
            None => self.computed(scope, &roots, meter),
        }
    }

    /// Whether it holds.
    ///
    /// # Errors
    ///
    /// As [`Expr::evaluate`], and when the value is neither true nor false.
    pub fn evaluate_condition(&self, scope: &dyn Scope, budget: &WorkBudget) -> Result<bool, EvalError> {
        match self.evaluate(scope, budget)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(EvalError::not_a_condition(&self.source, &other)),
        }
    }

    /// Fetches the values that the paths begin at. A value that is made for this expression is charged.
    fn fetch<'s>(
        &self,
        scope: &'s dyn Scope,
        meter: &Meter,
    ) -> Result<Vec<Option<Cow<'s, Value>>>, ExecutionError> {
        meter.charge(EXPRESSION_UNITS.saturating_add(self.nodes))?;
        let fetch = |slot: &Slot| {
            meter.charge(SLOT_UNITS)?;
            let value = slot.fetch(scope);
            if let Some(Cow::Owned(value)) = &value {
                meter.charge(meter::of_json(value))?;
            }
            Ok(value)
        };
        self.slots.iter().map(fetch).collect()
    }

    /// The input whose value it gives, if it is `inputs.<name>` or `inputs.?<name>` and nothing else.
    pub(crate) fn input(&self) -> Option<&str> {
        self.lone_slot()?.1.input()
    }

    /// Returns true if it is a path with a `.?` in it and nothing else.
    pub(crate) fn is_optional_path(&self) -> bool {
        self.lone_slot().is_some_and(|(_, slot)| slot.is_optional())
    }

    /// The slot that it is, if it is nothing else.
    fn lone_slot(&self) -> Option<(usize, &Slot)> {
        let Tree::Ident(name) = &self.tree.expr else { return None };
        let index: usize = name.strip_prefix('@')?.parse().ok()?;
        Some((index, self.slots.get(index)?))
    }

    /// The path that it is, if it is nothing else and no part of it is optional.
    fn path(&self) -> Option<(usize, &Slot)> {
        self.lone_slot().filter(|(_, slot)| slot.is_plain())
    }

    /// A path alone needs no evaluator: its value is passed on as it is.
    fn passed_on<'r>(&self, roots: &'r [Option<Cow<'_, Value>>]) -> Option<&'r Value> {
        let (index, slot) = self.path()?;
        match slot.walk(roots.get(index)?.as_deref()) {
            Walked::Found(value) => Some(value),
            Walked::Missing(..) => None,
        }
    }

    /// What saying where an evaluation failed costs: it evaluates the parts below each level of the tree again, and may
    /// search for the closest of some names.
    const fn explanation_units(&self) -> u64 {
        EXPLANATION_UNITS.saturating_add(self.nodes.saturating_mul(self.depth as u64))
    }

    fn computed(
        &self,
        scope: &dyn Scope,
        roots: &[Option<Cow<'_, Value>>],
        meter: &Meter,
    ) -> Result<Outcome, EvalError> {
        let status = if self.reads.status { (scope.failed(), scope.cancelled()) } else { (false, false) };
        let live = Live::new(&self.slots, roots, meter, status);
        let mut context = Context::with_env(Arc::clone(&functions::ENV));
        context.set_variable_resolver(&live);
        room::to_evaluate(self.depth, || {
            let failure = |cause| Failure { tree: &self.tree, context: &context, live: &live, cause };
            let result = cel::Value::resolve_val(&self.tree, &context);
            if meter.is_spent() {
                return Err(EvalError::too_much(&self.source));
            }
            match result {
                Ok(value) => {
                    let outcome = match convert::optional(value.as_ref()) {
                        Some(inner) => inner.map(convert::to_json).transpose().map(Outcome::Optional),
                        None => convert::to_json(value.as_ref()).map(Outcome::Value),
                    };
                    outcome.map_err(|error| EvalError::new(&self.source, error))
                }
                Err(cause) if meter.charge_if_affordable(self.explanation_units()) => {
                    Err(failure(cause).explain(&self.source))
                }
                Err(cause) => Err(EvalError::new(&self.source, in_words(&cause).message)),
            }
        })
    }
}
