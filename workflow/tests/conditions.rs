//! Conditions that are certainly neither true nor false, and similar ones that may be.

use longshore_workflow::compile;

/// Returns the problems of a workflow whose last step has this condition.
fn problems(condition: &str) -> String {
    let text = format!(
        "longshore: v1\nname: demo\ninputs:\n  n: {{ type: integer, default: 1 }}\n  text: {{ default: a, type: string }}\n  \
         list: {{ type: array, default: [] }}\n  flag: {{ type: boolean, default: true }}\n  any: {{ default: 1 }}\nsteps:\n  \
         - id: a\n    call: x/y\n  - call: x/y\n    if: {condition}\n"
    );
    compile(&text).err().map(|problems| problems.to_string()).unwrap_or_default()
}

#[test]
fn condition_that_is_never_true_or_false_is_refused_with_what_to_write() {
    for (condition, words, help) in [
        ("inputs.n", "`inputs.n` is a whole number", "as in `inputs.n > 0`"),
        ("${{ inputs.text }}", "`inputs.text` is text", "as in `inputs.text != ''`"),
        ("inputs.list", "`inputs.list` is a list", "write `size(inputs.list) > 0`"),
        ("steps.a.status", "`steps.a.status` is text", "as in `steps.a.status == 'succeeded'`"),
        ("steps.a.attempts", "`steps.a.attempts` is a whole number", "as in `steps.a.attempts > 1`"),
        ("steps.a.content", "`steps.a.content` is a list", "write `size(steps.a.content) > 0`"),
        ("failure() && steps.a.error", "`steps.a.error` is a map", "write `steps.a.status == 'failed'`"),
        ("steps.a", "`steps.a` is a map", "write `steps.a.status == 'succeeded'`"),
        ("inputs.flag || inputs.n", "`inputs.n` is a whole number", "as in `inputs.n > 0`"),
        ("${{ !inputs.text }}", "`inputs.text` is text", "as in `inputs.text != ''`"),
        ("size(inputs.list)", "`size(inputs.list)` is a number", "as in `size(inputs.list) > 0`"),
        ("\"'yes'\"", "`'yes'` is no boolean", "true or false"),
    ] {
        let found = problems(condition);
        assert!(found.starts_with("LS0216 at 13:"), "{condition}: {found}");
        assert!(found.contains(words) && found.contains(help), "{condition}: {found}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
}

#[test]
fn condition_that_may_be_true_or_false_is_accepted() {
    for condition in [
        "inputs.flag",
        "inputs.any",
        "true",
        "inputs.n > 0",
        "inputs.text == 'a'",
        "steps.a.output",
        "steps.a.output.found",
        "steps.a.error.retryable",
        "has(inputs.text)",
        "failure() && steps.a.status == 'failed'",
        "'${{ size(inputs.list) > 0 ? inputs.flag : false }}'",
        "inputs.list.exists(x, x == 'a')",
        "default(inputs.any, false)",
    ] {
        assert_eq!(problems(condition), "", "{condition}");
    }
}

#[test]
fn key_that_is_not_built_yet_is_named_in_any_spelling() {
    for key in ["foreach", "forEach", "for_each", "for-each"] {
        let text = format!("longshore: v1\nname: demo\nsteps:\n  - {key}: [1]\n    steps: []\n");
        let found = compile(&text).map(|_| ()).expect_err("refused").to_string();
        assert!(found.starts_with("LS0302 at 4:5: `"), "{key}: {found}");
    }
}
