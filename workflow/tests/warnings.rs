//! Warnings, and similar values without a warning.

#![expect(clippy::panic, reason = "a surprise ends the test")]

use longshore_workflow::compile_and_warn;

/// Returns the warnings about a workflow with this argument of a call.
fn warned(argument: &str) -> String {
    let text = format!(
        "longshore: v1\nname: demo\ninputs: {{ url: {{ required: true }} }}\nx-version: 1.10\nsteps:\n  - id: fetch\n    call: x/y\n  - call: x/y\n    with:\n      a: {argument}\n"
    );
    let (_, warnings) = compile_and_warn(&text)
        .unwrap_or_else(|problems| panic!("{}", problems.render("demo.yaml", &text, false)));
    warnings.to_string()
}

#[test]
fn intended_values_have_no_warning() {
    for argument in [
        "1.5",
        "-3",
        "1.0",
        "1.2345678901234568e+22",
        "18446744073709551615",
        "1e-07",
        "'1.10'",
        "\"02142\"",
        "2026-11-27",
        "1.2.3",
        "12:30",
        "inputs.txt",
        "steps.json",
        "see inputs.url for more",
        "Dear {{ name }}, hello",
        "cost: $5 to $10",
        "$(date)",
        "echo ${HOME}/bin",
        "${{ '{{ name }}' }}",
        "${{ inputs.url }} {{ name }}",
        "{}",
    ]
    .map(|argument| if argument.contains(": ") { format!("'{argument}'") } else { argument.to_owned() })
    {
        assert_eq!(warned(&argument), "", "{argument}");
    }
}

#[test]
fn probable_mistakes_have_a_warning_with_the_right_form() {
    let arguments = [
        "007",
        "1.50",
        "0x1F",
        ".5",
        "1e3",
        "[1, 2.0, 3.10]",
        "'{{ url }}'",
        "'{{inputs.url}}'",
        "'={{ $json.url }}'",
        "'${ steps.fetch.output.title }'",
        "'at $(inputs.url)'",
        "'at ${inputs.url}/x'",
        "'$steps.fetch.output.title.'",
        "inputs.url",
        "steps.fetch.output.list[0].x",
        "'{{ other }}'",
    ];
    let shown: String = arguments.map(|argument| format!("{argument}\n{}\n\n", warned(argument))).concat();
    insta::assert_snapshot!(shown);
}
