//! Texts with the problems of each code.

/// Returns a workflow with these steps.
pub(crate) fn steps(steps: &str) -> String {
    format!("longshore: v1\nname: demo\ninputs:\n  url: {{ type: string }}\nsteps:\n{steps}")
}

/// Returns a workflow with a first step and a `set` step with this expression.
fn expression(expression: &str) -> String {
    steps(&format!("  - id: fetch\n    call: web/fetch\n  - set:\n      x: ${{{{ {expression} }}}}\n"))
}

/// Returns a workflow with these additional keys at the top level.
fn file(keys: &str) -> String {
    format!("longshore: v1\nname: demo\n{keys}\nsteps:\n  - call: web/fetch\n")
}

/// Returns a workflow with a call with these keys.
fn call(keys: &str) -> String {
    steps(&format!("  - id: fetch\n    call: web/fetch\n{keys}\n"))
}

/// Returns a workflow with a secret input, a call, and further lines.
fn secret(rest: &str) -> String {
    format!(
        "longshore: v1\nname: demo\ninputs:\n  token: {{ secret: true }}\nsteps:\n  - call: web/fetch\n{rest}"
    )
}

/// Returns texts for each code. The first is the most likely mistake.
pub(crate) fn texts() -> Vec<(&'static str, Vec<String>)> {
    let nested = |depth| format!("longshore: v1\nx-deep: {}1{}\n", "[".repeat(depth), "]".repeat(depth));
    let many = "  - call: web/fetch\n".repeat(1_001);
    vec![
        ("LS0001", vec![format!("longshore: v1\n# {}", "x".repeat(1024 * 1024))]),
        (
            "LS0002",
            vec![
                "longshore: v1\nname: [demo\nsteps: 1\n".to_owned(),
                "longshore: v1\n  name: demo\n".to_owned(),
                "longshore: v1\nname: \"demo\nsteps: []\n".to_owned(),
                "longshore: v1\nsteps:\n\t- call: a/b\n".to_owned(),
                "longshore: v1\nname: a: b\n".to_owned(),
                "{\"longshore\": \"v1\", \"name\": }}".to_owned(),
                "longshore: v1\nname: demo\nsteps:\n  - id: a\n   call: a/b\n".to_owned(),
                "longshore: v1\nname: demo\nsteps:\n  - id: a\n call: a/b\n".to_owned(),
                "longshore: v1\nname: demo\nsteps:\n  -id: a\n   call: a/b\n".to_owned(),
                " longshore: v1\nname: demo\n".to_owned(),
                "longshore: v1\nname: demo\nsteps\n  - call: a/b\n".to_owned(),
                "longshore: v1\nname: @demo\n".to_owned(),
                "longshore: v1\nname: \"a\" b\n".to_owned(),
                "longshore: v1\nname: |demo\n".to_owned(),
            ],
        ),
        ("LS0003", vec![nested(70), nested(1_000)]),
        ("LS0004", vec![file("x-a: &a 1"), file("x-a: *a"), file("x-a: &a {b: 1}\ninputs:\n  <<: *a")]),
        ("LS0005", vec![file("name: again")]),
        ("LS0006", vec!["longshore: v1\n---\nlongshore: v1\n".to_owned()]),
        ("LS0007", vec![String::new(), "- a\n- b\n".to_owned(), "just text".to_owned()]),
        ("LS0008", vec![steps("  - if: !cancelled()\n    call: web/fetch\n"), file("x-a: !!str 1")]),
        ("LS0009", vec![file("? [a, b]\n: 1")]),
        ("LS0010", vec![file("x-a: .inf"), file("x-a: 1e999")]),
        ("LS0011", vec![steps("  - set:\n      x: ${{ inputs.url ? 'a' : 'b' }}\n")]),
        (
            "LS0012",
            vec![
                steps("  - call: web/fetch\n    with: { url: ${{ inputs.url }} }\n"),
                steps("  - call: web/fetch\n    with:\n      urls: [${{ inputs.url }}]\n"),
            ],
        ),
        (
            "LS0101",
            vec![
                call("    retries: 3"),
                file("on: push"),
                file("servers: {}"),
                call("    retry: { attempt: 3 }"),
                file("inputs: { a: { typ: string } }"),
                file("inputs: { a: { type: array, items: { required: true } } }"),
            ],
        ),
        ("LS0102", vec!["name: demo\n".to_owned(), "longshore: v1\n".to_owned(), "region: north\n".to_owned()]),
        (
            "LS0103",
            vec![
                call("    with: [a]"),
                call("    with: \"${{ {'q': 'x'} }}\""),
                steps("  - id: 7\n    call: web/fetch\n"),
                "longshore: v1\nname: 7\nsteps:\n  - call: a/b\n".to_owned(),
                call("    continue-on-error: yes"),
                call("    needs: fetch"),
                call("    if: [a]"),
                call("    retry: often"),
                steps("  - web/fetch\n"),
                file("inputs: [a]"),
                file("timeout: [1]"),
                call("    idempotency-key: 1"),
            ],
        ),
        (
            "LS0104",
            vec![
                file("inputs: { a: { type: str } }"),
                call("    retry: { errors: [timeout, invalid_arguments] }"),
                call("    on-tool-error: ignore"),
                call("    idempotency-key: \"\""),
            ],
        ),
        (
            "LS0105",
            vec![
                steps("  - id: my-step\n    call: web/fetch\n"),
                "longshore: v1\nname: My Workflow\nsteps:\n  - call: a/b\n".to_owned(),
                steps("  - id: loop\n    call: web/fetch\n"),
                file("outputs: { 1st: 1 }"),
                file("inputs: { in: { type: string } }"),
            ],
        ),
        (
            "LS0106",
            vec![
                call("    timeout: 30"),
                call("    timeout: 30 seconds"),
                call("    timeout: 0s"),
                call("    timeout: 400d"),
                call("    timeout: \"90\""),
                call("    timeout: 1.5h"),
                call("    timeout: 30 sec"),
                call("    timeout: -5"),
                call("    retry: { delay: 0.5 }"),
            ],
        ),
        (
            "LS0107",
            vec![
                steps(
                    "  - id: fetch\n    call: web/fetch\n  - call: llm/summarize\n    with:\n      text: ${{ steps.fetsh.output.markdown }}\n",
                ),
                call("    needs: [fetsh]"),
                steps("  - id: a\n    call: x/y\n  - needs: [other]\n    call: x/y\n"),
                steps("  - needs: [other]\n    call: x/y\n"),
                steps("  - set:\n      x: ${{ steps.fetch.output }}\n"),
                expression("has(steps.nothing.output)"),
            ],
        ),
        (
            "LS0108",
            vec![steps("  - set:\n      x: ${{ steps.later.output }}\n  - id: later\n    call: web/fetch\n")],
        ),
        (
            "LS0109",
            vec![
                call("    with:\n      x: ${{ steps.fetch.output }}"),
                steps("  - id: both\n    parallel:\n      - set:\n          x: ${{ steps.both.output }}\n"),
            ],
        ),
        (
            "LS0110",
            vec![
                steps(
                    "  - parallel:\n      - id: a\n        call: web/fetch\n      - id: b\n        set:\n          x: ${{ steps.a.output }}\n",
                ),
                steps(
                    "  - id: a\n    call: web/fetch\n  - id: b\n    needs: []\n    set:\n      x: ${{ steps.a.output }}\n",
                ),
                steps(
                    "  - parallel:\n      - id: a\n        call: web/fetch\n  - needs: []\n    if: steps.a.status == 'failed'\n    call: web/fetch\n",
                ),
            ],
        ),
        (
            "LS0111",
            vec![
                steps(
                    "  - id: a\n    needs: [c]\n    call: x/y\n  - id: b\n    call: x/y\n  - id: c\n    call: x/y\n",
                ),
                steps("  - id: a\n    needs: [b]\n    call: x/y\n  - id: b\n    needs: [a]\n    call: x/y\n"),
                steps(
                    "  - id: a\n    needs: [b]\n    set:\n      x: ${{ steps.b.output }}\n  - id: b\n    needs: [a]\n    set:\n      x: ${{ steps.a.output }}\n",
                ),
            ],
        ),
        ("LS0112", vec![steps("  - id: a\n    call: x/y\n  - id: a\n    call: x/y\n")]),
        ("LS0113", vec![steps("  - id: a\n    with: {}\n")]),
        ("LS0114", vec![steps("  - call: x/y\n    set: {}\n")]),
        ("LS0115", vec![steps("  - set: {}\n    retry: 3\n"), call("    max-parallel: 3")]),
        ("LS0116", vec![steps("  - call: fetch\n"), steps("  - call: https://example.com/tool\n")]),
        ("LS0117", vec![steps(&many)]),
        (
            "LS0118",
            vec![
                call("    retry: 5000"),
                call("    retry: { delay: 2m, max-delay: 1m }"),
                call("    retry: -1"),
            ],
        ),
        ("LS0119", vec![expression("inputs.ulr"), expression("default(inputs.other, 1)")]),
        ("LS0120", vec![expression("steps.fetch.outputs.title"), expression("steps.fetch.title")]),
        (
            "LS0121",
            vec![
                steps("  - parallel:\n      - id: a\n        call: x/y\n  - needs: [a]\n    call: x/y\n"),
                call("    needs: [fetch]"),
            ],
        ),
        (
            "LS0122",
            vec![
                file("inputs: { n: { type: integer, default: many } }"),
                file("inputs: { l: { type: array, items: { type: string }, default: [eu, 5] } }"),
            ],
        ),
        ("LS0123", vec!["longshore: v1\nname: demo\nsteps: []\n".to_owned()]),
        ("LS0124", vec!["longshore: v2\n".to_owned(), "longshore: 1\n".to_owned()]),
        (
            "LS0125",
            vec![
                call("    timeout: ${{ inputs.url }}"),
                file("inputs: { a: { default: '${{ 1 }}' } }"),
                call("    with: { '${{ inputs.url }}': 1 }"),
            ],
        ),
        (
            "LS0126",
            vec![
                file("inputs: { l: { type: string, items: { type: string } } }"),
                file("inputs: { l: { items: { type: string } } }"),
                file("inputs: { l: { type: array, items: { items: { type: string } } } }"),
                file(&format!(
                    "inputs: {{ l: {}type: string{} }}",
                    "{ type: array, items: ".repeat(9) + "{ ",
                    " }".repeat(10)
                )),
            ],
        ),
        (
            "LS0127",
            vec![
                file("inputs: { token: { type: integer, secret: true } }"),
                file("inputs: { token: { secret: true, default: hunter2 } }"),
                file("inputs: { token: { secret: true, default: 'secret:not a name' } }"),
            ],
        ),
        (
            "LS0128",
            vec![
                secret("    with:\n      auth: ${{ 'Bearer ' + inputs.token }}\n"),
                secret("    if: inputs.token != ''\n"),
                secret("    idempotency-key: key-${{ inputs.token }}\n"),
                secret("  - set:\n      x: ${{ inputs.token }}\n"),
                secret("outputs:\n  x: ${{ inputs.token }}\n"),
                secret("    with:\n      auth: ${{ default(inputs.token, '') }}\n"),
            ],
        ),
        (
            "LS0129",
            vec![
                file(&format!("labels: {{ {} }}", (0..17).map(|n| format!("l{n}: x, ")).collect::<String>())),
                file("labels: { a b: x }"),
                file(&format!("labels: {{ {}: x }}", "n".repeat(64))),
                file(&format!("labels: {{ team: {} }}", "x".repeat(129))),
                file("labels: { team: \"a\\tb\" }"),
            ],
        ),
        (
            "LS0201",
            vec![
                expression("steps.fetch.output.n = 3"),
                expression("steps.fetch."),
                expression("inputs.url and true"),
                call("    if: inputs.url == 'open"),
                expression("(1 + 2"),
                expression(""),
                expression("inputs.url | upper"),
                expression("has(1)"),
                call("    if: \"Point{x: 1}.x == 1\""),
                expression("loop.index"),
                expression("1 2"),
                expression("[1, (2 + 3]"),
                expression("inputs.in"),
            ],
        ),
        ("LS0202", vec![expression(&"1 + ".repeat(2_000))]),
        (
            "LS0203",
            vec![
                expression(&format!("{}1{}", "(".repeat(40), ")".repeat(40))),
                expression(&format!("1{}", " + 1".repeat(100))),
            ],
        ),
        ("LS0204", vec![expression("[1].map(a, [1].map(b, [1].map(c, a + b + c)))")]),
        ("LS0205", vec![expression("main"), expression("input.url"), expression("[1].map(x, y)")]),
        (
            "LS0206",
            vec![
                expression("siz(inputs.url)"),
                expression("upper(inputs.url)"),
                expression("_f(1)"),
                expression("size()"),
                expression("contains(inputs.url)"),
                expression("inputs.url.matches()"),
                expression("format('{} of {}', 1, 2)"),
                expression("format('{0:.2f}', 1.5)"),
                expression("format('{0} {1}', 1)"),
                expression("format('100 {', 1)"),
                expression("filter(inputs.url)"),
                expression("[1].map(x)"),
                expression("inputs.url.toJSON()"),
            ],
        ),
        ("LS0207", vec![expression("steps[inputs.url].output"), expression("toJSON(steps)")]),
        ("LS0208", vec![steps("  - set:\n      x: a ${{ inputs.url }\n"), expression("'open")]),
        ("LS0209", vec![call("    if: ${{ inputs.url }} && true")]),
        ("LS0210", vec![expression("default('x', 1)"), expression("default(inputs, 1)")]),
        ("LS0211", vec![expression("run.ids"), expression("run.started_at")]),
        ("LS0212", vec![expression("1") + &format!("      y: {}\n", "${{ 1 }}".repeat(10_000))]),
        (
            "LS0213",
            vec![
                call("  - if: steps.fetch.status == 'success'\n    call: web/fetch"),
                call("  - if: \"'suceeded' != steps.fetch.status\"\n    call: web/fetch"),
                call("  - if: steps.fetch.status in ['skipped', 'gone']\n    call: web/fetch"),
            ],
        ),
        ("LS0214", vec![call("    with:\n      text: at most ${{ inputs.?url }}")]),
        (
            "LS0215",
            vec![
                expression("inputs.url == 'a' && 'yes' || 'no'"),
                expression("inputs.url || 'none'"),
                call("    if: \"!'x'\""),
            ],
        ),
        ("LS0216", vec![call("    if: inputs.url")]),
        ("LS0301", vec![steps("  - workflow: other\n    with: {}\n")]),
        ("LS0302", vec![steps("  - for-each: [1]\n    as: n\n    steps: []\n")]),
        ("LS0303", vec![steps("  - repeat: { max: 3 }\n    steps: []\n")]),
        ("LS0304", vec![steps("  - switch: []\n    else: []\n")]),
        ("LS0305", vec![steps("  - approve: { prompt: ok? }\n")]),
        ("LS0306", vec![steps("  - wait: 5m\n")]),
        ("LS0307", vec![steps("  - emit: { type: done }\n")]),
        ("LS0308", vec![steps("  - fail: no\n")]),
        ("LS0309", vec![call("    fallback: []")]),
        ("LS0310", vec![call("    compensate: []")]),
        ("LS0311", vec![call("    cache: {}")]),
        ("LS0312", vec![file("triggers: {}")]),
        ("LS0313", vec![file("concurrency: {}")]),
        ("LS0314", vec![file("on-failure: []")]),
        ("LS0315", vec![file("finally: []")]),
        ("LS0317", vec![expression("secrets.token"), expression("run.url")]),
        ("LS0318", vec![expression("timestamp('2026-01-01T00:00:00Z')")]),
        (
            "LS0319",
            vec![
                file("inputs: { n: { type: integer, minimum: 1 } }"),
                file("inputs: { l: { type: array, items: { type: string, enum: [a] } } }"),
            ],
        ),
        (
            "LS0501",
            vec![
                call("    with: { zip: 02142, sha: 1234e8, version: 1.10, plus: +491701234567 }"),
                call("    with: { account: 12345678901234567890123 }"),
                file("inputs: { version: { default: 1.10 } }"),
                "{\"longshore\": \"v1\", \"name\": \"demo\", \"steps\": [{\"set\": {\"a\": 1.10, \"b\": 12345678901234567890123, \"c\": 02142, \"d\": 296e115, \"e\": 0x1F, \"f\": +5, \"g\": .5}}]}"
                    .to_owned(),
            ],
        ),
        (
            "LS0502",
            vec![
                call("    with:\n      a: \"{{ inputs.url }}\"\n      b: ${url}\n      c: at ${inputs.url}.\n      d: $inputs.url"),
                steps(
                    "  - id: fetch\n    call: web/fetch\n  - set:\n      a: inputs.url\n      b: steps.fetch.output.title\n",
                ),
            ],
        ),
        ("LS0504", vec![typed("      limit: ${{ inputs.limit }}\n      next: ${{ inputs.limit + 1 }}\n")]),
        ("LS0505", vec![typed("      price: ${{ inputs.n * 1.5 }}\n      text: ${{ 'Sum ' + inputs.n }}\n")]),
        ("LS0506", vec![typed("      a: ${{ inputs.zip == 2142 }}\n      b: ${{ inputs.zip != null }}\n")]),
    ]
}

/// Returns a workflow with typed inputs, and a step that sets these values.
fn typed(values: &str) -> String {
    format!(
        "longshore: v1\nname: demo\ninputs:\n  limit: {{}}\n  n: {{ type: integer, required: true }}\n  zip: {{ type: string, required: true }}\nsteps:\n  - set:\n{values}"
    )
}
