//! Refuses conditions that are certainly neither true nor false.
//!
//! Such a condition fails its step in each run. Only certain types count: those of inputs that declare one, of the fields of a
//! step, of literals, and of functions with one type of result.

use crate::codes::Code;
use crate::diagnostics::{Diagnostic, Report};
use crate::draft::{StepDraft, WorkflowDraft};
use crate::expr::{ConditionPart, PartType, StepField};
use crate::plan::InputType;

/// Adds the problems of the conditions of a draft, at most one for each.
pub(crate) fn check(draft: &WorkflowDraft, report: &mut Report) {
    for step in &draft.steps {
        if let Some(problem) = problem(draft, step) {
            report.add(problem);
        }
    }
}

fn problem(draft: &WorkflowDraft, step: &StepDraft) -> Option<Diagnostic> {
    let condition = step.condition.as_ref()?;
    condition.value.condition_parts().into_iter().find_map(|part| {
        let (words, help) = not_a_condition(draft, &part)?;
        let message = format!("`{}` is {words}, and a condition is true or false", part.text);
        Some(Diagnostic::new(Code::ConditionType, condition.span, message).help(help))
    })
}

/// Returns the type of a part that is certainly neither true nor false, and what to write instead.
fn not_a_condition(draft: &WorkflowDraft, part: &ConditionPart) -> Option<(&'static str, String)> {
    let text = &part.text;
    let is_not_empty = || format!("write `size({text}) > 0` if it must not be empty");
    Some(match &part.kind {
        PartType::Input(name) => match draft.inputs.iter().find(|spec| spec.name == *name)?.kind? {
            InputType::Boolean => return None,
            InputType::String => ("text", format!("compare it, as in `{text} != ''` or `{text} == 'yes'`")),
            InputType::Number => ("a number", format!("compare it, as in `{text} > 0`")),
            InputType::Integer => ("a whole number", format!("compare it, as in `{text} > 0`")),
            InputType::Array => ("a list", is_not_empty()),
            InputType::Object => ("a map", is_not_empty()),
        },
        PartType::Step(_, Some(StepField::Output)) => return None,
        PartType::Step(_, Some(StepField::Status)) => {
            ("text", format!("compare it, as in `{text} == 'succeeded'`"))
        }
        PartType::Step(_, Some(StepField::Attempts)) => {
            ("a whole number", format!("compare it, as in `{text} > 1`"))
        }
        PartType::Step(_, Some(StepField::Content)) => ("a list", is_not_empty()),
        PartType::Step(id, Some(StepField::Error)) => {
            ("a map", format!("write `steps.{id}.status == 'failed'` if the step must have failed"))
        }
        PartType::Step(id, None) => {
            ("a map", format!("write `steps.{id}.status == 'succeeded'` if the step must have succeeded"))
        }
        PartType::Number => ("a number", format!("compare it, as in `{text} > 0`")),
        PartType::Text => ("text", format!("compare it, as in `{text} != ''`")),
        PartType::Literal => ("no boolean", "write an expression that is true or false".to_owned()),
    })
}
