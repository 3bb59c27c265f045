//! Paths in a syntax tree, such as `steps.fetch.output.title`, with the positions of their names.

use std::ops::Range;

use cel::common::ast::{CallExpr, Expr as Tree, IdedExpr, LiteralValue, SourceInfo, operators};

use super::bound_path::PathRoot;
use super::foreign;
use super::problem::ExprProblem;
use super::reads::Mention;
use super::{ReadSet, StepField};
use crate::codes::Code;
use crate::source::shorten;
use crate::suggest::{did_you_mean, listed};

/// The names of the scope with which paths begin.
const ROOTS: [&str; 3] = ["inputs", "steps", "run"];

/// Names of the language that are not built yet.
const NOT_BUILT: [&str; 6] = ["vars", "secrets", "item", "index", "round", "batch"];

/// The fields of `run`.
const RUN_FIELDS: [&str; 4] = ["id", "workflow", "attempt", "error"];

/// A name after a dot.
#[derive(Clone, Debug)]
pub(super) struct PathName {
    pub(super) name: String,
    pub(super) optional: bool,
    at: Range<usize>,
}

/// A name with the names after it.
#[derive(Clone, Debug)]
pub(super) struct SyntaxPath {
    pub(super) root: String,
    root_at: Range<usize>,
    pub(super) segments: Vec<PathName>,
    /// True for the argument of `has()`.
    pub(super) presence: bool,
}

/// Returns the byte range of a node. The ends of the parser's ranges are inclusive.
pub(super) fn range(info: &SourceInfo, id: u64) -> Range<usize> {
    let (start, stop) = info.offset_for(id).unwrap_or_default();
    let (start, stop) = (usize::try_from(start).unwrap_or(0), usize::try_from(stop).unwrap_or(0));
    start..stop.max(start) + 1
}

/// Returns the path that a node consists of. `None` for other nodes.
pub(super) fn of(node: &IdedExpr, text: &str, info: &SourceInfo) -> Option<SyntaxPath> {
    let mut names = Vec::new();
    let mut presence = false;
    let mut next = node;
    let (root, root_at) = loop {
        next = match &next.expr {
            Tree::Ident(name) => break (name.clone(), range(info, next.id)),
            Tree::Select(select) => {
                presence |= select.test;
                names.push((select.field.clone(), false));
                &select.operand
            }
            Tree::Call(call) => {
                let (operand, name) = optional_select(call)?;
                names.push((name.to_owned(), true));
                operand
            }
            _ => return None,
        }
    };
    // The parser records the positions of the dots but not of the names, so the names are searched in order.
    let mut from = root_at.end.min(text.len());
    let segments = names.into_iter().rev().map(|(name, optional)| {
        let start = text.get(from..).and_then(|rest| rest.find(&name)).map_or(from, |at| from + at);
        from = (start + name.len()).min(text.len());
        PathName { at: start..from, name, optional }
    });
    let segments = segments.collect();
    Some(SyntaxPath { root, root_at, segments, presence })
}

/// Splits `a.?b` into `a` and `b`.
fn optional_select(call: &CallExpr) -> Option<(&IdedExpr, &str)> {
    match call.args.as_slice() {
        [operand, IdedExpr { expr: Tree::Literal(LiteralValue::String(name)), .. }]
            if call.func_name == operators::OPT_SELECT && call.target.is_none() =>
        {
            Some((operand, name.inner()))
        }
        _ => None,
    }
}

/// Makes all selections of a path optional. Returns `None` if the node is not a path with at least one selection.
pub(super) fn optional(node: IdedExpr) -> Option<IdedExpr> {
    let IdedExpr { id, expr } = node;
    let (operator, operand, key) = match expr {
        Tree::Select(select) if !select.test => {
            let key = Tree::Literal(LiteralValue::String(select.field.into()));
            (operators::OPT_SELECT, *select.operand, IdedExpr { id, expr: key })
        }
        Tree::Call(call) if call.target.is_none() && call.args.len() == 2 => {
            let operator = match call.func_name.as_str() {
                operators::OPT_SELECT => operators::OPT_SELECT,
                operators::INDEX | operators::OPT_INDEX => operators::OPT_INDEX,
                _ => return None,
            };
            let mut args = call.args.into_iter();
            (operator, args.next()?, args.next()?)
        }
        _ => return None,
    };
    let operand = match &operand.expr {
        Tree::Select(select) if !select.test => optional(operand)?,
        Tree::Call(call) if call.target.is_none() && call.func_name.starts_with("_[") => optional(operand)?,
        Tree::Call(call) if call.func_name == operators::OPT_SELECT => optional(operand)?,
        _ => operand,
    };
    Some(IdedExpr {
        id,
        expr: Tree::Call(CallExpr { func_name: operator.to_owned(), target: None, args: vec![operand, key] }),
    })
}

