//! What is shown of runs, cut so that it fits into one message of a broker.
//!
//! Only what would not fit whole is cut: values are replaced by what they are known by, as those that are kept as blobs
//! always are, and errors and reasons in lists lose their ends. What does not fit even then is for the broker's side to refuse.

use longshore_ports::{DeadLetter, RunPage};
use longshore_proto::{Digest, RunView, StepView};
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::REQUEST_LIMIT_BYTES;

/// How long a document may be whole: a message, less what stands around it.
const WHOLE_BYTES: usize = REQUEST_LIMIT_BYTES / 8 * 7;

/// Values up to this length stand in a view however many they are.
const SHORT_BYTES: usize = 256;

/// How much of an error, and of the reason of a cancel, stands in a list that is cut: a thousand runs, the longest list, fit
/// with it.
const SENTENCE_CHARS: usize = 200;

/// A run whose values fit.
pub(super) fn view(mut view: RunView) -> RunView {
    if !is_too_long(&view) {
        return view;
    }
    let of_steps = view.steps.iter_mut().flat_map(|step: &mut StepView| {
        let StepView { output, arguments, .. } = step;
        output.iter_mut().chain(arguments.iter_mut())
    });
    for value in of_steps.chain(view.outputs.as_mut()).chain([&mut view.inputs]) {
        shorten(value);
    }
    view
}

/// A page of a list that fits: with shorter errors and reasons, and where labels make it too long even then, with fewer runs.
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

/// Letters whose bodies, headers and reasons fit.
pub(super) fn letters(mut letters: Vec<DeadLetter>) -> Vec<DeadLetter> {
    if is_too_long(&letters) {
        for letter in &mut letters {
            letter.headers.clear();
            [&mut letter.body, &mut letter.reason].into_iter().for_each(cut);
        }
    }
    letters
}

fn cut(sentence: &mut String) {
    if let Some((end, _)) = sentence.char_indices().nth(SENTENCE_CHARS) {
        sentence.truncate(end);
        sentence.push('…');
    }
}

fn is_too_long(document: &impl Serialize) -> bool {
    // What cannot be written at all is found by whoever writes it.
    serde_json::to_vec(document).is_ok_and(|text| text.len() > WHOLE_BYTES)
}

/// Puts in place of a value what stands for a large one.
fn shorten(value: &mut Value) {
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
    fn a_view_that_fits_is_whole_and_of_another_one_the_short_values_are() {
        let whole = long_view(30_000);
        assert_eq!(view(whole.clone()), whole);
        let cut = view(long_view(60_000));
        assert!(!is_too_long(&cut));
        let text = json!("x".repeat(60_000)).to_string();
        let stands = json!({ "digest": Digest::of(text.as_bytes()).to_string(), "bytes": text.len() });
        assert_eq!(cut.steps[0].output, Some(json!({ "blob": stands })));
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
        assert_eq!(fewer.next, Some(RunCursor::of(&labelled)), "the rest is on the next page");
        let cut = list(page(&failed, 1_000));
        assert!(cut.runs.len() == 1_000 && !is_too_long(&cut));
        let cut = cut.runs;
        assert!(cut[0].error.as_ref().is_some_and(|fault| fault.message.ends_with("e…")));
        assert!(cut[0].cancel_reason.as_ref().is_some_and(|reason| reason.ends_with("r…")));
    }
}
