//! The tree of the parser to the tree that is evaluated.
//!
//! One walk does what needs to know where each name comes from:
//!
//! * a path from `inputs`, `steps` or `run` becomes a slot, and a mention to be checked against the file;
//! * names and functions that do not exist are refused, as are steps that are not written by their id;
//! * loops go over maps in the order of their keys, and at most two stand in each other;
//! * whatever copies, compares or loops is charged to the meter.

use std::ops::Range;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr as Tree, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue,
    MapEntryExpr, SelectExpr, SourceInfo, operators,
};

use super::names::{self, Style};
use super::path::{self, Path};
use super::reads::Mention;
use super::refused::Refused;
use super::slots::{Segment, Slot, Wanted};
use super::{Reads, parse};
use crate::codes::Code;

/// How deep loops may stand in each other: each level multiplies the work.
const LOOP_LIMIT: usize = 2;

/// What a walk gives.
#[derive(Debug, Default)]
pub(super) struct Bound {
    pub(super) slots: Vec<Slot>,
    pub(super) reads: Reads,
    pub(super) mentions: Vec<Mention>,
    pub(super) refused: Vec<Refused>,
}

/// Binds the names of a tree.
pub(super) fn bind(text: &str, tree: IdedExpr, info: &SourceInfo) -> (IdedExpr, Bound) {
    let mut binder = Binder { text, info, locals: Vec::new(), loops: 0, bound: Bound::default() };
    let tree = binder.tree(tree);
    (tree, binder.bound)
}

struct Binder<'t> {
    text: &'t str,
    info: &'t SourceInfo,
    /// The variables of the loops around.
    locals: Vec<String>,
    loops: usize,
    bound: Bound,
}

