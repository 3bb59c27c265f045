//! Hostile texts: huge, deeply nested, or nearly valid.
//!
//! The compiler answers each of them on the 2 MiB stack of a test thread in a debug build. The limits are sizes, numbers and
//! depths, so these tests do not depend on time.

use longshore_workflow::compile;
use proptest::prelude::*;

fn codes(text: &str) -> Vec<String> {
    match compile(text) {
        Ok(_) => Vec::new(),
        Err(problems) => {
            // What is shown must work as well.
            assert!(!problems.to_string().is_empty());
            assert!(!problems.render("hostile.yaml", text, false).is_empty());
            problems.iter().map(|one| one.code.to_owned()).collect()
        }
    }
}

fn head(steps: &str) -> String {
    format!("longshore: v1\nname: hostile\nsteps:\n{steps}")
}

fn expression(expression: &str) -> String {
    head(&format!("  - set:\n      x: \"${{{{ {expression} }}}}\"\n"))
}

#[test]
fn too_large_texts_and_too_many_steps_are_refused() {
    assert_eq!(codes(&head(&"# padding\n".repeat(1024 * 1024))), ["LS0001"], "10 MB");
    let steps = codes(&head(&"  - call: a/b\n".repeat(10_000)));
    assert_eq!(steps, ["LS0117"], "10,000 steps");
    let many = head(&"  - call: a/b\n".repeat(1_000));
    assert_eq!(codes(&many), [""; 0], "1,000 steps are fine");
}

#[test]
fn too_deep_nesting_is_refused() {
    let block: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let groups: String = (0..200).map(|depth| format!("{}- parallel:\n", "    ".repeat(depth))).collect();
    let texts = [
        format!("x-a: {}", "[".repeat(1_000)),
        format!("x-a: {}", "{a: ".repeat(1_000)),
        format!("{}1{}", "{\"a\":".repeat(1_000), "}".repeat(1_000)),
        format!("{}1{}", "[".repeat(100), "]".repeat(100)),
        block,
        "- ".repeat(1_000),
        "? ".repeat(1_000),
        head(&groups),
    ];
    for text in texts {
        assert!(codes(&text).iter().any(|code| code == "LS0003" || code == "LS0009"), "{text:.80}");
    }
}

#[test]
fn too_long_and_too_deep_expressions_are_refused() {
    let deep = |open: &str, close: &str, times: usize| {
        expression(&format!("{}1{}", open.repeat(times), close.repeat(times)))
    };
    for times in [30, 33, 90, 500, 1_000] {
        let texts = [
            deep("(", ")", times),
            deep("[", "]", times),
            deep("{'a':", "}", times),
            deep("size(", ")", times),
            deep("[1].map(x,", ")", times),
            deep("-", "", times),
            deep("!", "", times),
            deep("true?1:", "", times),
            deep("1+", "", times),
            deep("true&&", "", times),
            deep("(", "", times),
            deep("{[(", "", times),
            deep("!-", "", times),
            deep("?:", "", times),
            expression(&format!("inputs{}", ".a".repeat(times))),
            expression(&format!("inputs{}", "[0]".repeat(times))),
            expression(&format!("inputs{}", ".size()".repeat(times))),
            expression(&format!("default(inputs{}, 1)", ".a".repeat(times))),
            expression(&format!("{}inputs.a{}", "default(inputs.a, ".repeat(times), ")".repeat(times))),
        ];
        for text in texts {
            codes(&text);
        }
    }
    let texts = [
        expression(&"1 + ".repeat(2_000)),
        expression(&"a".repeat(100_000)),
        head(&format!("  - set:\n      x: \"{}\"\n", "${{ 1 }}".repeat(50_000))),
        head(&format!("  - set:\n      x: '{}'\n", "${{".repeat(100_000))),
        head(&format!("  - if: {}\n    call: a/b\n", "(".repeat(100_000))),
    ];
    for text in texts {
        codes(&text);
    }
}

