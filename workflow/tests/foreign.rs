//! Names, operators and keys of other languages, and the help that the compiler gives for them.

#![expect(clippy::expect_used, reason = "what compiles ends its test")]

use std::fmt::Write;

use serde_json::json;

/// Returns the problems of a text, a line for each.
fn said_of(text: &str) -> String {
    longshore_workflow::compile(text).expect_err(text).to_string()
}

/// Returns the problems of each text, below the text.
fn all<'t>(texts: impl IntoIterator<Item = (&'t str, String)>) -> String {
    let mut shown = String::new();
    for (written, text) in texts {
        writeln!(shown, "{}\n{}\n", written.trim_end(), said_of(&text)).expect("a string takes it");
    }
    shown
}

/// Returns a workflow with one condition.
fn condition(condition: &str) -> String {
    let workflow = json!({
        "longshore": "v1", "name": "foreign", "inputs": { "a": { "type": "array" } },
        "steps": [{ "id": "fetch", "call": "x/y" }, { "call": "x/y", "if": condition }],
    });
    workflow.to_string()
}

/// Returns a workflow with one step that consists of these lines.
fn step(keys: &str) -> String {
    let lines: String = keys.lines().map(|line| format!("    {line}\n")).collect();
    format!("longshore: v1\nname: foreign\nsteps:\n  - id: a\n{lines}")
}

#[test]
fn words_and_signs_in_expressions() {
    let written = [
        "always",
        "success",
        "yes",
        "True",
        "off",
        "None",
        "inputs.a ?? []",
        "inputs.a.map(x => x)",
        "f'{inputs.a}' == 'x'",
        "not inputs.a",
        "inputs.a == [] && not inputs.a",
        "inputs.a and true",
        "inputs.a === []",
        "inputs.a[0:2] == []",
        "len(inputs.a) > 0",
        "length(inputs.a) > 0",
        "lenght(inputs.a) > 0",
        "json(inputs.a) == ''",
        "split(inputs.a) == []",
        "now() == ''",
        "inputs.a.sort() == []",
        "max(1, 2) == 2",
        "inputs.a[0].toUpperCase() == 'A'",
        "steps.get-files.output == []",
        "steps.fetch.output.content-type == 'text/html'",
        "steps.fetch.output.a-b-c.d == 1",
        "inputs.my-list == []",
        "steps.fetch.output.in == 1",
        "inputs.a.in([1])",
        "steps.fetch.output.items.*.price == []",
        "`tick` == ''",
        "steps['fetch'].output == 1",
        "env.HOME == ''",
        "secrets.TOKEN == ''",
        "github.sha == ''",
        "needs.fetch.outputs.x == 1",
        "params.a == 1",
        "{{ inputs.a }}",
        "${inputs.a} == []",
        "$inputs.a == []",
        "inputs.a is not null",
        "inputs.a in ('a', 'b')",
        "inputs.a <> []",
        "inputs.a LIKE 'a'",
        "'x' if inputs.a else 'y'",
        "2 ** 3 == 8",
        "steps.fetch.outcome == 'success'",
        "steps.fetch.succeeded",
        "inputs.?a",
        "inputs.a == [] && 'x' || 'y'",
        "inputs.a || 'y'",
        "inputs.a[0] == 12345678901234567890123",
        "1e400 == inputs.a[0]",
    ];
    insta::assert_snapshot!(all(written.map(|written| (written, condition(written)))));
}

#[test]
fn names_of_inputs_and_steps() {
    let written = ["in", "null", "my-list", "2nd"];
    let text = |name: &str| {
        format!(
            "longshore: v1\nname: foreign\ninputs: {{ {name}: {{}} }}\nsteps:\n  - {{ id: {name}, call: x/y }}\n"
        )
    };
    insta::assert_snapshot!(all(written.map(|written| (written, text(written)))));
    for reserved in ["namespace", "package", "function", "for", "if", "var", "type"] {
        let text = format!(
            "longshore: v1\nname: reserved\ninputs: {{ {reserved}: {{}} }}\nsteps:\n  - set: {{ x: \"${{{{ inputs.{reserved} }}}}\" }}\n"
        );
        longshore_workflow::compile(&text).expect(reserved);
    }
}

#[test]
fn keys_at_the_top_level() {
    let written = [
        "on: push",
        "jobs: {}",
        "env: { A: b }",
        "mcpServers: {}",
        "version: 1",
        "params: { a: 1 }",
        "variables: { a: 1 }",
        "output: { a: 1 }",
        "retry: 3",
        "catch: []",
        "if: true",
        "with: {}",
        "trigers: {}",
        "tiemout: 5m",
    ];
    let text = |keys: &str| format!("longshore: v1\nname: foreign\n{keys}\nsteps:\n  - call: x/y\n");
    insta::assert_snapshot!(all(written.map(|written| (written, text(written)))));
}

