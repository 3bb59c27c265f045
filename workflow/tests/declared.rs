//! Warnings that follow from declared types: each is true of every run, and correct files have none.

#![expect(clippy::panic, reason = "a surprise ends the test")]

use std::borrow::Cow;

use longshore_workflow::{Plan, Scope, StepField, StepKind, WorkBudget, compile_and_warn};
use serde_json::{Value, json};

/// Inputs of all types. `limit` and `secret` may be absent.
const INPUTS: &str = "inputs:
  n: { type: integer, default: 2 }
  x: { type: number, default: 2.5 }
  s: { type: string, default: text }
  b: { type: boolean, default: true }
  list: { type: array, default: [1] }
  map: { type: object, default: {} }
  any: { required: true }
  limit: { type: integer }
  mode: { type: string, default: fast }
";

fn compiled(text: &str) -> (Plan, Vec<String>) {
    let (plan, warnings) = compile_and_warn(text)
        .unwrap_or_else(|problems| panic!("{}", problems.render("demo.yaml", text, false)));
    let shown = |one: longshore_workflow::Problem<'_>| {
        format!("{} {}\n  {}", one.code, one.message, one.help.unwrap_or("-"))
    };
    let warnings = warnings.iter().map(shown).collect();
    (plan, warnings)
}

fn warnings(steps: &str) -> Vec<String> {
    compiled(&format!("longshore: v1\nname: demo\n{INPUTS}steps:\n{steps}")).1
}

/// Returns the warnings about an expression that is a whole value.
fn of_expression(expression: &str) -> Vec<String> {
    let value = expression.replace('\'', "''");
    warnings(&format!("  - set: {{ v: '${{{{ {value} }}}}' }}\n"))
}

/// The scope of a run with inputs and without finished steps.
struct Inputs(Value);

impl Scope for Inputs {
    fn inputs(&self) -> Cow<'_, Value> {
        Cow::Borrowed(&self.0)
    }

    fn step(&self, _: &str, _: StepField) -> Option<Cow<'_, Value>> {
        None
    }

    fn run(&self) -> Cow<'_, Value> {
        Cow::Owned(json!({}))
    }

    fn failed(&self) -> bool {
        false
    }

    fn cancelled(&self) -> bool {
        false
    }
}

#[test]
fn warnings_about_types_are_true_for_all_values_of_the_types() {
    let types: [(&str, Vec<Value>); 6] = [
        ("string", vec![json!("a"), json!("3")]),
        ("integer", vec![json!(3), json!(-7)]),
        ("number", vec![json!(3), json!(2.5)]),
        ("boolean", vec![json!(true), json!(false)]),
        ("array", vec![json!([3]), json!([])]),
        ("object", vec![json!({"a": 3}), json!({})]),
    ];
    for sign in ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">="] {
        for ((left, of_left), (right, of_right)) in
            types.iter().flat_map(|left| types.iter().map(move |right| (left, right)))
        {
            let declared = |name, kind| format!("  {name}: {{ type: {kind}, required: true }}\n");
            let text = format!(
                "longshore: v1\nname: demo\ninputs:\n{}{}steps:\n  - set: {{ v: '${{{{ inputs.l {sign} inputs.r }}}}' }}\n",
                declared("l", left),
                declared("r", right)
            );
            let (plan, said) = compiled(&text);
            let StepKind::Set(template) = &plan.steps[0].kind else { panic!("the step sets a value") };
            let results: Vec<_> = of_left
                .iter()
                .flat_map(|left| of_right.iter().map(move |right| json!({ "l": left, "r": right })))
                .map(|inputs| {
                    template.render(&Inputs(inputs), &WorkBudget::new()).map(|value| value["v"].clone())
                })
                .collect();
            let case = format!("{left} {sign} {right}: {said:?} {results:?}");
            match said.first().map(|one| &one[..6]) {
                Some("LS0505") => assert!(results.iter().all(Result::is_err), "{case}"),
                Some("LS0506") => {
                    let constant = json!(sign == "!=");
                    assert!(results.iter().all(|one| one.as_ref().is_ok_and(|it| *it == constant)), "{case}");
                }
                Some(other) => panic!("{other}: {case}"),
                // What is not warned of works for some values.
                None if "+-*/%".contains(sign) => assert!(results.iter().any(Result::is_ok), "{case}"),
                None => {}
            }
        }
    }
}

