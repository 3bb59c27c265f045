//! The workflow language: compiles a text to a [`Plan`], or reports all its problems.
//!
//! The compiler has no I/O, clock or randomness: the same text gives the same plan on any machine. So the digest of the
//! text identifies the plan of a run.
//!
//! ```text
//! text ─ document ─► tree ─ schema ─► draft ─ graph, check, type_check ─► assemble ─► Plan
//!            │                  │                  │
//!            └──────────────────┴──── problems ────┴────────────────────► Diagnostics
//! ```
//!
//! [`compile`] runs these passes, for a text that is submitted. [`load`] runs those that build the plan, for a text that was
//! accepted once. A new version may refuse more texts in a check, and never in another pass: a run continues with every later
//! version. Expressions (`expr`) and templates are compiled on the way, and evaluated later against a
//! [`Scope`]. Callers that know the MCP servers add [`CallFinding`]s, which become diagnostics too.

mod assemble;
mod check;
mod codes;
mod condition_check;
mod diagnostics;
mod document;
mod draft;
mod duration;
mod expr;
mod finding;
mod graph;
mod inputs;
mod json_input;
mod plan;
mod schema;
mod source;
mod suggest;
mod template;
mod type_check;

pub use assemble::DEFAULT_CALL_TIMEOUT;
pub use codes::{codes, explain};
pub use diagnostics::{Diagnostics, Problem};
pub use expr::{EvalError, Expr, ReadSet, Scope, StepField, WorkBudget};
pub use finding::{CallFinding, CallMistake, WrittenCall, written_calls};
pub use inputs::{InputProblem, InputProblems};
pub use json_input::{JsonInputError, RewrittenNumber, parse_json, parse_untyped};
pub use plan::{
    CallStep, Condition, InputSpec, InputType, ItemSpec, Plan, RETRYABLE, Step, StepIndex, StepKind,
};
pub use schema::LABELS_LIMIT;
pub use template::Template;

use codes::Code;
use diagnostics::{Diagnostic, Report};
use draft::WorkflowDraft;
use graph::StepGraph;
use longshore_proto::Digest;
use serde_json::{Map, Value};
use source::{SourceText, Span, TEXT_LIMIT_BYTES};

/// Compiles a workflow in YAML or JSON.
///
/// # Errors
///
/// All problems of the text, with their places.
pub fn compile(text: &str) -> Result<Plan, Diagnostics> {
    compile_and_warn(text).map(|(plan, _)| plan)
}

/// Compiles a workflow as [`compile`] does, and returns the warnings beside the plan: parts that are allowed and probably
/// not intended.
///
/// # Errors
///
/// All problems of the text, warnings included, with their places.
pub fn compile_and_warn(text: &str) -> Result<(Plan, Diagnostics), Diagnostics> {
    build(text, |draft, graph, report| {
        check::check(draft, graph, report);
        condition_check::check(draft, report);
        // Types are not checked in a file with errors: the draft lacks the refused parts.
        if report.is_empty() {
            type_check::check(draft, report);
        }
    })
}

/// Builds the plan of a text that was accepted before, by this version or an earlier one.
///
/// # Errors
///
/// The problems of a text that gives no plan. It was never accepted, or by a newer version.
pub fn load(text: &str) -> Result<Plan, Diagnostics> {
    build(text, |_, _, _| {}).map(|(plan, _)| plan)
}

/// Runs the passes of the compiler, with these checks before the last one.
fn build(
    text: &str,
    check: impl FnOnce(&WorkflowDraft, &StepGraph, &mut Report),
) -> Result<(Plan, Diagnostics), Diagnostics> {
    let mut report = Report::default();
    if text.len() > TEXT_LIMIT_BYTES {
        let message = format!("the text is {} bytes long; the limit is 1 MiB", text.len());
        let help = "pass large data as an input, or let a tool fetch it";
        report.add(Diagnostic::new(Code::TooLarge, Span::default(), message).help(help));
        return Err(report.finish(&SourceText::new("")));
    }
    let source = SourceText::new(text);
    match plan(&source, check, &mut report) {
        Some(plan) if report.is_empty() => Ok((plan, report.finish(&source))),
        _ => {
            if report.is_empty() {
                let message = "the text was refused for no reason";
                report.add(Diagnostic::new(Code::Unexplained, Span::default(), message));
            }
            Err(report.finish(&source))
        }
    }
}

/// Help for a text that is not a map of inputs.
const ONE_INPUT_A_LINE: &str = "write one input a line, as in `name: value`";

/// Parses inputs in YAML: a map by the names of the inputs. The diagnostics beside it are warnings.
///
/// # Errors
///
/// All problems of the text, warnings included, with their positions. A number that would lose digits is a problem, as in
/// every form of inputs.
pub fn parse_inputs(text: &str) -> Result<(Map<String, Value>, Diagnostics), Diagnostics> {
    let (source, mut report) = (SourceText::new(text), Report::default());
    let root = document::read(&source, ONE_INPUT_A_LINE, &mut report);
    if let Some(root) = &root {
        document::refuse_lost_digits(root, &source, &mut report);
    }
    let inputs = root.map(|root| (root.to_json(), root.span));
    match inputs {
        Some((Value::Object(inputs), _)) if report.is_empty() => return Ok((inputs, report.finish(&source))),
        Some((value, span)) if report.is_empty() && !value.is_object() => {
            let problem =
                Diagnostic::new(Code::NotAMap, source.first_line(span), "inputs are a map by their names");
            report.add(problem.help(ONE_INPUT_A_LINE));
        }
        _ => {}
    }
    Err(report.finish(&source))
}

/// Returns `None` if a part of the text was refused, which the report explains.
fn plan(
    source: &SourceText<'_>,
    check: impl FnOnce(&WorkflowDraft, &StepGraph, &mut Report),
    report: &mut Report,
) -> Option<Plan> {
    let root = document::read(source, document::FIRST_LINE, report)?;
    let draft = schema::read(&root, source, report)?;
    let graph = StepGraph::new(&draft, report);
    check(&draft, &graph, report);
    if !report.is_empty() {
        return None;
    }
    assemble::assemble(draft, graph, Digest::of(source.text().as_bytes()))
}
