//! Why an expression has no value, in words that name the part and the value that broke it.

use cel::common::ast::{CallExpr, Expr as Tree, IdedExpr, LiteralValue, operators};
use cel::common::value::Val;
use cel::{Context, ExecutionError};
use serde_json::Value;

use super::StepField;
use super::convert::to_json;
use super::meter;
use super::slots::{Live, Root, Walked};
use crate::suggest::{did_you_mean, listed};

/// How much of a value is shown: enough to recognise it.
const EXCERPT_CHARS: usize = 80;

/// How much of an expression is shown.
const SOURCE_CHARS: usize = 200;

/// An expression that has no value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{expression}`: {message}")]
pub struct EvalError {
    /// The expression, without braces; cut if it is long.
    pub expression: String,
    /// What is wrong and, where that is known, how to mend it.
    pub message: String,
    /// An excerpt of the value that broke it.
    pub value: Option<String>,
}

impl EvalError {
    pub(super) fn new(source: &str, message: impl ToString) -> Self {
        Self { expression: cut(source, SOURCE_CHARS), message: message.to_string(), value: None }
    }

    pub(super) fn too_much(source: &str) -> Self {
        Self::new(source, meter::SPENT)
    }

    pub(super) fn not_a_condition(source: &str, value: &Value) -> Self {
        let excerpt = cut(&value.to_string(), EXCERPT_CHARS);
        let message = format!(
            "a condition is true or false, and this gives {} ({excerpt}); compare it with something",
            kind(value)
        );
        Self { value: Some(excerpt), ..Self::new(source, message) }
    }
}

/// A text cut to so many characters.
fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// An evaluation that failed, and what is needed to find out where.
pub(super) struct Failure<'f, 'p, 'v, 'l> {
    pub(super) tree: &'f IdedExpr,
    pub(super) context: &'f Context<'p, 'v>,
    pub(super) live: &'f Live<'l>,
    pub(super) cause: ExecutionError,
}

/// What is said about a failure.
struct Said {
    message: String,
    value: Option<String>,
}

