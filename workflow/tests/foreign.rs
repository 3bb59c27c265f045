//! Words and signs of other languages in expressions, and the help that they are refused with.

#![expect(clippy::expect_used, reason = "what compiles ends its test")]

use serde_json::json;

/// The problems of a workflow whose only condition is this.
fn said_of(condition: &str) -> String {
    let workflow = json!({
        "longshore": "v1", "name": "foreign", "inputs": { "a": { "type": "array" } },
        "steps": [{ "call": "x/y", "if": condition }],
    });
    let text = workflow.to_string();
    longshore_workflow::compile(&text).expect_err(condition).render("wf.json", &text, false)
}

#[test]
fn words_and_signs_of_other_languages_are_answered_with_those_of_this_one() {
    for (written, help) in [
        ("always", "it is a function: `always()`"),
        ("success", "it is a function: `success()`"),
        ("yes", "write `true`"),
        ("True", "write `true`"),
        ("off", "write `false`"),
        ("None", "write `null`"),
        ("inputs.a ?? []", "write `default(a, b)`"),
        ("inputs.a.map(x => x)", "`list.map(x, x.name)`"),
        ("f'{inputs.a}' == 'x'", "write `format('{0}', x)`"),
        ("not inputs.a", "`&&`, `||` and `!`"),
        ("inputs.a and true", "`&&`, `||` and `!`"),
        ("inputs.a === []", "equality is `==`"),
        ("inputs.a[0:2] == []", "there are no slices"),
        ("len(inputs.a) > 0", "write `size(x)`"),
        ("length(inputs.a) > 0", "write `size(x)`"),
        ("lenght(inputs.a) > 0", "write `size(x)`"),
        ("json(inputs.a) == ''", "`toJSON(x)` makes text of a value, and `fromJSON(x)` reads it"),
        ("split(inputs.a) == []", "there are `always`,"),
        ("now() == ''", "`startsWith`, `string`,"),
    ] {
        let said = said_of(written);
        assert!(said.contains(help), "{written}: {said}");
        assert!(!said.contains("`` is not expected"), "{written}: {said}");
    }
}
