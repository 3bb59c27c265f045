//! Warnings that follow from the declared types of inputs: operations that always fail, and uses of absent inputs.
//!
//! Only certain problems are reported: an input of type `number` may be a whole number or not, and a step with an `if` need
//! not run.

use std::collections::BTreeSet;

use crate::codes::Code;
use crate::diagnostics::{Diagnostic, Report};
use crate::draft::{Reference, ReferenceTarget, StepDraft, WorkflowDraft};
use crate::expr::{InputUse, LiteralKind, OperandKind, TypedOperand};
use crate::plan::{InputSpec, InputType};
use crate::source::Span;

/// Adds the warnings about a draft.
pub(crate) fn check(draft: &WorkflowDraft, report: &mut Report) {
    let of_steps = draft.steps.iter().flat_map(|step| &step.references);
    let tested: BTreeSet<Option<&str>> = of_steps
        .chain(&draft.references)
        .filter_map(|reference| match &reference.to {
            ReferenceTarget::Use(InputUse::PresenceTest(name)) => Some(name.as_deref()),
            _ => None,
        })
        .collect();
    let mut check = TypeCheck { draft, tested, report };
    for step in &draft.steps {
        let runs_always = check.runs_always(step);
        step.references.iter().for_each(|reference| check.reference(reference, runs_always));
    }
    draft.references.iter().for_each(|reference| check.reference(reference, true));
}

struct TypeCheck<'c> {
    draft: &'c WorkflowDraft,
    /// Inputs whose presence an expression tests. Contains `None` if an expression may test any input.
    tested: BTreeSet<Option<&'c str>>,
    report: &'c mut Report,
}

impl TypeCheck<'_> {
    /// Returns true if neither the step nor a group around it has a condition.
    fn runs_always(&self, step: &StepDraft) -> bool {
        let mut around = Some(step);
        while let Some(step) = around {
            if step.condition.is_some() {
                return false;
            }
            around = step.parent.and_then(|number| self.draft.steps.get(number));
        }
        true
    }

    fn reference(&mut self, reference: &Reference, runs_always: bool) {
        match &reference.to {
            ReferenceTarget::Use(InputUse::Required(name)) if runs_always => {
                self.required_input(name, reference.span);
            }
            ReferenceTarget::Use(InputUse::Operation { sign, left, right }) => {
                self.operation(sign, left, right, reference.span);
            }
            _ => {}
        }
    }

    /// Warns of an expression that fails if an input is absent.
    fn required_input(&mut self, name: &str, span: Span) {
        let may_be_absent = |spec: &InputSpec| !spec.required && spec.default.is_none();
        let is_tested = self.tested.contains(&None) || self.tested.contains(&Some(name));
        if is_tested || !self.spec(name).is_some_and(may_be_absent) {
            return;
        }
        let message = format!("without the input `{name}`, which may be left out, this fails");
        let help = format!(
            "`inputs.?{name}` by itself leaves its key out, and `default(inputs.{name}, ...)` puts something in its place; or \
             declare the input `required: true`"
        );
        let problem = Diagnostic::new(Code::AbsentInput, span, message).help(help);
        self.report.add(problem.of_absent_input(name));
    }

    /// Warns of an operator that does not accept the types of its operands.
    fn operation(&mut self, sign: &str, left: &TypedOperand, right: &TypedOperand, span: Span) {
        let (Some(of_left), Some(of_right)) = (self.kind(left), self.kind(right)) else { return };
        if may_be_compatible(sign, of_left, of_right) {
            return;
        }
        let (left_text, left_words) = (&left.text, of_left.as_str());
        let (right_text, right_words) = (&right.text, of_right.as_str());
        let diagnostic = match sign {
            "==" | "!=" => {
                let always = if sign == "==" { "false" } else { "true" };
                let message = format!(
                    "`{left_text}` is {left_words} and `{right_text}` is {right_words}, so this is always {always}"
                );
                let help = equality_help(sign, (left, of_left), (right, of_right));
                Diagnostic::new(Code::ConstantComparison, span, message).maybe_help(help)
            }
            _ => {
                let message = format!(
                    "`{sign}` does not take `{left_text}`, {left_words}, together with `{right_text}`, {right_words}"
                );
                let help = arithmetic_help(sign, (left, of_left), (right, of_right));
                Diagnostic::new(Code::OperandTypes, span, message).maybe_help(help)
            }
        };
        self.report.add(diagnostic);
    }

    fn spec(&self, name: &str) -> Option<&InputSpec> {
        self.draft.inputs.iter().find(|spec| spec.name == name)
    }

    fn kind(&self, operand: &TypedOperand) -> Option<OperandType> {
        Some(match &operand.kind {
            OperandKind::Input(name) => match self.spec(name)?.kind? {
                InputType::String => OperandType::Text,
                InputType::Number => OperandType::Number,
                InputType::Integer => OperandType::Integer,
                InputType::Boolean => OperandType::Boolean,
                InputType::Array => OperandType::List,
                InputType::Object => OperandType::Map,
            },
            OperandKind::Literal(literal) => match literal {
                LiteralKind::Null => OperandType::Null,
                LiteralKind::Boolean => OperandType::Boolean,
                LiteralKind::Integer => OperandType::Integer,
                LiteralKind::Double => OperandType::Double,
                LiteralKind::Text => OperandType::Text,
            },
        })
    }
}

