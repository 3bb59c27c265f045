//! Values: scalars that YAML changes, exact numbers, optional arguments, booleans, and outputs of skipped steps.

use serde_json::json;

use crate::cases::folder::{Case, WORKFLOW};

#[tokio::test]
async fn each_scalar_that_yaml_changes_is_a_warning() {
    let case = Case::of("25-scalars");
    let ended = case.run(WORKFLOW).await.expecting(0);
    let changed =
        ["02142", "1234e8", "296e115", "1.10", "12345678901234567890123", "0x1F", "+491701234567", ".5"];
    for scalar in changed {
        assert!(ended.stderr.contains(&format!("`{scalar}` is read as the number")), "{scalar}: {ended}");
        assert!(
            ended.stderr.contains(&format!("write `\"{scalar}\"`, with the quotes")),
            "{scalar}: {ended}"
        );
    }
    assert_eq!(ended.stderr.matches("warning[LS0501]").count(), changed.len(), "{ended}");
    let kept = json!(["2026-11-27", "12:30", "NO", "yes", "1_000"]);
    let found = ended.json();
    let a = &found["a"];
    assert_eq!(json!([a["day"], a["time"], a["country"], a["flag"], a["under"]]), kept, "text stays text");
}

#[tokio::test]
async fn number_instead_of_text_is_refused_with_the_quotes() {
    let case = Case::of("25-scalars");
    case.run("labels.yaml").await.expecting(3).saying(&["write `\"1.10\"`", "write `\"007\"`"]);
    case.run("typed.yaml").await.expecting(3).saying(&["the default is a number", "write `\"01234\"`"]);
}

#[tokio::test]
async fn numbers_are_exact() {
    let case = Case::of("27-numbers");
    let expected = json!({
        "text": "day=20200219 n=20200219 id=1285704473650888702 rate=0.00001 any=none",
        "n": 20_200_219,
        "id": 1_285_704_473_650_888_702_u64,
        "plus": 1_285_704_473_650_888_703_u64,
        "avg": 3.5,
        "third": 1.0 / 3.0,
        "big": 1e22,
        "whole": 4.0,
        "intdiv": 3,
        "money": 0.1 + 0.2,
        "str": "1000000000000000000000 0.00001 100000",
    });
    assert_eq!(case.outputs().await, json!({ "a": expected }));
    let refused: [(&[&str], &str); 4] = [
        (&["-i", "n=12345678901234567890123"], "input `n`"),
        (&["-i", "id=9223372036854775808"], "a whole number of at most 64 bits"),
        (&["-i", "id=1e3"], "a whole number of at most 64 bits"),
        (&["-i", "n=1,5"], "input `n` wants a number, and this is `\"1,5\"`"),
    ];
    for (inputs, words) in refused {
        case.running(WORKFLOW, inputs).run().await.expecting(3).saying(&[words]);
    }
    let found = case.running(WORKFLOW, &["-i", "n= 5", "-i", "any=296e115"]).run().await.expecting(0).json();
    let text = found.pointer("/a/text").and_then(|text| text.as_str()).expect("a text");
    assert!(text.contains(" n=5 ") && text.ends_with("any=296e115"), "text stays as it was given: {text}");
}

