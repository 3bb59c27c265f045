//! The schema of the language: builds a draft from the tree, and checks keys and the types of their values.
//!
//! The pass continues after a problem, so that it finds all of them. It does not check references.

mod expressions;
mod fields;
mod file;
mod foreign;
mod inputs;
mod literal;
mod retry;
mod step;
mod step_keys;
mod unbuilt;

pub use file::LABELS_LIMIT;
pub(crate) use step::STEPS_LIMIT;

use crate::diagnostics::Report;
use crate::document::DocumentNode;
use crate::draft::{Reference, WorkflowDraft};
use crate::source::SourceText;

/// Builds a draft. Returns `None` if the text is not a workflow.
pub(crate) fn read(
    root: &DocumentNode,
    source: &SourceText<'_>,
    report: &mut Report,
) -> Option<WorkflowDraft> {
    let mut builder = DraftBuilder {
        source,
        report,
        draft: WorkflowDraft::default(),
        references: Vec::new(),
        is_full: false,
        is_in_arguments: false,
        expressions: (0, 0),
    };
    builder.file(root)?;
    Some(builder.draft)
}

/// The state of this pass.
struct DraftBuilder<'s, 't> {
    source: &'s SourceText<'t>,
    report: &'s mut Report,
    draft: WorkflowDraft,
    /// References in the expressions of the current step, or of the outputs.
    references: Vec<Reference>,
    /// True once the draft has the largest number of steps.
    is_full: bool,
    /// True within the arguments of a call.
    is_in_arguments: bool,
    /// Number of expressions so far, and of their bytes.
    expressions: (usize, usize),
}