/// The type of an operand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum OperandType {
    Null,
    Boolean,
    Integer,
    Double,
    /// An integer or a double.
    Number,
    Text,
    List,
    Map,
}

impl OperandType {
    const fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Double | Self::Number)
    }

    /// Returns true if an arithmetic operator accepts two values of this type.
    fn has_operator(self, sign: &str) -> bool {
        match self {
            Self::Integer => true,
            Self::Double | Self::Number => sign != "%",
            Self::Text | Self::List => sign == "+",
            Self::Null | Self::Boolean | Self::Map => false,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "no value",
            Self::Boolean => "a boolean",
            Self::Integer => "a whole number",
            Self::Double => "a number with a point",
            Self::Number => "a number",
            Self::Text => "text",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }
}

/// Returns false if an operator never accepts values of these types, and if a comparison of them has a constant result.
fn may_be_compatible(sign: &str, left: OperandType, right: OperandType) -> bool {
    let are_numbers = left.is_number() && right.is_number();
    if !matches!(sign, "+" | "-" | "*" | "/" | "%") {
        return left == right || are_numbers;
    }
    // A `number` may be of either type.
    (left == right && left.has_operator(sign))
        || (are_numbers && (left == OperandType::Number || right == OperandType::Number))
}

/// An operand with its type.
type TypedSide<'s> = (&'s TypedOperand, OperandType);

/// Returns the operation with one side converted, in the spelling of the file.
fn arithmetic_help(sign: &str, left: TypedSide<'_>, right: TypedSide<'_>) -> Option<String> {
    let convert = |function: &str, wanted: fn(OperandType) -> bool| {
        let side = |(operand, kind): TypedSide<'_>| {
            if wanted(kind) { format!("{function}({})", operand.text) } else { operand.text.clone() }
        };
        Some(format!("write `{} {sign} {}`", side(left), side(right)))
    };
    let kinds = [left.1, right.1];
    if kinds.iter().all(|kind| kind.is_number()) {
        return if sign == "%" {
            convert("int", |kind| kind != OperandType::Integer)
        } else {
            convert("double", |kind| kind == OperandType::Integer)
        };
    }
    let is_text_with_scalar = kinds.contains(&OperandType::Text)
        && kinds
            .iter()
            .all(|kind| kind.is_number() || matches!(kind, OperandType::Text | OperandType::Boolean));
    if sign == "+" && is_text_with_scalar {
        return convert("string", |kind| kind != OperandType::Text);
    }
    None
}

/// Returns the comparison that was probably intended.
fn equality_help(sign: &str, left: TypedSide<'_>, right: TypedSide<'_>) -> Option<String> {
    let (input, (literal, of_literal)) = match (&left.0.kind, &right.0.kind) {
        (OperandKind::Input(_), OperandKind::Literal(_)) => (left, right),
        (OperandKind::Literal(_), OperandKind::Input(_)) => (right, left),
        _ => return None,
    };
    let (path, text) = (&input.0.text, &literal.text);
    if of_literal == OperandType::Null {
        let not = if sign == "==" { "!" } else { "" };
        return Some(format!(
            "an input that is not given is absent, and never null: write `{not}has({path})`"
        ));
    }
    let bare = text.trim_matches(['\'', '"']);
    let fits = match input.1 {
        OperandType::Text => of_literal.is_number() || of_literal == OperandType::Boolean,
        OperandType::Integer => bare.parse::<i64>().is_ok(),
        OperandType::Number => bare.parse::<f64>().is_ok_and(f64::is_finite),
        OperandType::Boolean => matches!(bare, "true" | "false"),
        _ => false,
    };
    let meant = if input.1 == OperandType::Text { format!("'{text}'") } else { bare.to_owned() };
    fits.then(|| format!("write `{path} {sign} {meant}`"))
}
