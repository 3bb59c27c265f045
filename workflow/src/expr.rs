//! Expressions in CEL, compiled when the file is checked and evaluated against a [`Scope`].
//!
//! The crate `cel` has the language and its evaluator, and is used within this module only. This module adds the conversion
//! of JSON, the names that expressions can use, some functions, limits of work and depth, and messages that name the value
//! that made an expression fail. `parse` builds a tree, `bind` prepares it for evaluation, and `bound_path` fetches values.

mod bind;
mod bound_path;
mod budget;
mod condition;
mod convert;
mod error;
mod failure;
pub(crate) mod find;
mod foreign;
mod format_text;
mod functions;
mod input_use;
mod messages;
mod meter;
mod names;
mod parse;
mod path;
mod patterns;
mod problem;
mod reads;
mod scope;
mod stack;
mod units;
mod uses;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use cel::common::ast::{Expr as Tree, IdedExpr};
use cel::{Context, ExecutionError};
use serde_json::Value;

pub use budget::WorkBudget;
pub(crate) use condition::{ConditionPart, PartType};
pub use error::EvalError;
pub(crate) use input_use::{InputUse, LiteralKind, OperandKind, TypedOperand};
pub(crate) use problem::ExprProblem;
pub(crate) use reads::Mention;
pub use reads::{ReadSet, StepField};
pub use scope::Scope;

use bound_path::{Bindings, BoundPath, PathLookup};
use failure::FailedEvaluation;
use messages::describe;
use meter::WorkMeter;

/// Cost of starting an evaluation, in units of work.
const EXPRESSION_UNITS: u64 = 100;

/// Cost of finding one value in the scope, where steps are searched by name.
const FETCH_UNITS: u64 = 50;

/// Fixed part of the cost of explaining a failure.
const EXPLANATION_UNITS: u64 = 2_000;

/// The result of an evaluation.
enum EvalOutcome {
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
    /// Number of nodes of the tree.
    nodes: u64,
    paths: Vec<BoundPath>,
    reads: ReadSet,
}

impl Expr {
    /// Compiles a text without braces. The caller has to check the returned mentions against the file.
    pub(crate) fn compile(text: &str) -> Result<(Self, Vec<Mention>), Vec<ExprProblem>> {
        let (tree, info) = parse::parse(text).map_err(|refused| vec![refused])?;
        let uses = uses::uses(text, &tree, &info);
        let (tree, mut bound) = bind::bind(text, tree, &info);
        if !bound.problems.is_empty() {
            return Err(bound.problems);
        }
        bound.mentions.extend(uses.into_iter().map(|(found, at)| Mention::Use { found, at }));
        let depth = parse::depth(&tree);
        let nodes = parse::size(&tree) as u64;
        let source = text.trim().to_owned();
        Ok((Self { source, tree, depth, nodes, paths: bound.paths, reads: bound.reads }, bound.mentions))
    }

    /// Returns the text, without braces.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the values that the expression reads.
    pub const fn reads(&self) -> &ReadSet {
        &self.reads
    }

    /// Evaluates the expression. The work is charged to `budget`.
    ///
    /// # Errors
    ///
    /// If a value is missing or has a type that an operator does not accept, if the result has no form in JSON, or if the budget
    /// is exhausted.
    pub fn evaluate(&self, scope: &dyn Scope, budget: &WorkBudget) -> Result<Value, EvalError> {
        match self.outcome(scope, budget)? {
            EvalOutcome::Value(value) => Ok(value),
            EvalOutcome::Optional(_) => Err(self.optional_error()),
        }
    }