#[tokio::test]
async fn number_of_an_answer_that_loses_digits_is_in_its_attempt_and_causes_a_warning() {
    let case = Case::of("27-numbers");
    let words =
        ["an answer of the server has the number 12345678901234567890123", "its last digits are lost"];
    for tool in ["s/big", "s/big_text"] {
        case.servers(&["call", tool]).await.expecting(0).saying(&words);
    }
    let ended = case.run("big.yaml").await.expecting(0);
    assert_eq!(ended.stderr.matches(words[0]).count(), 1, "once for each connection: {ended}");
    let run = case.newest().await;
    let rounded: Vec<_> = run.steps.iter().map(|step| step.attempts[0].rounded.as_deref()).collect();
    assert_eq!(rounded, [Some("12345678901234567890123"); 2]);
    let quiet = case.servers(&["call", "s/echo", r#"{"n": 18446744073709551615}"#]).await.expecting(0);
    assert!(!quiet.stderr.contains(words[0]), "{quiet}");
}

#[tokio::test]
async fn numbers_of_an_answer_are_passed_on_as_they_came() {
    let case = Case::of("27-numbers");
    let exact = json!({
        "list": [u64::MAX, i64::MIN, 9_007_199_254_740_993_u64],
        "floats": [0.1, 0.1 + 0.2, 5e-324, f64::MAX, 1e22, 1.0, -0.0],
    });
    let ended = case.run("passed.yaml").await.expecting(0);
    let text = r#"{"big": 12345678901234567890123}"#;
    let passed = json!({ "all": exact, "text": text, "one": u64::MAX });
    assert_eq!(ended.json(), json!({ "a": exact, "b": passed }));
    assert!(ended.stdout.contains("-0.0") && ended.stdout.contains("1.0,"), "{ended}");
    assert!(!ended.stderr.contains("digits"), "a text is passed on as it is: {ended}");
}

#[tokio::test]
async fn optional_argument_is_passed_or_left_out() {
    let case = Case::of("31-optional-arg");
    for file in [WORKFLOW, "optional.yaml"] {
        let found = case.running(file, &["-i", "q=cats"]).run().await.expecting(0).json();
        assert_eq!(found, json!({ "a": { "q": "cats" } }), "{file}");
        let found = case.running(file, &["-i", "q=cats", "-i", "limit=3"]).run().await.expecting(0).json();
        assert_eq!(found, json!({ "a": { "q": "cats", "limit": 3 } }), "{file}");
    }
    let nested = case.run("nested.yaml").await.expecting(0).json();
    assert_eq!(nested, json!({ "a": { "f": { "q": "x" } } }));
}

#[tokio::test]
async fn wrong_spelling_of_an_optional_argument_is_refused_with_the_right_one() {
    let case = Case::of("31-optional-arg");
    let words = ["the input `limit` was not given; `inputs.?limit` by itself leaves its key out"];
    case.running("plain.yaml", &["-i", "q=cats"]).run().await.expecting(20).saying(&words);
    let words = ["whole.yaml:9:11", "`with` must be a map", "write each argument by its name"];
    case.running("whole.yaml", &["-i", "q=cats"]).run().await.expecting(3).saying(&words);
}

#[tokio::test]
async fn only_true_and_false_are_booleans() {
    let case = Case::of("32-booleans");
    let found = case.running(WORKFLOW, &["-i", "deploy=false"]).run().await.expecting(0).json();
    assert_eq!(found, json!({ "a": "skipped", "b": "skipped" }));
    for value in ["False", "FALSE", "0", "no", "off", "\"false\"", ""] {
        let input = format!("deploy={value}");
        let words = ["input `deploy` wants true or false", "write `true` or `false`"];
        case.running(WORKFLOW, &["-i", &input]).run().await.expecting(3).saying(&words);
    }
}

#[tokio::test]
async fn condition_that_is_not_a_boolean_is_an_error() {
    let case = Case::of("32-booleans");
    let words = ["`inputs.deploy` is text, and a condition is true or false", "as in `inputs.deploy != ''`"];
    case.run("text.yaml").await.expecting(3).saying(&words);
    let words = ["always.yaml:5:18", "a condition is one expression, and here is text beside the braces"];
    case.run("always.yaml").await.expecting(3).saying(&words);
}

#[tokio::test]
async fn output_of_a_skipped_step_is_missing_and_can_have_a_default() {
    let case = Case::of("33-skipped");
    let said = "step `maybe` has no output: it was skipped, or it failed; write `default(";
    case.run(WORKFLOW).await.expecting(20).saying(&["output `m`", said]);
    for (path, value) in [("use", "skippy"), ("use2", "d")] {
        assert_eq!(case.step(path).await.output, Some(json!({ "v": value })));
    }
    let fault = case.step("use3").await.error.expect("a fault");
    assert!(fault.message.contains(said), "{fault}");
}
