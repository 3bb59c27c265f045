//! The language: text in, and out come either all its problems or a [`Plan`].
//!
//! No I/O, no clock, no randomness: the same text gives the same plan on any machine, which is what lets a run be
//! pinned to the hash of its workflow's text.
//!
//! ```text
//! text ─ document ─► tree ─ shape ─► draft ─ graph, check, declared ─► assemble ─► Plan
//!            │                 │                  │
//!            └─────────────────┴──── problems ────┴─────────────────► Diagnostics
//! ```
//!
//! [`compile`] goes this way; expressions (`expr`) and templates are compiled on it and evaluated later, against
//! whatever implements [`Scope`]. What shows only beside the servers comes in as [`CallFinding`]s and goes out as diagnostics.

mod assemble;
mod check;
mod codes;
mod declared;
mod diagnostics;
mod digits;
mod document;
mod draft;
mod duration;
mod expr;
mod finding;
mod given;
mod graph;
mod inputs;
mod plan;
mod shape;
mod source;
mod suggest;
mod template;

pub use assemble::DEFAULT_CALL_TIMEOUT;
pub use codes::{codes, explain};
pub use diagnostics::{Diagnostics, Problem};
pub use digits::find_lossy_integer;
pub use expr::{EvalError, Expr, ReadSet, Scope, StepField, WorkBudget};
pub use finding::{CallFinding, CallMistake, WrittenCall, written_calls};
pub use given::{JsonInputError, RewrittenNumber, parse_json, parse_untyped};
pub use inputs::{InputProblem, InputProblems};
pub use plan::{
    CallStep, Condition, InputSpec, InputType, ItemSpec, Plan, RETRYABLE, Step, StepIndex, StepKind,
};
pub use template::Template;

use codes::Code;
use diagnostics::{Diagnostic, Report};
use longshore_proto::Digest;
use serde_json::{Map, Value};
use source::{Source, Span, TEXT_LIMIT_BYTES};

/// Checks and compiles a workflow, written in YAML or JSON.
///
/// # Errors
///
/// All problems of the text, with their places.
pub fn compile(text: &str) -> Result<Plan, Diagnostics> {
    compile_and_warn(text).map(|(plan, _)| plan)
}

/// Checks and compiles a workflow as [`compile`] does. The diagnostics beside the plan are warnings: what is allowed and
/// probably not meant. There may be none.
///
/// # Errors
///
/// All problems of the text, warnings included, with their places.
pub fn compile_and_warn(text: &str) -> Result<(Plan, Diagnostics), Diagnostics> {
    let mut report = Report::default();
    if text.len() > TEXT_LIMIT_BYTES {
        let message = format!("the text is {} bytes long; the limit is 1 MiB", text.len());
        let help = "pass large data as an input, or let a tool fetch it";
        report.add(Diagnostic::new(Code::TooLarge, Span::default(), message).help(help));
        return Err(report.finish(&Source::new("")));
    }
    let source = Source::new(text);
    let plan = checked(&source, &mut report);
    match plan {
        Some(plan) if report.is_empty() => Ok((plan, report.finish(&source))),
        _ => {
            if report.is_empty() {
                report.add(Diagnostic::new(
                    Code::Unexplained,
                    Span::default(),
                    "the text was refused for no reason",
                ));
            }
            Err(report.finish(&source))
        }
    }
}

/// Help for a text that is no map of inputs.
const ONE_INPUT_A_LINE: &str = "write one input a line, as in `name: value`";

/// ReadSet inputs that are written in YAML: a map by the names of inputs. The diagnostics beside it are warnings.
///
/// # Errors
///
/// All problems of the text, warnings included, with their places. A whole number of more than 64 bits is one: as an input it
/// is refused in every form.
pub fn parse_inputs(text: &str) -> Result<(Map<String, Value>, Diagnostics), Diagnostics> {
    let (source, mut report) = (Source::new(text), Report::default());
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

/// The plan, if nothing was refused; what was is in the report.
fn checked(source: &Source<'_>, report: &mut Report) -> Option<Plan> {
    let root = document::read(source, document::FIRST_LINE, report)?;
    let draft = shape::shape(&root, source, report)?;
    let graph = graph::Graph::new(&draft, report);
    check::check(&draft, &graph, report);
    if !report.is_empty() {
        return None;
    }
    // Of a file with errors, too little is certain.
    declared::check(&draft, report);
    assemble::assemble(draft, graph, Digest::of(source.text().as_bytes()))
}
