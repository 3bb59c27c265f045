//! Converts the tree of the parser to the tree that is evaluated.
//!
//! One pass resolves names and transforms the tree:
//!
//! * a path from `inputs`, `steps` or `run` becomes a [`BoundPath`], and a mention to be checked against the file;
//! * unknown names and functions are refused, and so are references to steps other than by id;
//! * loops over maps follow the order of the keys, and at most two loops are nested;
//! * operations that copy, compare or loop are charged to the meter.

mod call;
mod combined;
mod status;

use std::ops::Range;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr as Tree, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue,
    MapEntryExpr, SelectExpr, SourceInfo,
};

use super::bound_path::{BoundPath, PathSegment, PathUse};
use super::foreign;
use super::names;
use super::path::{self, SyntaxPath};
use super::problem::ExprProblem;
use super::reads::Mention;
use super::{ReadSet, parse};
use crate::codes::Code;

/// The largest depth of nested loops. Each level multiplies the work.
const LOOP_LIMIT: usize = 2;

/// The paths and problems that were found while binding an expression.
#[derive(Debug, Default)]
pub(super) struct BindResult {
    pub(super) paths: Vec<BoundPath>,
    pub(super) reads: ReadSet,
    pub(super) mentions: Vec<Mention>,
    pub(super) problems: Vec<ExprProblem>,
}

/// Binds the names of a tree.
pub(super) fn bind(text: &str, tree: IdedExpr, info: &SourceInfo) -> (IdedExpr, BindResult) {
    let mut binder = Binder { text, info, locals: Vec::new(), loops: 0, bound: BindResult::default() };
    let tree = binder.tree(tree);
    (tree, binder.bound)
}

struct Binder<'t> {
    text: &'t str,
    info: &'t SourceInfo,
    /// Variables of the enclosing loops.
    locals: Vec<String>,
    loops: usize,
    bound: BindResult,
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
                    "`{}{{...}}` makes a message, which the language does not have; a map is `{{'key': value}}`",
                    message.type_name
                );
                self.refuse(ExprProblem::new(Code::ExpressionSyntax, self.at(id), text));
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

    fn refuse(&mut self, problem: ExprProblem) {
        self.bound.problems.push(problem);
    }

    /// Binds a path that begins at a name of the scope.
    fn path(&mut self, node: IdedExpr, path: &SyntaxPath) -> IdedExpr {
        if path.is_bare() && names::is_type(&path.root) {
            // `output.content-type` is read as a subtraction of the type `type`.
            let dashed = self.dashed(path).flatten();
            self.bound.problems.extend(dashed);
            return node;
        }
        let root = match path.resolve(&mut self.bound.reads, &mut self.bound.mentions) {
            Ok(root) => root,
            Err(problem) => {
                match self.dashed(path) {
                    Some(dashed) => self.bound.problems.extend(dashed),
                    None => self.refuse(problem),
                }
                return node;
            }
        };
        let segments = path.segments.iter().skip(usize::from(path.root == "steps"));
        let segments_of_path = segments
            .map(|segment| PathSegment { name: segment.name.clone(), optional: segment.optional })
            .collect();
        let usage = if path.presence { PathUse::Presence } else { PathUse::Value };
        let bound = BoundPath { root, segments: segments_of_path, usage };
        let paths = &mut self.bound.paths;
        let number = paths.iter().position(|known| *known == bound).unwrap_or_else(|| {
            paths.push(bound);
            paths.len() - 1
        });
        IdedExpr { id: node.id, expr: Tree::Ident(format!("@{number}")) }
    }

    /// Returns the problem of a name with a dash, which is parsed as a subtraction. `Some(None)` if it was reported already.
    fn dashed(&self, path: &SyntaxPath) -> Option<Option<ExprProblem>> {
        let (at, message, help) = foreign::dashed(self.text, &path.root, path.root_start())?;
        let is_reported = self.bound.problems.iter().any(|problem| problem.at == at);
        Some((!is_reported).then(|| ExprProblem::new(Code::UnknownName, at, message).help(help)))
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

    /// Binds a node whose value is copied or compared.
    fn copied(&mut self, node: IdedExpr) -> IdedExpr {
        self.charged("@copy", node)
    }

    fn charged(&mut self, charge: &str, node: IdedExpr) -> IdedExpr {
        let node = self.tree(node);
        // Literals are bounded by the text, and the content of an accumulator was charged when it was built.
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
            let message = format!("more than {LOOP_LIMIT} loops are nested");
            let problem = ExprProblem::new(Code::TooManyLoops, self.at(id), message);
            self.refuse(problem.help("compute the inner list in a `set` step before"));
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
