//! The parts of a condition that decide its result, with their types as far as the expression shows them.

use cel::common::ast::{Expr as Tree, IdedExpr, LiteralValue, operators};

use super::bound_path::{BoundPath, PathRoot};
use super::{Expr, StepField};

/// A part of a condition that must be true or false.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ConditionPart {
    /// Text of the part, or of the whole condition.
    pub(crate) text: String,
    pub(crate) kind: PartType,
}

/// The type of a part, if the expression shows that it is not a boolean.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum PartType {
    /// `inputs.<name>`, whose type is declared.
    Input(String),
    /// `steps.<id>`, or a field of it.
    Step(String, Option<StepField>),
    Number,
    Text,
    /// A literal, a list or a map.
    Literal,
}

impl Expr {
    /// Returns the parts that must be true or false: the expression, the operands of `&&`, `||` and `!`, and the branches and
    /// the condition of `? :`. Parts of an unknown type are left out.
    pub(crate) fn condition_parts(&self) -> Vec<ConditionPart> {
        let mut parts = Vec::new();
        self.collect_parts(&self.tree, &mut parts);
        parts
    }

    fn collect_parts(&self, node: &IdedExpr, parts: &mut Vec<ConditionPart>) {
        let mut add = |text: String, kind| parts.push(ConditionPart { text, kind });
        let whole = || self.source.clone();
        match &node.expr {
            Tree::Ident(name) => {
                let index: Option<usize> = name.strip_prefix('@').and_then(|index| index.parse().ok());
                if let Some(path) = index.and_then(|index| self.paths.get(index))
                    && let Some(kind) = part_type(path)
                {
                    add(path.text(path.segments.len()), kind);
                }
            }
            Tree::Literal(literal) if !matches!(literal, LiteralValue::Boolean(_)) => {
                add(whole(), PartType::Literal);
            }
            Tree::List(_) | Tree::Map(_) => add(whole(), PartType::Literal),
            Tree::Call(call) => match call.func_name.as_str() {
                operators::LOGICAL_AND
                | operators::LOGICAL_OR
                | operators::LOGICAL_NOT
                | operators::CONDITIONAL => call.args.iter().for_each(|arg| self.collect_parts(arg, parts)),
                // Only the whole expression has a known text.
                name if node.id == self.tree.id => match name {
                    "size" | "int" | "uint" | "double" => add(whole(), PartType::Number),
                    "string" | "@join" | "@format" | "@toJSON" => add(whole(), PartType::Text),
                    _ => {}
                },
                _ => {}
            },
            _ => {}
        }
    }
}

/// Returns the type of a path whose value is not part of an output.
fn part_type(path: &BoundPath) -> Option<PartType> {
    if !path.is_plain() {
        return None;
    }
    match (&path.root, path.segments.as_slice()) {
        (PathRoot::Inputs, [name]) => Some(PartType::Input(name.name.clone())),
        (PathRoot::Step(id), []) => Some(PartType::Step(id.clone(), None)),
        (PathRoot::Field(id, field), [_]) => Some(PartType::Step(id.clone(), Some(*field))),
        _ => None,
    }
}
