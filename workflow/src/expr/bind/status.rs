//! Checks the words with which the status of a step is compared.

use cel::common::ast::{Expr as Tree, IdedExpr, LiteralValue};

use super::Binder;
use crate::codes::Code;
use crate::expr::path;
use crate::expr::problem::ExprProblem;
use crate::source::shorten;
use crate::suggest::did_you_mean;

/// The statuses of a step that has ended.
const ENDED: [&str; 5] = ["succeeded", "failed", "indeterminate", "skipped", "cancelled"];

const WORDS: &str =
    "a step that has ended is `succeeded`, `failed`, `indeterminate`, `skipped` or `cancelled`";

/// Other statuses of a step in the language.
const OTHERS: [&str; 4] = ["pending", "waiting", "running", "compensated"];

/// Statuses of other languages, and their equivalents.
const FOREIGN: [(&[&str], &str); 4] = [
    (&["success", "ok", "done", "complete", "completed", "passed", "finished"], "succeeded"),
    (&["failure", "error", "errored", "fail", "timeout", "timed_out"], "failed"),
    (&["canceled", "aborted", "terminated"], "cancelled"),
    (&["skip", "omitted"], "skipped"),
];

impl Binder<'_> {
    /// Refuses a comparison of the status of a step with a word that is not a status.
    pub(super) fn compared_status(&mut self, args: &[IdedExpr]) {
        let [left, right] = args else { return };
        let (step, other) = match (self.status_of(left), self.status_of(right)) {
            (Some(step), None) => (step, right),
            (None, Some(step)) => (step, left),
            _ => return,
        };
        match &other.expr {
            Tree::List(list) => list.elements.iter().for_each(|element| self.status_word(&step, element)),
            _ => self.status_word(&step, other),
        }
    }

    /// Returns the id of the step if a node is the status of a step.
    fn status_of(&self, node: &IdedExpr) -> Option<String> {
        let path = path::of(node, self.text, self.info)?;
        let names: Vec<&str> = path.segments.iter().map(|segment| segment.name.as_str()).collect();
        match names.as_slice() {
            [id, "status"] if path.root == "steps" && !self.is_local("steps") => Some((*id).to_owned()),
            _ => None,
        }
    }

    fn status_word(&mut self, step: &str, node: &IdedExpr) {
        let Tree::Literal(LiteralValue::String(word)) = &node.expr else { return };
        let word = word.inner();
        if ENDED.contains(&word) || OTHERS.contains(&word) {
            return;
        }
        let lower = word.to_lowercase();
        let meant =
            FOREIGN.iter().find(|(words, _)| words.contains(&lower.as_str())).map(|(_, meant)| *meant);
        let help = meant
            .map(|meant| format!("write `'{meant}'`; "))
            .or_else(|| did_you_mean(&lower, ENDED).map(|question| format!("{question} ")))
            .unwrap_or_default();
        let help = format!("{help}{WORDS}");
        let word: String = shorten(word);
        let message = format!("the status of step `{step}` is never `{word}`");
        self.refuse(ExprProblem::new(Code::UnknownStatus, self.at(node.id), message).help(help));
    }
}
