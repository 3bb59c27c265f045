//! Tables of expressions with their values and errors.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod work;

/// A scope of fixed values.
struct Fixed {
    inputs: Value,
    steps: BTreeMap<&'static str, Value>,
    failed: bool,
    cancelled: bool,
}

impl Scope for Fixed {
    fn inputs(&self) -> Cow<'_, Value> {
        Cow::Borrowed(&self.inputs)
    }

    fn step(&self, id: &str, field: StepField) -> Option<Cow<'_, Value>> {
        self.steps.get(id)?.get(field.as_str()).map(Cow::Borrowed)
    }

    fn run(&self) -> Cow<'_, Value> {
        Cow::Owned(json!({"id": "run_00_x", "workflow": "demo", "attempt": 1}))
    }

    fn failed(&self) -> bool {
        self.failed
    }

    fn cancelled(&self) -> bool {
        self.cancelled
    }
}

fn scope() -> Fixed {
    Fixed {
        inputs: json!({
            "n": 3, "half": 0.5, "big": u64::MAX, "name": "Ada", "none": null, "flag": true,
            "items": [{"id": 1, "tag": "b"}, {"id": 2, "tag": "a"}, {"id": 3}],
            "words": ["x", "y"],
            "map": {"b": 1, "a": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7, "h": 8, "key with space": 9},
        }),
        steps: BTreeMap::from([
            (
                "a",
                json!({"output": {"n": 3, "title": "T", "list": [1, 2]}, "status": "succeeded", "attempts": 2}),
            ),
            ("skipped", json!({"status": "skipped", "attempts": 0})),
            (
                "bad",
                json!({"status": "failed", "attempts": 3, "error": {"class": "timeout", "message": "m"}}),
            ),
            (
                "text",
                json!({"output": "plain", "content": [{"type": "text"}], "status": "succeeded", "attempts": 1}),
            ),
        ]),
        failed: false,
        cancelled: false,
    }
}

fn compile(text: &str) -> Expr {
    match Expr::compile(text) {
        Ok((expr, _)) => expr,
        Err(refused) => panic!("{text}: {refused:?}"),
    }
}

fn value(text: &str) -> Result<Value, String> {
    compile(text).evaluate(&scope(), &WorkBudget::new()).map_err(|error| error.to_string())
}