#[test]
fn invalid_expressions_count_towards_the_limit_of_expressions() {
    const MOST_BYTES: usize = 256 * 1024;
    let file = |expression: &str, count: usize| {
        let step = format!("  - set:\n      x: \"${{{{{expression}}}}}\"\n");
        compile(&head(&step.repeat(count))).expect_err("it has too many expressions")
    };
    // The slowest to parse of those that are wrong. Each that is parsed is one problem, and so is the bound.
    let wrong = "(".repeat(30) + &"1 +".repeat(1_000);
    let parsed = MOST_BYTES / wrong.len();
    assert_eq!(file(&wrong, 250).count(), (parsed + 1, 0));
    assert_eq!(file(&wrong, 300).count(), (parsed + 1, 0));
    // Right ones are no problem, so only the bound is one.
    let right = format!("[{}1]", "1,".repeat(1_500));
    assert_eq!(file(&right, 250).count(), (1, 0));
}

#[test]
fn long_chains_of_steps_and_references_compile() {
    let mut steps = String::from("  - id: s0\n    call: a/b\n");
    for number in 1..1_000 {
        let refers = format!("${{{{ steps.s{}.output }}}} ${{{{ steps.s0.output.x }}}}", number - 1);
        steps.push_str(&format!("  - id: s{number}\n    set: {{ x: '{refers}' }}\n"));
    }
    assert_eq!(codes(&head(&steps)), [""; 0]);
    let circle: String = (0..1_000)
        .map(|number| format!("  - id: s{number}\n    needs: [s{}]\n    call: a/b\n", (number + 1) % 1_000))
        .collect();
    assert_eq!(codes(&head(&circle)), ["LS0111"]);
}

#[test]
fn problems_on_one_long_line_have_short_excerpts() {
    let keys: String = (0..40_000).map(|number| format!(",\"unknown{number}\": 1")).collect();
    let text = format!("{{\"longshore\": \"v1\", \"name\": \"long\", \"steps\": []{keys}}}");
    assert_eq!(codes(&text).len(), 50);
}

#[test]
fn control_characters_of_a_text_do_not_reach_the_terminal() {
    let text = "longshore: v1\nname: evil\n\"\\e[31m\\x07key\": 1\nsteps:\n  - call: \"\\e]0;x\\x07\"\n";
    let problems = compile(text).expect_err("it has an unknown key");
    let shown = format!("{problems}{}", problems.render("evil.yaml", text, false));
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
}

/// A valid text with most parts of the language, to be damaged.
const SOUND: &str = r#"longshore: v1
name: sound
description: "ünïcode and \u00e9scapes"
inputs: { url: { type: string, required: true }, n: { type: integer, default: 3 } }
defaults: { timeout: 10s, retry: { attempts: 2, errors: [any] } }
steps:
  - id: fetch
    call: web/fetch
    with:
      url: ${{ inputs.url }}
      text: |
        several ${{ inputs.n + 1 }}
        lines
  - id: both
    parallel:
      - id: left
        if: "!cancelled() && steps.fetch.output.ok"
        set: { a: "${{ default(steps.fetch.output.a.b, [1].map(x, x + 1)) }}" }
      - id: right
        needs: [left]
        call: llm/summarize
        idempotency-key: k-${{ run.id }}
  - if: always()
    set: { b: "${{ steps.both.output }}" }
outputs:
  c: ${{ steps.left.output.a }}
"#;

#[test]
fn undamaged_text_compiles() {
    assert_eq!(codes(SOUND), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_text_is_answered(text in "\\PC{0,300}") {
        codes(&text);
    }

    #[test]
    fn text_of_the_right_letters_is_answered(text in "[-a-c:{}\\[\\]\"'$&*!|>?#,. \n\t\\\\0-9]{0,300}") {
        codes(&text);
        codes(&head(&text));
        codes(&format!("{{{text}"));
    }

    #[test]
    fn arbitrary_expressions_are_answered(text in "[-a-c.?:(){}\\[\\]'+*/%<>=!&|, 0-9]{0,200}") {
        codes(&expression(&text.replace('"', "'")));
        codes(&head(&format!("  - set: {{}}\n    if: |\n      {text}\n")));
    }

    #[test]
    fn damaged_text_is_answered(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..20, "[-a-c:{}\\[\\]\"'$ \n.é]{0,6}"), 1..6),
    ) {
        let mut text: Vec<char> = SOUND.chars().collect();
        for (at, length, insert) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, insert.chars());
        }
        codes(&text.into_iter().collect::<String>());
    }
}
