//! Expressions in the style of other languages: each has its value, or a message that names the fix.

use std::fmt::Write as _;

use longshore_tests::scratch::step;
use serde_json::{Value, json};

use crate::cases::folder::{Case, WORKFLOW};

/// An expression and its expected outcome from `expressions.txt`.
struct ExpressionCase<'t> {
    expression: &'t str,
    outcome: &'t str,
}

impl ExpressionCase<'_> {
    /// Returns a step whose output is the value of the expression.
    fn step(&self, number: usize) -> Value {
        let value = format!("${{{{ {} }}}}", self.expression);
        json!({ "id": format!("e{number}"), "set": { "v": value }, "continue-on-error": true })
    }
}

fn expression_cases(text: &str) -> Vec<ExpressionCase<'_>> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let pairs = lines.chunks(2).map(|pair| match pair {
        [expression, outcome] => ExpressionCase { expression, outcome: outcome.trim() },
        other => panic!("an expression without an outcome: {other:?}"),
    });
    pairs.collect()
}

fn workflow(steps: Vec<Value>) -> String {
    let mut all = vec![json!({ "id": "a", "call": "s/cart", "timeout": "30s" })];
    all.extend(steps);
    let inputs = json!({ "given": { "type": "string", "default": "x" } });
    json!({ "longshore": "v1", "name": "expressions", "inputs": inputs, "steps": all }).to_string()
}

#[tokio::test]
async fn every_expression_has_its_value_or_a_message_with_the_fix() {
    let case = Case::of("28-cel-mixing");
    let text = case.read("expressions.txt");
    let all = expression_cases(&text);
    assert!(all.len() > 60, "{} expressions", all.len());
    // A refused expression would prevent the run of the others.
    let (refused, run): (Vec<_>, Vec<_>) =
        all.iter().enumerate().partition(|(_, one)| one.outcome.starts_with("refused: "));

    case.write(WORKFLOW, &workflow(run.iter().map(|(number, one)| one.step(*number)).collect()));
    case.run(WORKFLOW).await.expecting(0);
    let view = case.newest().await;
    let mut wrong = String::new();
    for (number, ExpressionCase { expression, outcome }) in run {
        let step = step(&view, &format!("e{number}"));
        let is_right = match (outcome.split_once(' '), &step.error, &step.output) {
            (Some(("gives", value)), None, Some(output)) => {
                let value: Value = serde_json::from_str(value).expect("a value in JSON");
                *output == json!({ "v": value })
            }
            (Some(("fails:", words)), Some(fault), _) => fault.message.contains(words),
            _ => false,
        };
        if !is_right {
            let _ = writeln!(wrong, "{expression}: {outcome}\n  {:?} {:?}", step.error, step.output);
        }
    }
    for (number, one) in refused {
        case.write("refused.yaml", &workflow(vec![one.step(number)]));
        let ended = case.longshore(["validate", "refused.yaml"]).run().await.expecting(3);
        let words = one.outcome.trim_start_matches("refused: ");
        if !ended.stderr.contains(words) {
            let _ = writeln!(wrong, "{}: {}\n{}", one.expression, one.outcome, ended.stderr);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test]
async fn reserved_words_of_cel_can_name_inputs_and_fields() {
    let found = Case::of("60-reserved-words").outputs().await;
    let fields = found.pointer("/fields").and_then(Value::as_array).expect("a list");
    assert_eq!((fields.len(), &fields[0]), (12, &json!("package")));
    assert_eq!(found.pointer("/inputs"), Some(&json!(vec!["given"; 12])));
    assert_eq!(found.pointer("/in_brackets"), Some(&json!(["in", "null", "true"])));
}

#[tokio::test]
async fn keywords_of_the_grammar_are_refused_with_the_bracket_notation() {
    let case = Case::of("60-reserved-words");
    let words = [
        "`in` is a word that expressions reserve",
        "write `in_`",
        "write `steps.a.output['in']` for the field `in`",
        "write `steps.a.output['null']` for the field `null`",
        "write `steps.a.output['true']` for the field `true`",
    ];
    case.longshore(["validate", "refused.yaml"]).run().await.expecting(3).saying(&words);
}
