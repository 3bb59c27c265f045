//! The tree of the text to a draft: which keys there are, and what their values must be.
//!
//! Every problem is reported and the reading goes on, so that one pass finds all of them. What refers to what is not
//! looked at here.

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

pub(crate) use step::STEPS_LIMIT;

use crate::diagnostics::Report;
use crate::document::Node;
use crate::draft::{Draft, Reference};
use crate::source::Source;

/// Reads a draft. `None` if the text is no workflow at all.
pub(crate) fn shape(root: &Node, source: &Source<'_>, report: &mut Report) -> Option<Draft> {
    let mut shaper = Shaper {
        source,
        report,
        draft: Draft::default(),
        references: Vec::new(),
        full: false,
        in_arguments: false,
        expressions: (0, 0),
    };
    shaper.file(root)?;
    Some(shaper.draft)
}

/// What the reading of a file carries along.
struct Shaper<'s, 't> {
    source: &'s Source<'t>,
    report: &'s mut Report,
    draft: Draft,
    /// What the expressions of the current step, or of the outputs, mention.
    references: Vec<Reference>,
    /// Whether there are as many steps as there may be.
    full: bool,
    /// Whether what is read are the arguments of a call.
    in_arguments: bool,
    /// How many expressions there are so far, and how many bytes of them.
    expressions: (usize, usize),
}