#[test]
fn expressions_have_the_expected_values() {
    let cases = [
        ("1 + 2", json!(3)),
        ("inputs.n + 1", json!(4)),
        ("inputs.big", json!(u64::MAX)),
        ("inputs.big > 1u", json!(true)),
        ("inputs.n > 2.5", json!(true)),
        ("double(inputs.n) * inputs.half", json!(1.5)),
        ("'a' + \"b\"", json!("ab")),
        ("inputs.none == null", json!(true)),
        ("steps.a.output", json!({"n": 3, "title": "T", "list": [1, 2]})),
        ("steps.a.output.list[1]", json!(2)),
        ("steps.a.output['title']", json!("T")),
        ("steps.a.status == 'succeeded' && steps.a.attempts == 2", json!(true)),
        ("steps.bad.error.class", json!("timeout")),
        ("steps.text.content[0].type", json!("text")),
        ("steps.a == steps.a", json!(true)),
        ("size(steps.a)", json!(3)),
        ("run.workflow + '/' + run.id", json!("demo/run_00_x")),
        ("inputs.items.filter(i, i.id > 1).map(i, i.id)", json!([2, 3])),
        ("inputs.items.map(i, i.id > 1, i.id * 10)", json!([20, 30])),
        ("inputs.items.exists(i, i.id == 2)", json!(true)),
        ("inputs.items.all(i, i.id > 0)", json!(true)),
        ("inputs.items.exists_one(i, i.id == 2)", json!(true)),
        ("inputs.items.map(i, has(i.tag))", json!([true, true, false])),
        ("inputs.items.map(i, default(i.tag, '-'))", json!(["b", "a", "-"])),
        ("inputs.words.map(a, inputs.words.map(b, a + b))", json!([["xx", "xy"], ["yx", "yy"]])),
        ("{'b': 1, 'a': [true, null]}", json!({"a": [true, null], "b": 1})),
        ("{1: 'one', true: 'yes'}", json!({"1": "one", "true": "yes"})),
        ("[1, 2.5, 'x', null]", json!([1, 2.5, "x", null])),
        ("has(inputs.n)", json!(true)),
        ("has(inputs.nothing)", json!(false)),
        ("has(steps.skipped.output)", json!(false)),
        ("has(steps.a.output.title)", json!(true)),
        ("default(inputs.nothing, 7)", json!(7)),
        ("default(inputs.n, 7)", json!(3)),
        ("default(inputs.none, 7)", json!(null)),
        ("default(steps.skipped.output.a.b, 'x')", json!("x")),
        ("default(steps.a.output.title, steps.skipped.output.title)", json!("T")),
        ("default(steps.a.output.list[5], -1)", json!(-1)),
        ("default(steps.a.output.list[1], -1)", json!(2)),
        ("default(steps.skipped.output.x, default(inputs.nothing, 'deep'))", json!("deep")),
        ("default(fromJSON('{\"a\": {\"b\": 1}}').a.b, 0)", json!(1)),
        ("default(inputs.map['key with space'], 0)", json!(9)),
        ("steps.a.output.?title.orValue('x')", json!("T")),
        ("steps.a.?output.?nothing.orValue('x')", json!("x")),
        ("steps.skipped.?output.hasValue()", json!(false)),
        ("optional.of(1).value()", json!(1)),
        ("inputs.flag ? 'yes' : 'no'", json!("yes")),
        ("steps.bad.status == 'failed' || steps.skipped.output.x", json!(true)),
        ("size(inputs.words) + size('äb') + inputs.words.size()", json!(6)),
        ("contains('hello', 'ell') && 'hello'.contains('ell')", json!(true)),
        ("contains(inputs.words, 'y')", json!(true)),
        ("contains(inputs.map, 'a')", json!(true)),
        ("'z' in inputs.words", json!(false)),
        ("'a' in inputs.map", json!(true)),
        ("startsWith('hello', 'he') && 'hello'.endsWith('lo')", json!(true)),
        ("join(inputs.words, '-') + inputs.words.join()", json!("x-yx,y")),
        ("[1, 'a', null, [2]].join(' ')", json!("1 a null [2]")),
        ("format('{0} of {1}: {{{0}}}', inputs.n, 'x')", json!("3 of x: {3}")),
        ("toJSON(steps.a.output.list)", json!("[1,2]")),
        ("fromJSON('{\"a\": [1, 2.5]}').a", json!([1, 2.5])),
        ("'abc123'.matches('^[a-z]+[0-9]+$')", json!(true)),
        ("matches('x', 'y')", json!(false)),
        ("int('42') + int(2.9)", json!(44)),
        ("string(1.5) + string(true) + string(7)", json!("1.5true7")),
        ("type(1) == int && type('x') == string", json!(true)),
        ("-inputs.n", json!(-3)),
        ("7 / 2", json!(3)),
        ("7 % 4", json!(3)),
        ("2 in [1, 2] && !(3 in [1, 2])", json!(true)),
        ("success()", json!(true)),
        ("failure() || cancelled()", json!(false)),
        ("always()", json!(true)),
        ("'${{ not again }}'", json!("${{ not again }}")),
    ];
    for (text, expected) in cases {
        assert_eq!(value(text), Ok(expected), "{text}");
    }
}