impl Binder<'_> {
    fn tree(&mut self, node: IdedExpr) -> IdedExpr {
        if let Some(path) = path::of(&node, self.text, self.info).filter(|path| !self.is_local(&path.root)) {
            return self.path(node, &path);
        }
        let IdedExpr { id, expr } = node;
        let expr = match expr {
            Tree::Call(call) => self.call(id, call),
            Tree::Comprehension(each) => self.comprehension(id, *each),
            Tree::List(list) => {
                let elements = list.elements.into_iter().map(|element| self.copied(element)).collect();
                Tree::List(ListExpr { elements, ..list })
            }
            Tree::Map(mut map) => {
                map.entries = map.entries.into_iter().map(|entry| self.entry(entry)).collect();
                Tree::Map(map)
            }
            Tree::Select(select) => {
                let operand = Box::new(self.tree(*select.operand));
                Tree::Select(SelectExpr { operand, ..select })
            }
            Tree::Struct(message) => {
                let text = format!(
                    "`{}{{...}}` makes a message, and there are none; a map is `{{'key': value}}`",
                    message.type_name
                );
                self.refuse(Refused::new(Code::ExpressionSyntax, self.at(id), text));
                Tree::Struct(message)
            }
            Tree::Ident(_) | Tree::Literal(_) | Tree::Unspecified => expr,
        };
        IdedExpr { id, expr }
    }

    fn is_local(&self, name: &str) -> bool {
        name.starts_with('@') || self.locals.iter().any(|local| local == name)
    }

    fn at(&self, id: u64) -> Range<usize> {
        path::range(self.info, id)
    }

    fn refuse(&mut self, refused: Refused) {
        self.bound.refused.push(refused);
    }

    /// A path from outside becomes a slot.
    fn path(&mut self, node: IdedExpr, path: &Path) -> IdedExpr {
        if path.is_bare() && names::is_type(&path.root) {
            return node;
        }
        let root = match path.resolve(&mut self.bound.reads, &mut self.bound.mentions) {
            Ok(root) => root,
            Err(refused) => {
                self.refuse(refused);
                return node;
            }
        };
        let segments = path.segments.iter().skip(usize::from(path.root == "steps"));
        let path_of_slot = segments
            .map(|segment| Segment { name: segment.name.clone(), optional: segment.optional })
            .collect();
        let wanted = if path.presence { Wanted::Presence } else { Wanted::Value };
        let slot = Slot { root, path: path_of_slot, wanted };
        let slots = &mut self.bound.slots;
        let number = slots.iter().position(|known| *known == slot).unwrap_or_else(|| {
            slots.push(slot);
            slots.len() - 1
        });
        IdedExpr { id: node.id, expr: Tree::Ident(format!("@{number}")) }
    }

    fn entry(&mut self, entry: IdedEntryExpr) -> IdedEntryExpr {
        let expr = match entry.expr {
            EntryExpr::MapEntry(pair) => EntryExpr::MapEntry(MapEntryExpr {
                key: self.copied(pair.key),
                value: self.copied(pair.value),
                optional: pair.optional,
            }),
            field @ EntryExpr::StructField(_) => field,
        };
        IdedEntryExpr { id: entry.id, expr }
    }

    /// A node whose value is about to be copied or compared.
    fn copied(&mut self, node: IdedExpr) -> IdedExpr {
        self.charged("@copy", node)
    }

    fn charged(&mut self, charge: &str, node: IdedExpr) -> IdedExpr {
        let node = self.tree(node);
        // Literals are bounded by the text; what an accumulator holds was charged when it came into being.
        let free = match &node.expr {
            Tree::Literal(_) | Tree::List(_) | Tree::Map(_) => true,
            Tree::Ident(name) => name == "@result",
            _ => false,
        };
        if free { node } else { call(node.id, charge, vec![meter(node.id), node]) }
    }

    fn comprehension(&mut self, id: u64, each: ComprehensionExpr) -> Tree {
        let iter_range = self.tree(each.iter_range);
        let accu_init = self.tree(each.accu_init);
        self.loops += 1;
        if self.loops == LOOP_LIMIT + 1 {
            let message = format!("more than {LOOP_LIMIT} loops stand in each other");
            let refused = Refused::new(Code::TooManyLoops, self.at(id), message);
            self.refuse(refused.help("compute the inner list in a `set` step before"));
        }
        self.locals.push(each.iter_var.clone());
        let loop_cond = self.tree(each.loop_cond);
        let loop_step = self.tree(each.loop_step);
        let result = self.tree(each.result);
        self.locals.pop();
        self.loops -= 1;
        let body = LiteralValue::Int(i64::try_from(parse::size(&loop_step)).unwrap_or(i64::MAX).into());
        let body = IdedExpr { id, expr: Tree::Literal(body) };
        let iter_range = call(id, "@range", vec![meter(id), iter_range, body]);
        Tree::Comprehension(Box::new(ComprehensionExpr {
            iter_range,
            accu_init,
            loop_cond,
            loop_step,
            result,
            ..each
        }))
    }

    fn call(&mut self, id: u64, mut call: CallExpr) -> Tree {
        if let Some(target) = call.target.take() {
            return self.method(id, *target, call.func_name, call.args);
        }
        let args = call.args;
        match (call.func_name.as_str(), args.len()) {
            (operators::INDEX | operators::OPT_INDEX, 2) => self.index(id, &call.func_name, args),
            (operators::OPT_SELECT, 2) => self.each(call.func_name, args, Self::copied),
            (
                operators::CONDITIONAL
                | operators::LOGICAL_AND
                | operators::LOGICAL_OR
                | operators::LOGICAL_NOT,
                _,
            )
            | (operators::NEGATE | operators::NOT_STRICTLY_FALSE, _) => {
                self.each(call.func_name, args, Self::tree)
            }
            (operators::IN, 2) => self.membership(call.func_name, args),
            ("default", 2) => self.default(id, args),
            (name, _) if name.starts_with(['_', '@', '!', '-']) => {
                self.each(call.func_name, args, Self::copied)
            }
            _ => self.function(id, call.func_name, args),
        }
    }

    /// The same call, with each argument bound in one way.
    fn each(
        &mut self,
        func_name: String,
        args: Vec<IdedExpr>,
        bind: fn(&mut Self, IdedExpr) -> IdedExpr,
    ) -> Tree {
        let args = args.into_iter().map(|arg| bind(self, arg)).collect();
        Tree::Call(CallExpr { func_name, target: None, args })
    }

    fn index(&mut self, id: u64, operator: &str, args: Vec<IdedExpr>) -> Tree {
        if let Some(Tree::Ident(name)) = args.first().map(|target| &target.expr)
            && name == "steps"
            && !self.is_local(name)
        {
            self.refuse(path::dynamic_step(self.at(id)));
            return Tree::Literal(LiteralValue::Null);
        }
        let bind = if operator == operators::INDEX { Self::tree } else { Self::copied };
        self.each(operator.to_owned(), args, bind)
    }

    fn membership(&mut self, func_name: String, args: Vec<IdedExpr>) -> Tree {
        let mut number = 0;
        let args = args.into_iter().map(|arg| {
            number += 1;
            if number == 1 { self.copied(arg) } else { self.charged("@scan", arg) }
        });
        let args = args.collect();
        Tree::Call(CallExpr { func_name, target: None, args })
    }

    /// `default(path, value)`: `let found = path, each name optional, in found.hasValue() ? found.value() : value`.
    fn default(&mut self, id: u64, args: Vec<IdedExpr>) -> Tree {
        let mut args = args.into_iter();
        let (Some(path), Some(value)) = (args.next(), args.next()) else {
            return Tree::Literal(LiteralValue::Null);
        };
        let Some(path) = path::optional(path) else {
            let refused = Refused::new(Code::BadDefault, self.at(id), "`default()` takes a path and a value");
            self.refuse(refused.help("as in `default(steps.fetch.output.title, 'untitled')`"));
            return Tree::Literal(LiteralValue::Null);
        };
        let found = |method: &str| {
            let target = Some(Box::new(IdedExpr { id, expr: Tree::Ident("@found".to_owned()) }));
            IdedExpr {
                id,
                expr: Tree::Call(CallExpr { func_name: method.to_owned(), target, args: Vec::new() }),
            }
        };
        let accu_init = self.tree(path);
        let value = self.tree(value);
        let result = call(id, operators::CONDITIONAL, vec![found("hasValue"), found("value"), value]);
        let ident = |name: &str| IdedExpr { id, expr: Tree::Ident(name.to_owned()) };
        Tree::Comprehension(Box::new(ComprehensionExpr {
            iter_range: IdedExpr { id, expr: Tree::List(ListExpr::new(Vec::new())) },
            iter_var: "@nothing".to_owned(),
            iter_var2: None,
            accu_var: "@found".to_owned(),
            accu_init,
            loop_cond: IdedExpr { id, expr: Tree::Literal(LiteralValue::Boolean(false.into())) },
            loop_step: ident("@found"),
            result,
        }))
    }

    /// A function that is called by its name alone.
    fn function(&mut self, id: u64, name: String, args: Vec<IdedExpr>) -> Tree {
        if let Err(refused) = names::check(Style::Function, &name, args.len(), self.at(id), self.text) {
            self.refuse(refused);
        }
        self.known(id, name, args)
    }

    /// A function that is called on a value.
    fn method(&mut self, id: u64, target: IdedExpr, name: String, mut args: Vec<IdedExpr>) -> Tree {
        let is_library =
            matches!(&target.expr, Tree::Ident(root) if root == "optional" && !self.is_local(root));
        if is_library && names::OPTIONAL.contains(&name.as_str()) {
            let args = args.into_iter().map(|arg| self.copied(arg)).collect();
            return Tree::Call(CallExpr { func_name: name, target: Some(Box::new(target)), args });
        }
        if let Err(refused) = names::check(Style::Method, &name, args.len(), self.at(id), self.text) {
            self.refuse(refused);
        }
        if names::IS_BOTH.contains(&name.as_str()) {
            args.insert(0, target);
            return self.known(id, name, args);
        }
        let target = Some(Box::new(self.copied(target)));
        let args = args.into_iter().map(|arg| self.copied(arg)).collect();
        Tree::Call(CallExpr { func_name: name, target, args })
    }

    /// A function that exists: ours get their own names, and the meter where they charge.
    fn known(&mut self, id: u64, name: String, args: Vec<IdedExpr>) -> Tree {
        let status = |name: &str| Tree::Ident(format!("@{name}"));
        match name.as_str() {
            "always" => {
                self.bound.reads.status = true;
                return Tree::Literal(LiteralValue::Boolean(true.into()));
            }
            "success" | "failure" | "cancelled" => {
                self.bound.reads.status = true;
                return status(&name);
            }
            _ => {}
        }
        let charge = match name.as_str() {
            "contains" => "@scan",
            "size" => "@size",
            _ => "@copy",
        };
        let mut args: Vec<_> = args.into_iter().map(|arg| self.charged(charge, arg)).collect();
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
        if matches!(name.as_str(), "matches" | "join" | "format" | "fromJSON") {
            args.insert(0, meter(id));
        }
        let func_name = if names::IS_OURS.contains(&name.as_str()) { format!("@{name}") } else { name };
        Tree::Call(CallExpr { func_name, target: None, args })
    }
}

fn call(id: u64, function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr { id, expr: Tree::Call(CallExpr { func_name: function.to_owned(), target: None, args }) }
}

fn meter(id: u64) -> IdedExpr {
    IdedExpr { id, expr: Tree::Ident("@meter".to_owned()) }
}
