//! Checks the operands of `&&`, `||` and `!`: literals, lists and maps that can never be a condition are refused.

use cel::common::ast::{CallExpr, Expr as Tree, IdedExpr, LiteralValue, operators};

use super::Binder;
use crate::codes::Code;
use crate::expr::problem::ExprProblem;

impl Binder<'_> {
    /// Refuses an operand that is never a condition, once for each expression. In other languages, `a && 'x' || 'y'` chooses
    /// between two values.
    pub(super) fn check_operands(&mut self, call: &CallExpr) {
        let is_reported = self.bound.problems.iter().any(|problem| problem.code == Code::NotACondition);
        let Some(culprit) = call.args.iter().find(|arg| is_never_a_condition(arg)).filter(|_| !is_reported)
        else {
            return;
        };
        let has_and = |arg: &IdedExpr| matches!(&arg.expr, Tree::Call(inner) if inner.func_name == operators::LOGICAL_AND);
        let (sign, help) = match call.func_name.as_str() {
            operators::LOGICAL_OR if !call.args.iter().any(has_and) => {
                ("||", "write `default(path, 'text')` for what may be missing, or `x != '' ? x : 'text'`")
            }
            operators::LOGICAL_NOT => ("!", "compare it, as in `x == ''` or `size(x) == 0`"),
            operators::LOGICAL_OR => ("||", CHOICE),
            _ => ("&&", CHOICE),
        };
        let message = format!("`{sign}` combines conditions, and this is neither true nor false");
        self.refuse(ExprProblem::new(Code::NotACondition, self.at(culprit.id), message).help(help));
    }
}

const CHOICE: &str = "write `condition ? 'yes' : 'no'` to choose between two values";

fn is_never_a_condition(node: &IdedExpr) -> bool {
    match &node.expr {
        Tree::Literal(literal) => !matches!(literal, LiteralValue::Boolean(_)),
        Tree::List(_) | Tree::Map(_) => true,
        _ => false,
    }
}