#[test]
fn errors_name_what_broke_the_expression() {
    let cases = [
        "steps.a.output.n + 1.5",
        "1.5 * steps.a.output.n",
        "inputs.big + 1",
        "'n: ' + inputs.n",
        "inputs.none + 1",
        "inputs.name - 1",
        "'list: ' + steps.a.output.list",
        "inputs.n > 'x'",
        "steps.a.output.titel",
        "steps.a.output.title.x",
        "steps.a.output.list.x",
        "steps.skipped.output.x",
        "steps.skipped.output",
        "steps.a.error.message",
        "inputs.nothing",
        "run.error.message",
        "double('x')",
        "bool('yes')",
        "inputs.items.map(i, i.tag)",
        "inputs.items.map(i, i.id + 0.5)",
        "steps.a.output.list[7]",
        "steps.a.output.list['x']",
        "steps.a.output.list[-1]",
        "steps.a.output.list.length",
        "inputs.map[2]",
        "10 % 3.0",
        "inputs.n * 1.5 + inputs.n",
        "inputs.name && true",
        "!steps.a.output.list",
        "inputs.items[1.5]",
        "[1] + inputs.map",
        "[1] + {'a': 1}",
        "1 / 0",
        "1 % 0",
        "9223372036854775807 + 1",
        "inputs.n && true",
        "!inputs.n",
        "inputs.n ? 1 : 2",
        "inputs.n.map(x, x)",
        "size(inputs.n)",
        "int('x')",
        "fromJSON('{')",
        "fromJSON('[1, 12345678901234567890123]')",
        "fromJSON('1e400')",
        "format(inputs.name + '{0} {1}', 1)",
        "format(inputs.name + '{', 1)",
        "[{'n': 1, 'price': 1.5}].map(i, i.n + i.price)",
        "[{'n': 1, 'price': 1.5}].map(i, i.price * 2)",
        "join('x', ',')",
        "'x'.matches('(')",
        "'x'.matches('\\\\w{1000}{1000}')",
        "steps.a.?output",
        "b'x'",
        "type(1)",
        "0.0 / 0.0",
        "{null: 1}",
        "{'a': 1, 'a': 2}",
        "inputs.n.startsWith('x')",
        "1 in 2",
        "{'k1': 1, 'k2': 1, 'k3': 1, 'k4': 1, 'k5': 1, 'k6': 1, 'k7': 1, 'k8': 1, 'k9': 1, 'l1': 1, 'l2': 1}.amount",
    ];
    let said: Vec<String> = cases.iter().map(|text| value(text).expect_err(text)).collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn loops_over_maps_follow_the_order_of_the_keys() {
    let expected = json!(["a", "b", "c", "d", "e", "f", "g", "h", "key with space"]);
    for _ in 0..20 {
        assert_eq!(value("inputs.map.map(k, k)"), Ok(expected.clone()));
        assert_eq!(value("{3: 'x', 1: 'y', 2: 'z'}.map(k, k)"), Ok(json!([1, 2, 3])));
        let nested = value("[{'b': 1, 'a': 2}].map(m, m.map(k, m[k]))");
        assert_eq!(nested, Ok(json!([[2, 1]])));
    }
}

#[test]
fn status_functions_reflect_the_status_of_the_run() {
    let table = [
        // failed, cancelled, and then success(), failure(), cancelled()
        (false, false, [true, false, false]),
        (true, false, [false, true, false]),
        (false, true, [false, false, true]),
        (true, true, [false, true, true]),
    ];
    for (failed, cancelled, expected) in table {
        let scope = Fixed { failed, cancelled, ..scope() };
        let found = ["success()", "failure()", "cancelled()"]
            .map(|text| compile(text).evaluate_condition(&scope, &WorkBudget::new()).expect(text));
        assert_eq!(found, expected, "{failed} {cancelled}");
        assert!(compile("always()").evaluate_condition(&scope, &WorkBudget::new()).expect("always"));
    }
}

#[test]
fn condition_with_a_value_of_another_type_is_an_error() {
    let error = compile("steps.a.output.title")
        .evaluate_condition(&scope(), &WorkBudget::new())
        .expect_err("it is a text");
    assert_eq!(
        error.to_string(),
        "`steps.a.output.title`: a condition is true or false, and this gives text (\"T\"); compare it with something"
    );
    assert_eq!(error.value.as_deref(), Some("\"T\""));
}

#[test]
fn read_set_contains_all_fields_that_an_expression_reads() {
    let reads = |text| compile(text).reads().clone();
    let fields = |id: &str, fields: &[StepField]| (id.to_owned(), fields.iter().copied().collect());
    let all = fields("a", &StepField::ALL);
    assert_eq!(reads("toJSON(steps.a)").steps, BTreeMap::from([all.clone()]));
    assert_eq!(reads("steps.a['output']").steps, BTreeMap::from([all]));
    let some = "default(steps.a.output.x, steps.b.?error) == steps.a.status && has(steps.c.attempts)";
    let expected = [
        fields("a", &[StepField::Output, StepField::Status]),
        fields("b", &[StepField::Error]),
        fields("c", &[StepField::Attempts]),
    ];
    assert_eq!(reads(some).steps, BTreeMap::from(expected));
    assert_eq!(reads("inputs.n + 1"), ReadSet { inputs: true, ..ReadSet::default() });
    assert_eq!(reads("run.id"), ReadSet { run: true, ..ReadSet::default() });
    assert_eq!(reads("!failure()"), ReadSet { status: true, ..ReadSet::default() });
    assert_eq!(reads("['inputs'].map(inputs, inputs)"), ReadSet::default(), "a loop's own variable");
}

#[test]
fn deepest_tree_and_deepest_value_fit_the_stack() {
    let deep = (0..1_000).fold(json!(1), |inner, _| json!([inner]));
    let scope = Fixed { inputs: json!({ "deep": deep, "n": 1 }), ..scope() };
    let sum = format!("inputs.n{}", " + inputs.n".repeat(60));
    assert_eq!(compile(&sum).evaluate(&scope, &WorkBudget::new()), Ok(json!(61)));
    let lists = format!("{}inputs.n{}", "[".repeat(32), "]".repeat(32));
    assert!(compile(&lists).evaluate(&scope, &WorkBudget::new()).is_ok());
    let error =
        compile("size(inputs.deep)").evaluate(&scope, &WorkBudget::new()).expect_err("it is too deep");
    assert_eq!(error.message, "the value is nested too deeply");
    assert!(
        compile("inputs.deep").evaluate(&scope, &WorkBudget::new()).is_ok(),
        "a value that is only passed on is not converted"
    );
}

/// Returns a strategy for expressions of all forms, most of them with incompatible types.
fn any_expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "inputs",
        "inputs.n",
        "inputs.items",
        "inputs.map",
        "inputs.words",
        "inputs.none",
        "inputs.big",
        "inputs.nope",
        "steps.a",
        "steps.a.output",
        "steps.skipped.output.x",
        "steps.a.?output",
        "run.error",
        "x",
        "1",
        "0",
        "-9223372036854775808",
        "2u",
        "1.5",
        "'x'",
        "b'x'",
        "null",
        "true",
        "optional.none()",
        "[]",
        "{}",
        "success()",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(5, 24, 3, |inner| {
        let forms = prop::sample::select(vec![
            "(A) + (B)",
            "(A) - (B)",
            "(A) * (B)",
            "(A) / (B)",
            "(A) % (B)",
            "(A) == (B)",
            "(A) < (B)",
            "(A) in (B)",
            "(A) && (B)",
            "(A) || (B)",
            "!(A)",
            "-(A)",
            "(A) ? (B) : (C)",
            "(A)[B]",
            "(A)[?B]",
            "(A).f",
            "(A).?f",
            "[A, ?B, C]",
            "{A: B}",
            "{'k': A, ?'l': B}",
            "(A).map(x, B)",
            "(A).filter(x, B)",
            "(A).all(x, B)",
            "(A).exists_one(x, B)",
            "has((A).f)",
            "default(x.f, A)",
            "default(inputs.map.a, A)",
            "size(A)",
            "int(A)",
            "string(A)",
            "double(A)",
            "type(A)",
            "bytes(A)",
            "bool(A)",
            "dyn(A)",
            "uint(A)",
            "toJSON(A)",
            "fromJSON(A)",
            "join(A, B)",
            "format(A, B, C)",
            "contains(A, B)",
            "startsWith(A, B)",
            "matches(A, B)",
            "optional.of(A)",
            "optional.ofNonZeroValue(A)",
            "(A).orValue(B)",
            "(A).or(B)",
            "(A).value()",
            "(A).hasValue()",
        ]);
        (forms, inner.clone(), inner.clone(), inner)
            .prop_map(|(form, a, b, c)| form.replace('C', &c).replace('B', &b).replace('A', &a))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn compiled_expression_has_the_same_value_or_error_each_time(text in any_expression()) {
        let text = format!("[1].map(x, {text})");
        if let Ok((expr, _)) = Expr::compile(&text) {
            let once = expr.evaluate(&scope(), &WorkBudget::new());
            prop_assert_eq!(once, expr.evaluate(&scope(), &WorkBudget::new()), "the same values give the same result");
        }
    }
}

#[test]
fn numbers_at_their_limits_do_not_wrap() {
    let least = "-9223372036854775808";
    for text in [
        format!("{least} / -1"),
        format!("{least} % -1"),
        format!("-({least})"),
        format!("{least} - 1"),
        "0u - 1u".to_owned(),
    ] {
        assert!(value(&text).is_err(), "{text}");
    }
}