/// Returns the problem of `steps[...]` and of `steps` without an id.
pub(super) fn dynamic_step(at: Range<usize>) -> ExprProblem {
    ExprProblem::new(Code::DynamicStep, at, "which step this reads is not known before the run")
        .help("write `steps.<id>` with the id of one step")
}

/// Returns the problem of `steps['fetch']`.
pub(super) fn quoted_step(at: Range<usize>, id: &str) -> ExprProblem {
    let id: String = shorten(id);
    ExprProblem::new(Code::DynamicStep, at, "a step is always written by its id")
        .help(format!("write `steps.{}`", id.replace('-', "_")))
}

impl SyntaxPath {
    /// Returns true for a single name.
    pub(super) fn is_bare(&self) -> bool {
        self.segments.is_empty()
    }

    /// Returns true if the path contains `.?`.
    pub(super) fn is_optional(&self) -> bool {
        self.segments.iter().any(|part| part.optional)
    }

    /// Returns the byte range of the path.
    pub(super) fn range(&self) -> Range<usize> {
        self.root_at.start..self.segments.last().map_or(self.root_at.end, |part| part.at.end)
    }

    /// Returns the byte offset of the path.
    pub(super) fn root_start(&self) -> usize {
        self.root_at.start
    }

    /// Resolves the root of the path, and records what the path reads and mentions.
    pub(super) fn resolve(
        &self,
        reads: &mut ReadSet,
        mentions: &mut Vec<Mention>,
    ) -> Result<PathRoot, ExprProblem> {
        let first = self.segments.first();
        match self.root.as_str() {
            "inputs" => {
                reads.inputs = true;
                mentions.extend(
                    first.map(|part| Mention::Input { name: part.name.clone(), at: part.at.clone() }),
                );
                Ok(PathRoot::Inputs)
            }
            "run" => {
                reads.run = true;
                first.map_or(Ok(()), check_run_field)?;
                Ok(PathRoot::Run)
            }
            "steps" => self.step(first, reads, mentions),
            other => Err(unknown(other, self.root_at.clone())),
        }
    }

    fn step(
        &self,
        id: Option<&PathName>,
        reads: &mut ReadSet,
        mentions: &mut Vec<Mention>,
    ) -> Result<PathRoot, ExprProblem> {
        let id = id.ok_or_else(|| dynamic_step(self.root_at.clone()))?;
        let named = self.segments.get(1);
        let field = named.and_then(|part| StepField::from_name(&part.name));
        let read = reads.steps.entry(id.name.clone()).or_default();
        match field {
            Some(field) => drop(read.insert(field)),
            None => read.extend(StepField::ALL),
        }
        let named = named.map(|part| (part.name.clone(), part.at.clone()));
        mentions.push(Mention::Step { id: id.name.clone(), at: id.at.clone(), field: named });
        Ok(match field {
            Some(field) => PathRoot::Field(id.name.clone(), field),
            None => PathRoot::Step(id.name.clone()),
        })
    }
}

fn check_run_field(part: &PathName) -> Result<(), ExprProblem> {
    if part.name == "url" {
        return Err(ExprProblem::new(
            Code::NameNotBuilt,
            part.at.clone(),
            "`run.url` is part of the language and not built yet",
        )
        .help("`run.id` names the run"));
    }
    if RUN_FIELDS.contains(&part.name.as_str()) {
        return Ok(());
    }
    let problem =
        ExprProblem::new(Code::UnknownRunField, part.at.clone(), format!("the run has no `{}`", part.name));
    Err(problem.help(
        did_you_mean(&part.name, RUN_FIELDS).unwrap_or_else(|| format!("it has {}", listed(RUN_FIELDS))),
    ))
}

fn unknown(name: &str, at: Range<usize>) -> ExprProblem {
    if NOT_BUILT.contains(&name) {
        let message = format!("`{name}` is part of the language and not built yet");
        let problem = ExprProblem::new(Code::NameNotBuilt, at, message);
        return match name {
            "secrets" => {
                problem.help("declare an input with `secret: true`, and read that in `with` of a call")
            }
            "vars" => problem.help("values that a `set` step computed are read as `steps.<id>.output`"),
            _ => problem,
        };
    }
    let problem = ExprProblem::new(Code::UnknownName, at, format!("there is nothing called `{name}`"));
    let help = foreign::name(name)
        .or_else(|| did_you_mean(name, ROOTS))
        .unwrap_or_else(|| format!("expressions see {}; text needs quotes: `'{name}'`", listed(ROOTS)));
    problem.help(help)
}
