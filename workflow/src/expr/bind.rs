//! The tree of the parser to the tree that is evaluated.
//!
//! One walk does what needs to know where each name comes from:
//!
//! * a path from `inputs`, `steps` or `run` becomes a slot, and a mention to be checked against the file;
//! * names and functions that do not exist are refused, as are steps that are not written by their id;
//! * loops go over maps in the order of their keys, and at most two stand in each other;
//! * whatever copies, compares or loops is charged to the meter.

mod call;
mod combined;
mod status;

use std::ops::Range;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr as Tree, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue,
    MapEntryExpr, SelectExpr, SourceInfo,
};

use super::foreign;
use super::names;
use super::path::{self, Path};
use super::reads::Mention;
use super::refused::Refused;
use super::slots::{Segment, Slot, Wanted};
use super::{ReadSet, parse};
use crate::codes::Code;

/// How deep loops may stand in each other: each level multiplies the work.
const LOOP_LIMIT: usize = 2;

/// What a walk gives.
#[derive(Debug, Default)]
pub(super) struct Bound {
    pub(super) slots: Vec<Slot>,
    pub(super) reads: ReadSet,
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
            // `output.content-type` ends in the name of a type.
            let dashed = self.dashed(path).flatten();
            self.bound.refused.extend(dashed);
            return node;
        }
        let root = match path.resolve(&mut self.bound.reads, &mut self.bound.mentions) {
            Ok(root) => root,
            Err(refused) => {
                match self.dashed(path) {
                    Some(dashed) => self.bound.refused.extend(dashed),
                    None => self.refuse(refused),
                }
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

    /// Returns the refusal of a name right behind a dash that ends a path; `Some(None)` if it is refused already.
    fn dashed(&self, path: &Path) -> Option<Option<Refused>> {
        let (at, message, help) = foreign::dashed(self.text, &path.root, path.root_start())?;
        let is_said = self.bound.refused.iter().any(|refused| refused.at == at);
        Some((!is_said).then(|| Refused::new(Code::UnknownName, at, message).help(help)))
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
            Tree::Literal(_) | Tree::List(_) => true,
            Tree::Map(_) => charge != "@addend",
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
}

fn call(id: u64, function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr { id, expr: Tree::Call(CallExpr { func_name: function.to_owned(), target: None, args }) }
}

fn meter(id: u64) -> IdedExpr {
    IdedExpr { id, expr: Tree::Ident("@meter".to_owned()) }
}
