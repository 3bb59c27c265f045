//! Binds calls and operators: checks their names, adds charges, and replaces functions of this crate.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, Expr as Tree, IdedExpr, ListExpr, LiteralValue, operators,
};

use super::{Binder, call, meter};
use crate::codes::Code;
use crate::expr::format_text::{self, FormatError};
use crate::expr::names::{self, CallStyle};
use crate::expr::path;
use crate::expr::problem::ExprProblem;

/// A function that binds an argument.
type BindArgument<'t> = fn(&mut Binder<'t>, IdedExpr) -> IdedExpr;

impl<'t> Binder<'t> {
    pub(super) fn call(&mut self, id: u64, mut call: CallExpr) -> Tree {
        use operators as op;
        if let Some(target) = call.target.take() {
            return self.method(id, *target, call.func_name, call.args);
        }
        let bind: [BindArgument<'t>; 2] = match call.func_name.as_str() {
            "default" if call.args.len() == 2 => return self.default(id, call.args),
            op::INDEX if self.is_steps(&call.args) => return self.dynamic_step(id, call.args.get(1)),
            op::EQUALS | op::NOT_EQUALS | op::IN => {
                self.compared_status(&call.args);
                if call.func_name == op::IN {
                    [Self::copied, Self::scanned]
                } else {
                    [Self::copied, Self::copied]
                }
            }
            op::LOGICAL_AND | op::LOGICAL_OR | op::LOGICAL_NOT => {
                self.check_operands(&call);
                [Self::tree, Self::tree]
            }
            op::INDEX | op::CONDITIONAL | op::NEGATE | op::NOT_STRICTLY_FALSE => [Self::tree, Self::tree],
            op::ADD => [Self::copied, Self::added],
            name if is_operator(name) => [Self::copied, Self::copied],
            _ => return self.function(id, call.func_name, call.args),
        };
        let [first, others] = bind;
        let args = call.args.into_iter().enumerate();
        let args = args
            .map(|(number, arg)| if number == 0 { first(self, arg) } else { others(self, arg) })
            .collect();
        Tree::Call(CallExpr { func_name: call.func_name, target: None, args })
    }

    fn scanned(&mut self, node: IdedExpr) -> IdedExpr {
        self.charged("@scan", node)
    }

    fn added(&mut self, node: IdedExpr) -> IdedExpr {
        self.charged("@addend", node)
    }

    /// Returns true if the first argument is `steps`.
    fn is_steps(&self, args: &[IdedExpr]) -> bool {
        matches!(args.first().map(|target| &target.expr), Some(Tree::Ident(name)) if name == "steps" && !self.is_local(name))
    }

    fn dynamic_step(&mut self, id: u64, index: Option<&IdedExpr>) -> Tree {
        let problem = match index.map(|index| &index.expr) {
            Some(Tree::Literal(LiteralValue::String(step))) => path::quoted_step(self.at(id), step.inner()),
            _ => path::dynamic_step(self.at(id)),
        };
        self.refuse(problem);
        Tree::Literal(LiteralValue::Null)
    }

    /// Transforms `default(path, value)` to `let found = path, each name optional, in found.hasValue() ? found.value() : value`.
    /// The tree has no `let`, so it is a loop over an empty list.
    fn default(&mut self, id: u64, args: Vec<IdedExpr>) -> Tree {
        let mut args = args.into_iter();
        let (Some(path), Some(value)) = (args.next().and_then(path::optional), args.next()) else {
            let problem =
                ExprProblem::new(Code::BadDefault, self.at(id), "`default()` takes a path and a value");
            self.refuse(problem.help("as in `default(steps.fetch.output.title, 'untitled')`"));
            return Tree::Literal(LiteralValue::Null);
        };
        let node = |expr| IdedExpr { id, expr };
        let found = || node(Tree::Ident("@found".to_owned()));
        let ask = |method: &str| {
            let target = Some(Box::new(found()));
            node(Tree::Call(CallExpr { func_name: method.to_owned(), target, args: Vec::new() }))
        };
        let accu_init = self.copied(path);
        let value = self.copied(value);
        Tree::Comprehension(Box::new(ComprehensionExpr {
            iter_range: node(Tree::List(ListExpr::new(Vec::new()))),
            iter_var: "@nothing".to_owned(),
            iter_var2: None,
            accu_var: "@found".to_owned(),
            accu_init,
            loop_cond: node(Tree::Literal(LiteralValue::Boolean(false.into()))),
            loop_step: found(),
            result: call(id, operators::CONDITIONAL, vec![ask("hasValue"), ask("value"), value]),
        }))
    }