#[test]
fn keys_of_steps() {
    let written = [
        "uses: actions/checkout@v4",
        "run: make test",
        "tool: x/y\nargs: { a: 1 }",
        "call: x/y\nwhen: true",
        "call: x/y\ndepends_on: []",
        "call: x/y\narguments: { a: 1 }",
        "call: x/y\nenv: { A: b }",
        "call: x/y\ntimeout-minutes: 5",
        "call: x/y\ntimeout_ms: 500",
        "call: x/y\ntimeout: PT1H30M",
        "call: x/y\nretries: 3",
        "call: x/y\nmax_attempts: 3",
        "call: x/y\ncontinue_on_error: true",
        "call: x/y\nonToolError: fail",
        "call: x/y\nallow-failure: true",
        "call: x/y\non-error: continue",
        "call: x/y\nloop: [1, 2]",
        "call: x/y\nforEach: [1, 2]",
        "call: x/y\nregister: out",
        "call: x/y\ntitle: Call it",
        "call: x/y\ncompensates: b",
        "call: x/y\nurl: https://example.com",
        "call: x/y\nneeds: b",
        "set: { x: 1 }\nretries: 3",
        "set: { x: 1 }\ncolour: red",
        "steps: [{ call: x/y }]",
        "with: { a: 1 }\ncolour: red",
    ];
    insta::assert_snapshot!(all(written.map(|written| (written, step(written)))));
}

/// Returns the code and the text of the only problem of a workflow.
fn only_problem(text: &str) -> (String, String) {
    let said = said_of(text);
    let (code, rest) = said.split_once(' ').expect("a code");
    (code.to_owned(), rest.to_owned())
}

/// Returns a key without its second letter.
fn misspelt(key: &str) -> String {
    key.chars().enumerate().filter(|(index, _)| *index != 1).map(|(_, letter)| letter).collect()
}

/// Checks that a key is refused as not built, and that the help for its misspelt form does not name it.
fn check_misspelt(key: &str, text: impl Fn(&str) -> String) {
    assert!(only_problem(&text(key)).0.starts_with("LS03"), "{key} is not built");
    let misspelt = misspelt(key);
    let (code, said) = only_problem(&text(&misspelt));
    assert_eq!(code, "LS0101", "{misspelt}");
    assert!(!said.contains(&format!("`{key}`")), "{misspelt}: {said}");
}

#[test]
fn help_for_a_misspelt_key_names_no_key_that_is_refused_as_not_built() {
    let top = |key: &str| format!("longshore: v1\nname: foreign\n{key}: 1\nsteps:\n  - call: x/y\n");
    let of_step = |key: &str| step(&format!("call: x/y\n{key}: 1"));
    let of_input = |key: &str| {
        format!("longshore: v1\nname: foreign\ninputs: {{ a: {{ {key}: 1 }} }}\nsteps:\n  - call: x/y\n")
    };
    for key in ["triggers", "concurrency", "on-failure", "finally"] {
        check_misspelt(key, top);
    }
    for key in ["fallback", "compensate", "cache"] {
        check_misspelt(key, of_step);
    }
    for key in ["minimum", "maximum", "pattern", "properties", "multipleOf", "uniqueItems"] {
        check_misspelt(key, of_input);
    }
    for kind in ["workflow", "for-each", "repeat", "switch", "approve", "wait", "emit", "fail"] {
        assert!(said_of(&step(&format!("{kind}: 1"))).starts_with("LS03"), "{kind} is not built");
        let misspelt = misspelt(kind);
        let said = said_of(&step(&format!("{misspelt}: 1")));
        assert!(!said.contains(&format!("`{kind}`")), "{misspelt}: {said}");
    }
}

#[test]
fn names_of_tools() {
    let written = ["mcp__s__t", "s.t", "s:t", "s::t", "s__t", "t", "https://example.com/t", "mcp__s"];
    insta::assert_snapshot!(all(written.map(|written| (written, step(&format!("call: {written}"))))));
}

#[test]
fn files_of_other_formats() {
    let written = [
        "name: CI\non: push\njobs:\n  build:\n    steps:\n      - uses: actions/checkout@v4\n",
        "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {}\n",
        "{ \"StartAt\": \"A\", \"States\": {} }",
        "document: { dsl: 1.0.0 }\ndo: []\n",
        "{ \"mcpServers\": {} }",
    ];
    insta::assert_snapshot!(all(written.map(|written| (written, written.to_owned()))));
}

#[test]
fn one_mistake_hides_no_other() {
    let written = [
        "name: foreign\nstep:\n  - call: x/y\n",
        "longshore: 1\nname: Foreign\nsteps: []\n",
        "longshore: v1\nname: Foreign\nsteps:\n  - if: !cancelled()\n    call: x/y\n",
        "longshore: v1\nname: Foreign\nsteps:\n  - if: !cancelled() && inputs.x\n    call: x/y\n",
        "longshore: v1\nname: Foreign\nsteps:\n  - call: !!str x/y\n    with: !map { a: 1 }\n",
        "longshore: v1\nname: Foreign\nsteps:\n  - call: x/y\n    with: { a: {{ x }}, b: [${{ y }}, 'ü ${{ z }}'] }\n",
        "longshore: v1\nname: Foreign\nsteps:\n  - set:\n      a: ${{ true ? 1 : 2 }}\n      b: {{ x }}\n",
        "longshore: v1\nname: Foreign\nx-a: &a { b: 1 }\nsteps:\n  - call: x/y\n    with: { <<: *a, c: *b }\n",
        "longshore: v1\nname: Foreign\nsteps:\n  - call: x/y\n    with: { a: .inf }\n---\nname: b\n",
    ];
    insta::assert_snapshot!(all(written.map(|written| (written, written.to_owned()))));
}
