//! Plans of texts that were accepted before.

use longshore_workflow::{compile, load};

#[test]
fn accepted_text_is_loaded_to_the_same_plan() {
    let text = include_str!("samples/summarize-article.yaml");
    let [compiled, loaded] = [compile(text), load(text)].map(|plan| plan.expect("it is accepted"));
    assert_eq!(format!("{compiled:?}"), format!("{loaded:?}"));
}

#[test]
fn text_that_a_check_would_refuse_now_is_still_loaded() {
    let text = "longshore: v1\nname: demo\nsteps:\n  - { id: a, call: s/t, if: inputs.n }\n";
    assert_eq!(compile(text).expect_err("it is refused").iter().count(), 1);
    assert_eq!(load(text).expect("an earlier version may have accepted it").steps.len(), 1);
}