    /// Binds a call in function syntax.
    fn function(&mut self, id: u64, name: String, args: Vec<IdedExpr>) -> Tree {
        if let Err(problem) = names::check(CallStyle::Function, &name, args.len(), self.at(id), self.text) {
            self.refuse(problem);
        }
        if name == "format" {
            self.check_format(&args);
        }
        self.checked_call(id, name, args)
    }

    /// Refuses a literal text of `format()` that names values which are not given.
    fn check_format(&mut self, args: &[IdedExpr]) {
        let Some((IdedExpr { id, expr: Tree::Literal(LiteralValue::String(text)) }, values)) =
            args.split_first()
        else {
            return;
        };
        let error = format_text::parts(text.inner(), values.len()).find_map(Result::err);
        if let Some(FormatError { message, help }) = error {
            let problem =
                ExprProblem::new(Code::UnknownFunction, self.at(*id), format!("`format()`: {message}"));
            self.refuse(problem.help(help));
        }
    }

    /// Binds a call in method syntax.
    fn method(&mut self, id: u64, target: IdedExpr, name: String, mut args: Vec<IdedExpr>) -> Tree {
        let is_library =
            matches!(&target.expr, Tree::Ident(root) if root == "optional" && !self.is_local(root));
        let target = if is_library && names::OPTIONAL_FUNCTIONS.contains(&name.as_str()) {
            target
        } else {
            if let Err(problem) = names::check(CallStyle::Method, &name, args.len(), self.at(id), self.text) {
                self.refuse(problem);
            }
            if names::FUNCTIONS_AND_METHODS.contains(&name.as_str()) {
                args.insert(0, target);
                return self.checked_call(id, name, args);
            }
            self.copied(target)
        };
        let args = args.into_iter().map(|arg| self.copied(arg)).collect();
        Tree::Call(CallExpr { func_name: name, target: Some(Box::new(target)), args })
    }

    /// Binds a call of a function whose name and arguments are checked.
    fn checked_call(&mut self, id: u64, name: String, args: Vec<IdedExpr>) -> Tree {
        let charge = match name.as_str() {
            "always" | "success" | "failure" | "cancelled" => return self.status(&name),
            "contains" => "@scan",
            "size" => "@size",
            _ => "@copy",
        };
        let args = args.into_iter().map(|arg| self.charged(charge, arg)).collect();
        own_function(id, name, args)
    }

    /// Binds a function of the run's status, which is constant during an evaluation.
    fn status(&mut self, name: &str) -> Tree {
        self.bound.reads.status = true;
        match name {
            "always" => Tree::Literal(LiteralValue::Boolean(true.into())),
            other => Tree::Ident(format!("@{other}")),
        }
    }
}

/// Returns true for an operator. The parser represents operators as functions whose names are not valid in a text.
fn is_operator(name: &str) -> bool {
    !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Replaces functions of this crate by their internal names, and adds the meter to those that charge.
fn own_function(id: u64, name: String, mut args: Vec<IdedExpr>) -> Tree {
    match name.as_str() {
        "startsWith" | "endsWith" if args.len() == 2 => {
            let target = Some(Box::new(args.remove(0)));
            return Tree::Call(CallExpr { func_name: name, target, args });
        }
        "format" if !args.is_empty() => {
            let values = args.split_off(1);
            args.push(IdedExpr { id, expr: Tree::List(ListExpr::new(values)) });
        }
        "join" if args.len() == 1 => {
            args.push(IdedExpr { id, expr: Tree::Literal(LiteralValue::String(",".into())) });
        }
        _ => {}
    }
    if matches!(name.as_str(), "matches" | "join" | "format" | "toJSON" | "fromJSON") {
        args.insert(0, meter(id));
    }
    let func_name = if names::OWN_FUNCTIONS.contains(&name.as_str()) { format!("@{name}") } else { name };
    Tree::Call(CallExpr { func_name, target: None, args })
}
