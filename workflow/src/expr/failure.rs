//! Where in a tree an evaluation failed.
//!
//! The evaluator says what went wrong and not where. On the way out, the parts of the tree are evaluated once more, to
//! find the innermost one that fails; then its operands can be named as they were written.

use cel::common::ast::{CallExpr, Expr as Tree, IdedExpr, LiteralValue, operators};
use cel::{Context, ExecutionError};
use serde_json::Value;

use super::StepField;
use super::convert::to_json;
use super::error::EvalError;
use super::slots::{Live, Root, Walked};
use super::words::{Operand, Said, excerpt_of, in_words, no_field, no_overload, symbol};

/// An evaluation that failed, and what is needed to find out where.
pub(super) struct Failure<'f, 'p, 'v, 'l> {
    pub(super) tree: &'f IdedExpr,
    pub(super) context: &'f Context<'p, 'v>,
    pub(super) live: &'f Live<'l>,
    pub(super) cause: ExecutionError,
}

impl Failure<'_, '_, '_, '_> {
    pub(super) fn explain(&self, source: &str) -> EvalError {
        let culprit = self.culprit(self.tree);
        let said = match (&culprit.expr, &self.cause) {
            (Tree::Ident(name), ExecutionError::UndeclaredReference(_)) => self.missing(name),
            (Tree::Call(call), _) => self.call(call),
            (Tree::Select(select), ExecutionError::NoSuchKey(_) | ExecutionError::NoSuchOverload(_)) => {
                self.field(&select.operand, &select.field)
            }
            _ => None,
        };
        let said = said.unwrap_or_else(|| in_words(&self.cause));
        EvalError { value: said.value, ..EvalError::new(source, said.message) }
    }

    /// The innermost part outside of loops that fails although everything below it has a value.
    fn culprit<'t>(&self, node: &'t IdedExpr) -> &'t IdedExpr {
        let fails = |child: &&IdedExpr| cel::Value::resolve_val(child, self.context).is_err();
        let children: Vec<&IdedExpr> = match &node.expr {
            Tree::Call(call) if call.func_name == operators::CONDITIONAL => self.taken(call),
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

    /// The condition of `a ? b : c`, and the branch it takes.
    fn taken<'t>(&self, call: &'t CallExpr) -> Vec<&'t IdedExpr> {
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
        self.live.charge(value.as_ref())?;
        to_json(value.as_ref()).ok()
    }

    /// A slot that leads nowhere.
    fn missing(&self, name: &str) -> Option<Said> {
        let (slot, start) = self.live.slot(name.strip_prefix('@')?.parse().ok()?)?;
        let Walked::Missing(before, at) = slot.walk(start) else {
            return Some(Said::plain("the value is nested too deeply"));
        };
        let segment = slot.path.get(at).map_or("", |segment| segment.name.as_str());
        let instead = format!("write `default({}, ...)` if it may be missing", slot.text(slot.path.len()));
        Some(match (&slot.root, before) {
            (Root::Field(id, StepField::Output | StepField::Content), None) => {
                Said::plain(format!("step `{id}` has no {segment}: it was skipped, or it failed; {instead}"))
            }
            (Root::Field(id, _), None) => Said::plain(format!("step `{id}` has no {segment}; {instead}")),
            (Root::Inputs, Some(_)) if at == 0 => Said::plain(format!(
                "the input `{segment}` was not given; `inputs.?{segment}` by itself leaves its key out, and \
                     `default(inputs.{segment}, ...)` puts something in its place"
            )),
            (_, Some(before)) => no_field(&slot.text(at), before, segment, &instead),
            (_, None) => Said::plain(format!("`{}` has no value", slot.text(at))),
        })
    }

    /// A field of a value that is not a slot.
    fn field(&self, operand: &IdedExpr, field: &str) -> Option<Said> {
        let value = self.value(operand)?;
        let name = self.name(operand).unwrap_or_else(|| "the value".to_owned());
        Some(no_field(&name, &value, field, "write `default(..., value)` if it may be missing"))
    }

    /// An operator that does not take its operands.
    fn call(&self, call: &CallExpr) -> Option<Said> {
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

    fn operand(&self, node: &IdedExpr) -> Option<Operand> {
        let value = cel::Value::resolve_val(node, self.context).ok()?;
        let type_name = value.get_type().name().to_owned();
        self.live.charge(value.as_ref())?;
        Some(Operand { type_name, name: self.name(node), excerpt: excerpt_of(value.as_ref()) })
    }

    /// How people wrote a node, where it is a path or a literal.
    fn name(&self, node: &IdedExpr) -> Option<String> {
        match &node.expr {
            Tree::Call(call) if matches!(call.func_name.as_str(), "@copy" | "@addend" | "@scan") => {
                self.name(call.args.get(1)?)
            }
            Tree::Ident(name) => match name.strip_prefix('@') {
                Some(number) => {
                    self.live.slot(number.parse().ok()?).map(|(slot, _)| slot.text(slot.path.len()))
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
