//! Collects the uses of inputs in an expression, for the check against their declared types.
//!
//! Only certain uses are collected. An input is not required by a part that need not be evaluated: a branch of `? :`, a side of
//! `&&` and `||`, the body of a loop, the second argument of `default`.

use std::ops::Range;

use cel::common::ast::{CallExpr, EntryExpr, Expr as Tree, IdedExpr, LiteralValue, SourceInfo, operators};

use super::input_use::{InputUse, LiteralKind, OperandKind, TypedOperand};
use super::messages::symbol;
use super::path::{self, SyntaxPath};

/// Operators whose operand types are checked.
const OPERATORS: [&str; 11] = [
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
];

/// Collects the uses of inputs in an unbound tree.
pub(super) fn uses(text: &str, tree: &IdedExpr, info: &SourceInfo) -> Vec<(InputUse, Range<usize>)> {
    let mut collector = UseCollector { text, info, locals: Vec::new(), found: Vec::new() };
    collector.node(tree, true);
    collector.found
}

struct UseCollector<'t> {
    text: &'t str,
    info: &'t SourceInfo,
    /// Variables of the enclosing loops.
    locals: Vec<&'t str>,
    found: Vec<(InputUse, Range<usize>)>,
}

impl<'t> UseCollector<'t> {
    /// Collects the uses in a node. `is_certain` is true if the node is evaluated whenever the expression is.
    fn node(&mut self, node: &'t IdedExpr, is_certain: bool) {
        if let Some(path) = self.input_path(node) {
            return self.path(&path, is_certain);
        }
        match &node.expr {
            Tree::Call(call) => self.call(call, is_certain),
            Tree::Select(select) => self.node(&select.operand, is_certain),
            Tree::List(list) => list.elements.iter().for_each(|element| self.node(element, is_certain)),
            Tree::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(pair) = &entry.expr {
                        self.node(&pair.key, is_certain);
                        self.node(&pair.value, is_certain);
                    }
                }
            }
            Tree::Comprehension(each) => {
                self.node(&each.iter_range, is_certain);
                self.node(&each.accu_init, is_certain);
                self.locals.push(&each.iter_var);
                for part in [&each.loop_cond, &each.loop_step, &each.result] {
                    self.node(part, false);
                }
                self.locals.pop();
            }
            Tree::Ident(_) | Tree::Literal(_) | Tree::Struct(_) | Tree::Unspecified => {}
        }
    }

    fn call(&mut self, call: &'t CallExpr, is_certain: bool) {
        let name = call.func_name.as_str();
        if let Some(target) = &call.target {
            match self.input_path(target).filter(SyntaxPath::is_optional) {
                Some(path) if name != "orValue" => self.presence_test(&path),
                _ => self.node(target, is_certain),
            }
        }
        match (name, call.args.as_slice()) {
            ("default", [path, value]) => {
                if self.input_path(path).is_none() {
                    self.node(path, false);
                }
                self.node(value, false);
            }
            (operators::CONDITIONAL, [condition, yes, no]) => {
                self.node(condition, is_certain);
                self.node(yes, false);
                self.node(no, false);
            }
            (operators::LOGICAL_AND | operators::LOGICAL_OR, sides) => {
                sides.iter().for_each(|side| self.node(side, false));
            }
            (name, [left, right]) if OPERATORS.contains(&name) => {
                self.operation(name, left, right, is_certain)
            }
            (_, args) => args.iter().for_each(|arg| self.node(arg, is_certain)),
        }
    }

    fn operation(&mut self, name: &str, left: &'t IdedExpr, right: &'t IdedExpr, is_certain: bool) {
        let sides = (self.operand(left), self.operand(right));
        // `inputs.x == null` is intended as a test of presence, and gets a warning of its own.
        let is_null = |side: &Option<(TypedOperand, Range<usize>)>| {
            side.as_ref().is_some_and(|(side, _)| side.kind == OperandKind::Literal(LiteralKind::Null))
        };
        let tests_presence = is_null(&sides.0) || is_null(&sides.1);
        for side in [left, right] {
            self.node(side, is_certain && !tests_presence);
        }
        if let (Some((left, from)), Some((right, to)), Some(sign)) = (sides.0, sides.1, symbol(name)) {
            let at = from.start.min(to.start)..from.end.max(to.end);
            self.found.push((InputUse::Operation { sign: sign.to_owned(), left, right }, at));
        }
    }

    /// Returns an operand whose type may be known.
    fn operand(&self, node: &IdedExpr) -> Option<(TypedOperand, Range<usize>)> {
        let (kind, at) = match &node.expr {
            Tree::Literal(literal) => {
                (OperandKind::Literal(literal_kind(literal)?), path::range(self.info, node.id))
            }
            _ => {
                let path = self.input_path(node)?;
                let [name] = path.segments.as_slice() else { return None };
                if name.optional || path.presence {
                    return None;
                }
                (OperandKind::Input(name.name.clone()), path.range())
            }
        };
        let text = self.text.get(at.clone())?.to_owned();
        Some((TypedOperand { kind, text }, at))
    }

    fn path(&mut self, path: &SyntaxPath, is_certain: bool) {
        let Some(first) = path.segments.first() else {
            // `'x' in inputs` and `inputs['x']` may refer to any input.
            return self.found.push((InputUse::PresenceTest(None), path.range()));
        };
        if path.presence {
            self.presence_test(path);
        } else if is_certain && !path.is_optional() {
            self.found.push((InputUse::Required(first.name.clone()), path.range()));
        }
    }

    fn presence_test(&mut self, path: &SyntaxPath) {
        let name = path.segments.first().map(|first| first.name.clone());
        self.found.push((InputUse::PresenceTest(name), path.range()));
    }

    fn input_path(&self, node: &IdedExpr) -> Option<SyntaxPath> {
        path::of(node, self.text, self.info)
            .filter(|path| path.root == "inputs" && !self.locals.contains(&"inputs"))
    }
}

fn literal_kind(literal: &LiteralValue) -> Option<LiteralKind> {
    Some(match literal {
        LiteralValue::Null => LiteralKind::Null,
        LiteralValue::Boolean(_) => LiteralKind::Boolean,
        LiteralValue::Int(_) => LiteralKind::Integer,
        LiteralValue::Double(_) => LiteralKind::Double,
        LiteralValue::String(_) => LiteralKind::Text,
        LiteralValue::UInt(_) | LiteralValue::Bytes(_) => return None,
    })
}
