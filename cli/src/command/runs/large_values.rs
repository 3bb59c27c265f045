//! Large values of a run that is shown: they are replaced by their sizes, wherever they are stored.

use longshore_proto::{Digest, INLINE_LIMIT_BYTES, RunView};
use serde_json::json;

/// Replaces each value that is too large to be shown by its digest and size, in the form of a stored large value. Outputs of
/// tools have this form already; values that the run computed are in its state.
pub(super) fn by_size(view: &mut RunView) {
    let of_steps = view.steps.iter_mut().flat_map(|step| step.output.iter_mut().chain(&mut step.arguments));
    for value in of_steps.chain(&mut view.outputs).chain([&mut view.inputs]) {
        let text = value.to_string();
        if text.len() > INLINE_LIMIT_BYTES {
            let digest = Digest::of(text.as_bytes()).to_string();
            *value = json!({ "blob": { "digest": digest, "bytes": text.len() } });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computed_value_over_the_limit_is_shown_by_its_size() {
        let large = "x".repeat(INLINE_LIMIT_BYTES);
        let mut view: RunView = serde_json::from_value(json!({
            "run": "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w", "namespace": "default",
            "workflow": { "name": "demo", "digest": "ab".repeat(32) },
            "status": "succeeded", "submitted_at": 1, "inputs": { "n": 1 }, "outputs": { "all": large },
            "steps": [
                { "path": "a", "does": "set", "depth": 0, "status": "succeeded", "output": { "all": large } },
                { "path": "b", "does": "set", "depth": 0, "status": "succeeded", "output": { "n": 1 } },
            ],
        }))
        .expect("a run");
        by_size(&mut view);
        let bytes = json!({ "all": large }).to_string().len();
        let shown = [view.steps[0].output.as_ref(), view.outputs.as_ref()];
        for value in shown {
            assert_eq!(value.and_then(|value| value.pointer("/blob/bytes")), Some(&json!(bytes)));
        }
        assert_eq!((&view.inputs, &view.steps[1].output), (&json!({ "n": 1 }), &Some(json!({ "n": 1 }))));
    }
}
