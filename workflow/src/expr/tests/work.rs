//! The costs of expressions, and the common budget of a record.

use super::*;

/// The slowest known pattern: the automaton makes a step for each `[ab]` at every byte of the text.
const SLOW_PATTERN: &str = "inputs.ab.matches('[ab]*a[ab]{3000}z')";

fn text_of_a_and_b(bytes: usize) -> Value {
    let mut state = 1_u32;
    let characters = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 31 == 0 { 'a' } else { 'b' }
    });
    json!({ "ab": characters.take(bytes).collect::<String>(), "n": 1, "text": "an error of a kind" })
}

fn spent(text: &str, scope: &Fixed) -> u64 {
    let budget = WorkBudget::new();
    let _ = compile(text).evaluate(scope, &budget);
    budget.meter().spent()
}

#[test]
fn expressions_with_too_much_work_fail() {
    let scope = Fixed {
        inputs: json!({
            "many": (0..5_000).collect::<Vec<_>>(),
            "long": "x".repeat(1_000_000),
            "big": (0..200_000).collect::<Vec<_>>(),
        }),
        ..scope()
    };
    let fine = [
        ("size(inputs.many.filter(n, n % 2 == 0))", json!(2_500)),
        ("size(inputs.big.map(n, n + 1))", json!(200_000)),
        ("size(inputs.long + inputs.long)", json!(2_000_000)),
        ("inputs.many.exists(n, n in inputs.many)", json!(true)),
    ];
    for (text, expected) in fine {
        assert_eq!(compile(text).evaluate(&scope, &WorkBudget::new()), Ok(expected), "{text}");
    }
    let too_much = [
        "inputs.many.map(a, inputs.many.map(b, a * b))",
        "inputs.many.map(a, inputs.long)",
        "inputs.many.map(a, inputs.long + inputs.long)",
        "inputs.many.map(a, [inputs.long, {'x': inputs.long}])",
        "inputs.many.filter(a, inputs.long == inputs.long + 'x')",
        "inputs.many.filter(a, inputs.long.contains('y'))",
        "inputs.many.filter(a, size(inputs.long) > a)",
        "inputs.many.filter(a, 'x'.matches(string(a)))",
        "inputs.many.map(a, default(inputs.long, a))",
        "inputs.many.map(a, format('{0}{0}{0}', inputs.long))",
        "inputs.many.map(a, toJSON(inputs.many))",
        "inputs.many.map(a, a in inputs.big)",
        "inputs.many.filter(a, default(inputs.big, [1])[0] == a)",
        "inputs.many.map(a, inputs.many.join('-'))",
    ];
    for text in too_much {
        let error = compile(text).evaluate(&scope, &WorkBudget::with_units(1_000_000)).expect_err(text);
        assert!(error.message.starts_with("the expression does too much work"), "{error}");
    }
}

#[test]
fn match_costs_text_times_pattern_and_is_charged_before_it_is_made() {
    let scope = Fixed { inputs: text_of_a_and_b(1_000_000), ..scope() };
    // Would take a minute.
    let error = compile(SLOW_PATTERN).evaluate(&scope, &WorkBudget::new()).expect_err("too much");
    assert!(error.message.starts_with("the expression does too much work"), "{error}");
    let fine = "inputs.ab.matches('c+d?$')";
    assert_eq!(compile(fine).evaluate(&scope, &WorkBudget::new()), Ok(json!(false)));
    let scope = Fixed { inputs: text_of_a_and_b(8_000), ..scope };
    assert_eq!(compile(SLOW_PATTERN).evaluate(&scope, &WorkBudget::new()), Ok(json!(false)));
    // 8,000 bytes at 6,005 for 8 of them, the pattern itself, and a few for the values.
    assert!((6_105_000..6_107_000).contains(&spent(SLOW_PATTERN, &scope)), "{}", spent(SLOW_PATTERN, &scope));
}

#[test]
fn patterns_that_are_slow_to_parse_are_refused_without_parsing() {
    let pattern = r"(?i)[\\x{0}-\\x{10FFFF}&&\\pL]".repeat(30);
    let error = compile(&format!("'x'.matches('{pattern}')")).evaluate(&scope(), &WorkBudget::new());
    assert!(error.expect_err("too much").message.starts_with("the expression does too much work"));
    let long = Fixed { inputs: json!({ "pattern": "[a]".repeat(400_000) }), ..scope() };
    let error = compile("'x'.matches(inputs.pattern)").evaluate(&long, &WorkBudget::new());
    assert!(error.expect_err("too much").message.starts_with("the expression does too much work"));
}

#[test]
fn results_are_charged_like_arguments() {
    let scope =
        Fixed { inputs: json!({ "lists": vec![json!([]); 10_000], "json": "[".repeat(4_000) }), ..scope() };
    let once = spent("format('{0}', inputs.lists)", &scope);
    let often = spent("format('{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}', inputs.lists)", &scope);
    assert!(often > once + 9 * 10_000, "{once} and {often}");
    assert!(spent("toJSON(inputs.lists)", &scope) > spent("[inputs.lists]", &scope) + 10_000);
    assert!(spent("fromJSON(inputs.json)", &scope) > 1_000, "reading what is refused costs too");
    assert!(spent("inputs.lists", &scope) > 10_000, "and so does passing on");
}

#[test]
fn expressions_of_a_record_share_one_budget() {
    let scope = Fixed { inputs: text_of_a_and_b(2_000), ..scope() };
    let (budget, slow) = (WorkBudget::new(), compile(SLOW_PATTERN));
    let done = (0..10_000).take_while(|_| slow.evaluate(&scope, &budget).is_ok()).count();
    assert_eq!(done, 6, "1.5 million units each");
    for text in ["inputs.n", "1 + 1"] {
        let error = compile(text).evaluate(&scope, &budget).expect_err("nothing is left");
        assert!(error.message.contains("together with those that were evaluated with it"), "{error}");
    }
}

#[test]
fn thousand_usual_steps_take_a_fraction_of_the_budget() {
    let scope = Fixed { inputs: text_of_a_and_b(100), ..scope() };
    let step = [
        "inputs.n > 0 && inputs.text.matches('error|warning')",
        "'item ' + string(inputs.n)",
        "inputs.text",
        "{'n': inputs.n, 'long': size(inputs.text) > 10}",
    ];
    let step: Vec<_> = step.iter().map(|text| compile(text)).collect();
    let budget = WorkBudget::new();
    for expr in (0..1_000).flat_map(|_| &step) {
        assert!(expr.evaluate(&scope, &budget).is_ok(), "{}", expr.source());
    }
    let spent = budget.meter().spent();
    assert!((500_000..1_000_000).contains(&spent), "{spent} units");
}
