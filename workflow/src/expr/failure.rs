//! Explanation of a failed evaluation.
//!
//! The errors of the evaluator have no position. After an error, the nodes of the tree are evaluated again to find the
//! innermost one that fails, so that the message can name its operands as in the text.

use cel::common::ast::{CallExpr, Expr as Tree, IdedExpr, LiteralValue, operators};
use cel::{Context, ExecutionError};
use serde_json::Value;

use super::StepField;
use super::bound_path::{Bindings, PathLookup, PathRoot};
use super::convert::to_json;
use super::error::EvalError;
use super::messages::{
    ErrorText, FailedOperand, arithmetic_symbol, describe, excerpt_of, no_field, no_overload, operand, symbol,
};
use super::parse::for_each_child;

/// A failed evaluation with its inputs, so that nodes can be evaluated again.
pub(super) struct FailedEvaluation<'f, 'p, 'v, 'l> {
    pub(super) tree: &'f IdedExpr,
    pub(super) context: &'f Context<'p, 'v>,
    pub(super) bindings: &'f Bindings<'l>,
    pub(super) cause: ExecutionError,
}

impl FailedEvaluation<'_, '_, '_, '_> {
    /// Returns the error with the position and the values of the failure.
    pub(super) fn explain(&self, source: &str) -> EvalError {
        let culprit = self.culprit(self.tree);
        let text = match (&culprit.expr, &self.cause) {
            (Tree::Ident(name), ExecutionError::UndeclaredReference(_)) => self.missing(name),
            (Tree::Call(call), _) => self.call(call),
            (Tree::Comprehension(each), ExecutionError::UnsupportedBinaryOperator(name, left, right)) => {
                self.operator_in_loop(&each.loop_step, arithmetic_symbol(name), left, right)
            }
            (Tree::Select(select), ExecutionError::NoSuchKey(_) | ExecutionError::NoSuchOverload(_)) => {
                self.field(&select.operand, &select.field)
            }
            _ => None,
        };
        let text = text.unwrap_or_else(|| describe(&self.cause));
        EvalError { value: text.value, ..EvalError::new(source, text.message) }
    }