    /// Evaluates the expression. Returns `None` for an empty optional, such as `inputs.?limit` where the input is absent.
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
            EvalOutcome::Value(value) => Some(value),
            EvalOutcome::Optional(value) => value,
        })
    }

    /// Returns the error of an optional where a value is required.
    pub(crate) fn optional_error(&self) -> EvalError {
        EvalError::new(&self.source, convert::ConvertError::Optional)
    }

    /// Evaluates the expression. A single path is looked up without the evaluator.
    fn outcome(&self, scope: &dyn Scope, budget: &WorkBudget) -> Result<EvalOutcome, EvalError> {
        let meter = budget.meter();
        let roots = self.fetch(scope, meter).map_err(|_| EvalError::too_much(&self.source))?;
        match self.plain_path_value(&roots) {
            Some(value) if meter.charge(meter::of_json(value)).is_ok() => {
                Ok(EvalOutcome::Value(value.clone()))
            }
            Some(_) => Err(EvalError::too_much(&self.source)),
            None => self.compute(scope, &roots, meter),
        }
    }

    /// Evaluates a condition.
    ///
    /// # Errors
    ///
    /// As [`Expr::evaluate`], and if the value is neither true nor false.
    pub fn evaluate_condition(&self, scope: &dyn Scope, budget: &WorkBudget) -> Result<bool, EvalError> {
        match self.evaluate(scope, budget)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(EvalError::not_a_condition(&self.source, &other)),
        }
    }

    /// Fetches the values at the roots of all paths. Values that are built for this expression are charged.
    fn fetch<'s>(
        &self,
        scope: &'s dyn Scope,
        meter: &WorkMeter,
    ) -> Result<Vec<Option<Cow<'s, Value>>>, ExecutionError> {
        meter.charge(EXPRESSION_UNITS.saturating_add(self.nodes))?;
        let fetch = |path: &BoundPath| {
            meter.charge(FETCH_UNITS)?;
            let value = path.fetch(scope);
            if let Some(Cow::Owned(value)) = &value {
                meter.charge(meter::of_json(value))?;
            }
            Ok(value)
        };
        self.paths.iter().map(fetch).collect()
    }

    /// Returns the input if the expression consists of `inputs.<name>` or `inputs.?<name>`.
    pub(crate) fn input(&self) -> Option<&str> {
        self.only_path()?.1.input()
    }

    /// Returns true if the expression consists of one path with `.?`.
    pub(crate) fn is_optional_path(&self) -> bool {
        self.only_path().is_some_and(|(_, path)| path.is_optional())
    }

    /// Returns the path and its index if the expression consists of one path.
    fn only_path(&self) -> Option<(usize, &BoundPath)> {
        let Tree::Ident(name) = &self.tree.expr else { return None };
        let index: usize = name.strip_prefix('@')?.parse().ok()?;
        Some((index, self.paths.get(index)?))
    }

    /// Returns the path and its index if the expression consists of one path without `.?`.
    fn path(&self) -> Option<(usize, &BoundPath)> {
        self.only_path().filter(|(_, path)| path.is_plain())
    }

    /// Returns the value of an expression that consists of one path, which needs no evaluator.
    fn plain_path_value<'r>(&self, roots: &'r [Option<Cow<'_, Value>>]) -> Option<&'r Value> {
        let (index, path) = self.path()?;
        match path.follow(roots.get(index)?.as_deref()) {
            PathLookup::Found(value) => Some(value),
            PathLookup::Missing(..) => None,
        }
    }

    /// Returns the cost of explaining a failure, which evaluates the nodes below each level of the tree again, and may search for
    /// a similar name.
    const fn explanation_units(&self) -> u64 {
        EXPLANATION_UNITS.saturating_add(self.nodes.saturating_mul(self.depth as u64))
    }

    /// Evaluates the tree, and explains a failure if the budget allows it.
    fn compute(
        &self,
        scope: &dyn Scope,
        roots: &[Option<Cow<'_, Value>>],
        meter: &WorkMeter,
    ) -> Result<EvalOutcome, EvalError> {
        let status = if self.reads.status { (scope.failed(), scope.cancelled()) } else { (false, false) };
        let bindings = Bindings::new(&self.paths, roots, meter, status);
        let mut context = Context::with_env(Arc::clone(&functions::ENV));
        context.set_variable_resolver(&bindings);
        stack::to_evaluate(self.depth, || {
            let failure =
                |cause| FailedEvaluation { tree: &self.tree, context: &context, bindings: &bindings, cause };
            let result = cel::Value::resolve_val(&self.tree, &context);
            if meter.is_spent() {
                return Err(EvalError::too_much(&self.source));
            }
            match result {
                Ok(value) => {
                    let outcome = match convert::optional(value.as_ref()) {
                        Some(inner) => inner.map(convert::to_json).transpose().map(EvalOutcome::Optional),
                        None => convert::to_json(value.as_ref()).map(EvalOutcome::Value),
                    };
                    outcome.map_err(|error| EvalError::new(&self.source, error))
                }
                Err(cause) if meter.charge_if_affordable(self.explanation_units()) => {
                    Err(failure(cause).explain(&self.source))
                }
                Err(cause) => Err(EvalError::new(&self.source, describe(&cause).message)),
            }
        })
    }
}