impl Said {
    fn plain(message: impl Into<String>) -> Self {
        Self { message: message.into(), value: None }
    }
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
        to_json(cel::Value::resolve_val(node, self.context).ok()?.as_ref()).ok()
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
            (Root::Inputs, Some(_)) if at == 0 => {
                Said::plain(format!("the input `{segment}` was not given; {instead}, or give it a default"))
            }
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
        let symbol = symbol(&call.func_name)?;
        let [left, right] = call.args.as_slice() else { return None };
        let left_value = cel::Value::resolve_val(left, self.context).ok()?;
        let right_value = cel::Value::resolve_val(right, self.context).ok()?;
        match &self.cause {
            ExecutionError::UnsupportedBinaryOperator(..) | ExecutionError::NoSuchOverload(_) => {}
            _ => return None,
        }
        let (left_type, right_type) = (left_value.get_type().name(), right_value.get_type().name());
        let mut message = format!("no such overload: {left_type} {symbol} {right_type}");
        let mut value = None;
        let mut names = [None, None];
        for ((node, operand), name) in
            [(left, left_value.as_ref()), (right, right_value.as_ref())].into_iter().zip(&mut names)
        {
            *name = self.name(node);
            if let Some(name) = name {
                let excerpt = excerpt(operand);
                message.push_str(&format!(" ({name} is {excerpt})"));
                value.get_or_insert(excerpt);
            }
        }
        if let Some(help) = mend([left_type, right_type], names) {
            message.push_str(&format!("; {help}"));
        }
        Some(Said { message, value })
    }

    /// How people wrote a node, where it is a path or a literal.
    fn name(&self, node: &IdedExpr) -> Option<String> {
        match &node.expr {
            Tree::Call(call) if call.func_name == "@copy" => self.name(call.args.get(1)?),
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

/// What can be done about two types that do not go together.
fn mend(types: [&str; 2], names: [Option<String>; 2]) -> Option<String> {
    let name = |index: usize| names.get(index).cloned().flatten().unwrap_or_else(|| "n".to_owned());
    Some(match types {
        ["int" | "uint", "double"] => format!("write `double({})`", name(0)),
        ["double", "int" | "uint"] => format!("write `double({})`, or a literal such as `2.0`", name(1)),
        ["uint", "int"] => format!("write `int({})`", name(0)),
        ["int", "uint"] => format!("write `int({})`", name(1)),
        ["string", "int" | "uint" | "double" | "bool"] => format!("write `string({})`", name(1)),
        ["int" | "uint" | "double" | "bool", "string"] => {
            format!("write `string({})`, or `double(...)` of the text", name(0))
        }
        ["string", "list" | "map"] => format!("write `toJSON({})`", name(1)),
        ["null_type", _] | [_, "null_type"] => {
            "check for `null` before, as in `x == null ? 0 : x`".to_owned()
        }
        _ => return None,
    })
}

/// The operator as it is written.
fn symbol(function: &str) -> Option<&str> {
    let inner = function.strip_prefix('_')?.strip_suffix('_')?;
    (!inner.is_empty() && inner.len() <= 2).then_some(inner)
}

fn no_field(name: &str, value: &Value, field: &str, instead: &str) -> Said {
    let excerpt = cut(&value.to_string(), EXCERPT_CHARS);
    let message = match value {
        Value::Object(entries) => {
            let keys = entries.keys().map(String::as_str);
            let hint = did_you_mean(field, keys.clone())
                .unwrap_or_else(|| format!("it has {}", listed(keys.take(10))));
            format!("`{name}` has no `{field}`; {hint}; {instead}")
        }
        Value::Array(_) => {
            format!("`{name}` is a list and has no `{field}`; take one item: `{name}[0].{field}`")
        }
        other => format!("`{name}` is {} ({excerpt}) and has no `{field}`; {instead}", kind(other)),
    };
    Said { message, value: Some(excerpt) }
}

/// A value as people can read it.
fn excerpt(value: &dyn Val) -> String {
    let json =
        to_json(value).map_or_else(|_| format!("a {}", value.get_type().name()), |json| json.to_string());
    cut(&json, EXCERPT_CHARS)
}

fn excerpt_of(value: &cel::Value) -> Option<String> {
    let value: Box<dyn Val> = value.clone().try_into().ok()?;
    Some(excerpt(value.as_ref()))
}

/// The evaluator's own words, made plainer.
fn in_words(cause: &ExecutionError) -> Said {
    let of = |value: &cel::Value| excerpt_of(value).unwrap_or_else(|| "a value".to_owned());
    match cause {
        ExecutionError::NoSuchKey(key) => {
            Said::plain(format!("there is no `{key}`; write `default(..., value)` if it may be missing"))
        }
        ExecutionError::IndexOutOfBounds(index) => Said::plain(format!("the list has no item {}", of(index))),
        ExecutionError::DivisionByZero(value) => Said::plain(format!("{} is divided by zero", of(value))),
        ExecutionError::RemainderByZero(value) => {
            Said::plain(format!("the remainder of {} by zero", of(value)))
        }
        ExecutionError::Overflow(_, left, right) => {
            Said::plain(format!("the result with {} and {} does not fit 64 bits", of(left), of(right)))
        }
        ExecutionError::FunctionError { function, message } => {
            Said::plain(format!("`{}()`: {message}", function.trim_start_matches('@')))
        }
        ExecutionError::UnexpectedType { got, want } => {
            Said::plain(format!("{want} is wanted here, and this is {got}"))
        }
        ExecutionError::UnsupportedBinaryOperator(_, left, right) => Said {
            message: format!("these do not go together: {} and {}", of(left), of(right)),
            value: excerpt_of(left),
        },
        ExecutionError::NoSuchOverload(overload) => {
            let types = overload.argument_types().join(", ");
            let function = symbol(overload.function()).unwrap_or(overload.function()).trim_start_matches('@');
            Said::plain(format!("no such overload: `{function}` of ({types})"))
        }
        ExecutionError::DuplicateKey(key) => {
            Said::plain(format!("the key {} stands twice in a map", of(key)))
        }
        ExecutionError::UnsupportedKeyType(key) => {
            Said { message: format!("{} cannot be the key of a map", of(key)), value: excerpt_of(key) }
        }
        other => Said::plain(other.to_string()),
    }
}