    /// Finds the innermost node outside of loops that fails while all nodes below it have values.
    fn culprit<'t>(&self, node: &'t IdedExpr) -> &'t IdedExpr {
        let fails = |child: &&IdedExpr| cel::Value::resolve_val(child, self.context).is_err();
        let children: Vec<&IdedExpr> = match &node.expr {
            Tree::Call(call) if call.func_name == operators::CONDITIONAL => self.failing_branch(call),
            Tree::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
            Tree::Select(select) => vec![&select.operand],
            Tree::List(list) => list.elements.iter().collect(),
            Tree::Comprehension(each) => vec![&each.iter_range, &each.accu_init],
            _ => Vec::new(),
        };
        match children.into_iter().find(fails) {
            Some(child) => self.culprit(child),
            None => node,
        }
    }

    /// Returns the node of `a ? b : c` that can cause a failure: the taken branch, or the condition if it has no value.
    fn failing_branch<'t>(&self, call: &'t CallExpr) -> Vec<&'t IdedExpr> {
        let holds = |node| self.value(node).and_then(|value| value.as_bool());
        let [condition, yes, no] = call.args.as_slice() else { return Vec::new() };
        match holds(condition) {
            Some(true) => vec![yes],
            Some(false) => vec![no],
            None => vec![condition],
        }
    }

    fn value(&self, node: &IdedExpr) -> Option<Value> {
        let value = cel::Value::resolve_val(node, self.context).ok()?;
        self.bindings.charge(value.as_ref())?;
        to_json(value.as_ref()).ok()
    }

    /// Explains a path with a missing value.
    fn missing(&self, name: &str) -> Option<ErrorText> {
        let (path, start) = self.bindings.path(name.strip_prefix('@')?.parse().ok()?)?;
        let PathLookup::Missing(before, at) = path.follow(start) else {
            return Some(ErrorText::plain("the value is nested too deeply"));
        };
        let segment = path.segments.get(at).map_or("", |segment| segment.name.as_str());
        let instead =
            format!("write `default({}, ...)` if it may be missing", path.text(path.segments.len()));
        Some(match (&path.root, before) {
            (PathRoot::Field(id, StepField::Output | StepField::Content), None) => ErrorText::plain(format!(
                "step `{id}` has no {segment}: it was skipped, or it failed; {instead}"
            )),
            (PathRoot::Field(id, _), None) => {
                ErrorText::plain(format!("step `{id}` has no {segment}; {instead}"))
            }
            (PathRoot::Inputs, Some(_)) if at == 0 => ErrorText::plain(format!(
                "the input `{segment}` was not given; `inputs.?{segment}` by itself leaves its key out, and \
                     `default(inputs.{segment}, ...)` puts something in its place"
            )),
            (_, Some(before)) => no_field(&path.text(at), before, segment, &instead),
            (_, None) => ErrorText::plain(format!("`{}` has no value", path.text(at))),
        })
    }

    /// Explains a missing field of a computed value.
    fn field(&self, operand: &IdedExpr, field: &str) -> Option<ErrorText> {
        let value = self.value(operand)?;
        let name = self.name(operand).unwrap_or_else(|| "the value".to_owned());
        Some(no_field(&name, &value, field, "write `default(..., value)` if it may be missing"))
    }

    /// Explains an operator that does not accept its operands.
    fn call(&self, call: &CallExpr) -> Option<ErrorText> {
        let is_type_error = matches!(
            self.cause,
            ExecutionError::UnsupportedBinaryOperator(..) | ExecutionError::NoSuchOverload(_)
        );
        match call.args.as_slice() {
            [left, right] if is_type_error => {
                Some(no_overload(symbol(&call.func_name)?, &self.operand(left)?, &self.operand(right)?))
            }
            _ => None,
        }
    }

    /// Explains an operator within a loop, if the loop has one such operator only: its operands have names, and the values
    /// are those of the error.
    fn operator_in_loop(
        &self,
        body: &IdedExpr,
        symbol: &str,
        left: &cel::Value,
        right: &cel::Value,
    ) -> Option<ErrorText> {
        let mut found = Vec::new();
        operators_of(body, symbol, &mut found);
        let [[left_node, right_node]] = found.as_slice() else { return None };
        let named = |value: &cel::Value, node: &IdedExpr| {
            let operand = operand(value)?;
            let is_literal = matches!(node.expr, Tree::Literal(_));
            Some(FailedOperand { name: self.name(node), is_literal, ..operand })
        };
        Some(no_overload(symbol, &named(left, left_node)?, &named(right, right_node)?))
    }

    fn operand(&self, node: &IdedExpr) -> Option<FailedOperand> {
        let value = cel::Value::resolve_val(node, self.context).ok()?;
        let type_name = value.get_type().name().to_owned();
        self.bindings.charge(value.as_ref())?;
        let is_literal = matches!(node.expr, Tree::Literal(_));
        let excerpt = excerpt_of(value.as_ref());
        Some(FailedOperand { type_name, name: self.name(node), is_literal, excerpt })
    }

    /// Returns the text of a node that is a path or an index with a literal.
    fn name(&self, node: &IdedExpr) -> Option<String> {
        match &node.expr {
            Tree::Call(call) if matches!(call.func_name.as_str(), "@copy" | "@addend" | "@scan") => {
                self.name(call.args.get(1)?)
            }
            Tree::Ident(name) => match name.strip_prefix('@') {
                Some(number) => {
                    self.bindings.path(number.parse().ok()?).map(|(path, _)| path.text(path.segments.len()))
                }
                None => Some(name.clone()),
            },
            Tree::Select(select) => Some(format!("{}.{}", self.name(&select.operand)?, select.field)),
            Tree::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
                [value, IdedExpr { expr: Tree::Literal(LiteralValue::Int(index)), .. }] => {
                    Some(format!("{}[{}]", self.name(value)?, index.inner()))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// Collects the operands of an operator within a tree, without the additions by which a loop builds its list.
fn operators_of<'t>(node: &'t IdedExpr, wanted: &str, found: &mut Vec<[&'t IdedExpr; 2]>) {
    let is_result = |node: &IdedExpr| matches!(&node.expr, Tree::Ident(name) if name == "@result");
    if let Tree::Call(call) = &node.expr
        && symbol(&call.func_name) == Some(wanted)
        && let [left, right] = call.args.as_slice()
        && !is_result(left)
    {
        found.push([left, right]);
    }
    for_each_child(node, &mut |child| operators_of(child, wanted, found));
}