#[test]
fn each_warning_names_the_form_that_works() {
    let expressions = [
        "inputs.n * 1.5",
        "2 + inputs.n / 2.0",
        "1.5 - inputs.n",
        "'Total: ' + inputs.n",
        "inputs.s - 1",
        "inputs.b + 1",
        "inputs.s < 3",
        "inputs.s == 3",
        "inputs.n == '2'",
        "inputs.n != 'two'",
        "'true' == inputs.b",
        "inputs.s == null",
        "inputs.limit != null",
        "inputs.list == 'a'",
        "inputs.limit",
        "inputs.limit + 1",
        "size([inputs.limit])",
        "inputs.limit > 3 ? 'a' : 'b'",
    ];
    let shown = expressions.map(|one| format!("{one}\n{}\n\n", of_expression(one).join("\n"))).concat();
    insta::assert_snapshot!(shown);
}

#[test]
fn operations_that_may_succeed_have_no_warning() {
    for expression in [
        "inputs.n * 2",
        "inputs.n * inputs.x",
        "inputs.x * 1.5",
        "double(inputs.n) * 1.5",
        "inputs.n > 1.5",
        "inputs.n == 2.0",
        "inputs.any + 1",
        "inputs.any == 'a'",
        "inputs.any == null",
        "inputs.s + 'x'",
        "inputs.list + [1]",
        "inputs.map.a == 3",
        "inputs.list[0] * 1.5",
        "inputs.?limit",
        "inputs.?limit.orValue(3) + 1",
        "default(inputs.limit, 10) + 1",
        "has(inputs.limit) ? inputs.limit : 10",
        "has(inputs.limit) && inputs.limit > 3",
        "inputs.mode == 'all' ? inputs.limit : 10",
        "inputs.?limit.hasValue() ? inputs.limit : 10",
        "'limit' in inputs ? inputs.limit + 1 : 0",
        "inputs.list.map(inputs, inputs + 1)",
        "inputs.list.map(i, i + inputs.limit)",
        "{'q': inputs.s, ?'limit': inputs.?limit}",
    ] {
        assert_eq!(of_expression(expression), [""; 0], "{expression}");
    }
    for steps in [
        "  - { if: \"inputs.mode == 'some'\", set: { v: '${{ inputs.limit }}' } }\n",
        "  - { if: has(inputs.limit), parallel: [{ set: { v: '${{ inputs.limit + 1 }}' } }] }\n",
        "  - { set: { v: '${{ has(inputs.limit) }}' } }\n  - { set: { v: '${{ inputs.limit }}' } }\n",
        "  - { set: { v: '${{ inputs[inputs.mode] }}' } }\n  - { set: { v: '${{ inputs.limit }}' } }\n",
    ] {
        assert_eq!(warnings(steps), [""; 0], "{steps}");
    }
}

#[test]
fn arguments_idempotency_keys_and_outputs_are_checked_too() {
    for steps in [
        "  - { call: x/y, with: { limit: '${{ inputs.limit }}' } }\n",
        "  - { call: x/y, with: { deep: [{ text: 'up to ${{ inputs.limit }}' }] } }\n",
        "  - { call: x/y, idempotency-key: 'k-${{ inputs.limit }}' }\n",
        "  - { set: { v: 1 } }\noutputs: { limit: '${{ inputs.limit }}' }\n",
    ] {
        let said = warnings(steps);
        assert!(said.len() == 1 && said[0].starts_with("LS0504"), "{steps}: {said:?}");
        assert!(said[0].contains("`inputs.?limit` by itself leaves its key out"), "{said:?}");
    }
}

#[test]
fn correct_files_have_no_warnings() {
    let pages = [
        include_str!("../../README.md"),
        include_str!("../../docs/language.md"),
        include_str!("../../docs/tutorial.md"),
    ];
    let blocks = pages.iter().flat_map(|page| page.split("```yaml\n").skip(1));
    let shown =
        blocks.filter_map(|block| block.split("```").next()).filter(|it| it.starts_with("longshore:"));
    let files = [
        include_str!("../../examples/hello/workflow.yaml"),
        include_str!("../../examples/sales-report/workflow.yaml"),
        include_str!("samples/summarize-article.yaml"),
    ];
    let all: Vec<&str> = shown.chain(files).collect();
    assert!(all.len() >= files.len() + pages.len(), "each page shows a workflow");
    for text in all {
        assert_eq!(compiled(text).1, [""; 0], "{text}");
    }
}
