//! Truncation of answers that do not fit into one message of a broker.
//!
//! Only answers that are too long are changed: values are replaced by their addresses, as for values that are stored as
//! blobs, and errors and reasons in lists are cut. An answer that does not fit even then is refused by the transport.

use std::borrow::Cow;

use longshore_ports::{DeadLetter, RunPage};
use longshore_proto::{Digest, RunView, StepView, truncate};
use serde::Serialize;
use serde_json::{Value, json};

use crate::value_count::REQUEST_LIMIT_BYTES;

/// Longest document that is left whole: a message, less its headers.
const WHOLE_BYTES: usize = REQUEST_LIMIT_BYTES / 8 * 7;

/// Longest value that is never replaced, as JSON text.
const SHORT_BYTES: usize = 256;

/// Longest error, and longest reason of a cancel, in a list that is cut. A list of a thousand runs, the longest one, fits
/// with it.
const SENTENCE_CHARS: usize = 200;

/// Returns a view of a run that fits.
pub(super) fn view(mut view: RunView) -> RunView {
    if !is_too_long(&view) {
        return view;
    }
    let step_values = view.steps.iter_mut().flat_map(|step: &mut StepView| {
        let StepView { output, arguments, .. } = step;
        output.iter_mut().chain(arguments.iter_mut())
    });
    for value in step_values.chain(view.outputs.as_mut()).chain([&mut view.inputs]) {
        replace_long_value(value);
    }
    view
}

/// Returns a page of a list that fits: with cut errors and reasons, and if labels make it too long even then, with fewer runs.
pub(super) fn list(mut page: RunPage) -> RunPage {
    if is_too_long(&page) {
        for run in &mut page.runs {
            let error = run.error.as_mut().map(|fault| &mut fault.message);
            error.into_iter().chain(run.cancel_reason.as_mut()).for_each(cut);
        }
    }
    while page.runs.len() > 1 && is_too_long(&page) {
        page.truncate(page.runs.len() / 2);
    }
    page
}

/// Returns dead letters whose bodies, headers and reasons fit.
pub(super) fn dead_letters(mut letters: Vec<DeadLetter>) -> Vec<DeadLetter> {
    if is_too_long(&letters) {
        for letter in &mut letters {
            letter.headers.clear();
            [&mut letter.body, &mut letter.reason].into_iter().for_each(cut);
        }
    }
    letters
}

fn cut(sentence: &mut String) {
    if let Cow::Owned(beginning) = truncate(sentence, SENTENCE_CHARS) {
        *sentence = beginning;
    }
}

fn is_too_long(document: &impl Serialize) -> bool {
    // A document that cannot be serialized is reported by the caller that serializes it.
    serde_json::to_vec(document).is_ok_and(|text| text.len() > WHOLE_BYTES)
}

/// Replaces a long value by its address.
fn replace_long_value(value: &mut Value) {
    let text = value.to_string();
    if text.len() > SHORT_BYTES {
        let digest = Digest::of(text.as_bytes()).to_string();
        *value = json!({ "blob": { "digest": digest, "bytes": text.len() } });
    }
}

#[cfg(test)]
mod tests {
    use longshore_ports::RunCursor;
    use longshore_proto::RunSummary;

    use super::*;

    fn run() -> Value {
        json!({
            "run": "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w",
            "namespace": "default",
            "workflow": { "name": "demo", "digest": Digest::of(b"demo") },
            "status": "failed",
            "submitted_at": longshore_proto::Timestamp::from_millis(1),
        })
    }

    fn long_view(bytes: usize) -> RunView {
        let step = |output: Value| json!({ "path": "a", "does": "set", "depth": 0, "status": "succeeded", "output": output });
        let mut view = run();
        view["inputs"] = json!({ "short": true });
        view["steps"] = (0..20).map(|_| step(json!("x".repeat(bytes)))).chain([step(json!(7))]).collect();
        view["outputs"] = json!("y".repeat(bytes));
        serde_json::from_value(view).expect("a view")
    }

    #[test]
    fn only_long_values_of_a_view_that_does_not_fit_are_replaced() {
        let whole = long_view(30_000);
        assert_eq!(view(whole.clone()), whole);
        let cut = view(long_view(60_000));
        assert!(!is_too_long(&cut));
        let text = json!("x".repeat(60_000)).to_string();
        let address = json!({ "digest": Digest::of(text.as_bytes()).to_string(), "bytes": text.len() });
        assert_eq!(cut.steps[0].output, Some(json!({ "blob": address })));
        assert_eq!((&cut.steps[20].output, cut.inputs), (&Some(json!(7)), json!({ "short": true })));
    }

    #[test]
    fn the_longest_list_fits_with_the_longest_errors_and_reasons() {
        let mut failed = run();
        failed["error"] = json!({ "class": "tool_error", "message": "e".repeat(4_096) });
        failed["cancel_reason"] = json!("r".repeat(500));
        let failed: RunSummary = serde_json::from_value(failed).expect("a summary");
        let page = |run: &RunSummary, count| RunPage { runs: vec![run.clone(); count], ..RunPage::default() };
        let short = page(&failed, 10);
        assert_eq!(list(short.clone()), short);
        let labelled =
            RunSummary { labels: [("team".to_owned(), "l".repeat(2_048))].into(), ..failed.clone() };
        let fewer = list(page(&labelled, 1_000));
        assert!(!is_too_long(&fewer) && fewer.runs.len() == 250, "{}", fewer.runs.len());
        assert_eq!(fewer.next, Some(RunCursor::of(&labelled)), "the other runs are on the next page");
        let cut = list(page(&failed, 1_000));
        assert!(cut.runs.len() == 1_000 && !is_too_long(&cut));
        let cut = cut.runs;
        assert!(cut[0].error.as_ref().is_some_and(|fault| fault.message.ends_with("e…")));
        assert!(cut[0].cancel_reason.as_ref().is_some_and(|reason| reason.ends_with("r…")));
    }
}
