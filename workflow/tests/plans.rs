//! The content of plans: order, conditions, retries, safety, templates, inputs.

#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a surprise ends the test")]

use std::borrow::Cow;
use std::time::Duration;

use longshore_proto::{Backoff, FaultClass, OnToolError, RepeatSafety, RetryPolicy};
use longshore_workflow::{
    CallStep, Condition, DEFAULT_CALL_TIMEOUT, InputProblems, Plan, RETRYABLE, Scope, StepField, StepKind,
    WorkBudget, compile, parse_inputs,
};
use serde_json::{Map, Value, json};

fn plan(keys: &str, steps: &str) -> Plan {
    let text = format!("longshore: v1\nname: demo\n{keys}\nsteps:\n{steps}");
    compile(&text).unwrap_or_else(|problems| panic!("{}", problems.render("demo.yaml", &text, false)))
}

fn call(plan: &Plan, index: usize) -> &CallStep {
    match &plan.steps[index].kind {
        StepKind::Call(call) => call,
        other => panic!("{other:?} is no call"),
    }
}

/// Returns path, parent and predecessors of each step, as text.
fn order(plan: &Plan) -> Vec<String> {
    let path = |index: &longshore_workflow::StepIndex| plan.step(*index).expect("it exists").path.to_string();
    let line = |step: &longshore_workflow::Step| {
        let after: Vec<_> = step.after.iter().map(path).collect();
        let parent = step.parent.as_ref().map(path).unwrap_or_default();
        format!("{} in [{parent}] after [{}]", step.path, after.join(" "))
    };
    plan.steps.iter().map(line).collect()
}

#[test]
fn steps_run_from_top_to_bottom_unless_needs_changes_the_order() {
    let plan = plan(
        "",
        "  - id: a
    call: x/y
  - parallel:
      - id: b
        call: x/y
      - id: c
        call: x/y
      - id: d
        needs: [b, c]
        parallel:
          - id: e
            set: { x: '${{ steps.a.output }} ${{ steps.b.output }}' }
          - call: x/y
  - call: x/y
  - id: g
    needs: [a]
    call: x/y
  - id: h
    needs: []
    call: x/y
  - id: i
    needs: [j]
    call: x/y
  - id: j
    needs: [h]
    call: x/y
",
    );
    let expected = [
        "a in [] after []",
        "#2 in [] after [a]",
        "b in [#2] after []",
        "c in [#2] after []",
        "d in [#2] after [b c]",
        "e in [d] after []",
        "#7 in [d] after []",
        "#8 in [] after [#2]",
        "g in [] after [a]",
        "h in [] after []",
        "i in [] after [j]",
        "j in [] after [h]",
    ];
    assert_eq!(order(&plan), expected);
}

#[test]
fn steps_after_a_group_can_read_the_group_and_its_members() {
    plan(
        "outputs: { x: '${{ steps.group.output }}', y: '${{ steps.inner.status }}' }",
        "  - id: group
    parallel:
      - id: deep
        parallel:
          - id: inner
            call: x/y
  - id: after
    set: { a: '${{ steps.inner.output }}', b: '${{ steps.group.output.deep.inner }}' }
  - parallel:
      - set: { c: '${{ steps.deep.output }} ${{ steps.after.output.a }}' }
",
    );
}

#[test]
fn conditions_with_a_status_function_are_explicit() {
    let plan = plan(
        "",
        "  - call: x/y
  - if: run.attempt > 1
    call: x/y
  - if: ${{ failure() && run.attempt > 1 }}
    call: x/y
  - if: false
    call: x/y
  - if: '${{ !cancelled() }} '
    call: x/y
",
    );
    let kinds: Vec<_> = plan
        .steps
        .iter()
        .map(|step| match &step.condition {
            Condition::Success => "success".to_owned(),
            Condition::SuccessAnd(expr) => format!("success and {}", expr.source()),
            Condition::Explicit(expr) => expr.source().to_owned(),
        })
        .collect();
    let expected = [
        "success",
        "success and run.attempt > 1",
        "failure() && run.attempt > 1",
        "success and false",
        "!cancelled()",
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn retry_of_zero_attempts_is_refused() {
    let text = "longshore: v1\nname: never\nsteps:\n  - { call: x/y, retry: 0 }\n";
    let problems = compile(text).expect_err("refused");
    assert!(problems.iter().any(|problem| problem.message.contains("from 1 to 1000")), "{problems}");
}

#[test]
fn only_the_step_itself_makes_a_call_safe_to_repeat() {
    let plan = plan(
        "defaults: { timeout: 10m, retry: { attempts: 5, delay: 2s } }",
        "  - call: x/y
  - call: x/y
    retry: 2
  - call: x/y
    retry: 1
  - call: x/y
    retry: 1
  - call: x/y
    retry: { delay: 1s }
  - call: x/y
    idempotency-key: k-${{ run.id }}
    timeout: 1h30m
",
    );
    let seen: Vec<_> = (0..6)
        .map(|index| {
            let call = call(&plan, index);
            (call.safety, call.retry.attempts, call.retry.delay.as_secs(), call.timeout.as_secs())
        })
        .collect();
    let expected = [
        (RepeatSafety::Unknown, 5, 2, 600),
        (RepeatSafety::Safe, 2, 2, 600),
        (RepeatSafety::Unknown, 1, 2, 600),
        (RepeatSafety::Unknown, 1, 2, 600),
        (RepeatSafety::Safe, 5, 1, 600),
        (RepeatSafety::Safe, 5, 2, 5400),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn call_without_settings_has_the_defaults() {
    let plan = plan("", "  - call: x/tools/read.file\n");
    let call = call(&plan, 0);
    assert_eq!((call.server.as_str(), call.tool.as_str()), ("x", "tools/read.file"));
    assert_eq!(call.retry, RetryPolicy::default());
    assert_eq!(call.timeout, DEFAULT_CALL_TIMEOUT);
    assert_eq!(
        (call.safety, call.on_tool_error, call.keep_content),
        (RepeatSafety::Unknown, OnToolError::Fail, false)
    );
    assert_eq!(call.with.render(&Nothing, &WorkBudget::new()), Ok(json!({})));
}

#[test]
fn retry_settings_override_the_defaults() {
    let plan = plan(
        "",
        "  - call: x/y
    on-tool-error: output
    retry: { attempts: 4, delay: 5m, backoff: linear, jitter: false, errors: [any] }
  - call: x/y
    retry: { max-delay: 1s, errors: [tool_error] }
",
    );
    let first = call(&plan, 0);
    assert_eq!(first.on_tool_error, OnToolError::Output);
    let expected = RetryPolicy {
        attempts: 4,
        delay: Duration::from_secs(300),
        backoff: Backoff::Linear,
        max_delay: Duration::from_secs(300),
        jitter: false,
        errors: RETRYABLE.into(),
    };
    assert_eq!(first.retry, expected);
    let second = &call(&plan, 1).retry;
    assert_eq!((second.attempts, second.max_delay), (3, Duration::from_secs(1)));
    assert_eq!(second.errors, [FaultClass::ToolError].into());
}

#[test]
fn raw_content_is_kept_only_if_an_expression_reads_it() {
    let plan = plan(
        "outputs: { c: '${{ toJSON(steps.c) }}' }",
        "  - id: a
    call: x/y
  - id: b
    call: x/y
    if: size(steps.a.content) > 0
  - id: c
    call: x/y
",
    );
    assert_eq!([0, 1, 2].map(|index| call(&plan, index).keep_content), [true, false, true]);
}

/// The scope of a run with inputs and without finished steps.
struct Nothing;

impl Scope for Nothing {
    fn inputs(&self) -> Cow<'_, Value> {
        Cow::Owned(json!({"n": 3, "text": "a ${{ 1 }}", "list": [1, {"b": null}], "none": null}))
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
fn templates_keep_types_and_do_not_evaluate_values_again() {
    let plan = plan(
        "inputs: { n: {}, text: {}, list: {}, none: {} }",
        r#"  - set:
      number: ${{ inputs.n }}
      list: ${{ inputs.list }}
      none: ${{ inputs.none }}
      text: ${{ inputs.text }}
      inside: "n=${{ inputs.n }} l=${{ inputs.list }} t=${{ inputs.text }} x=${{ inputs.none }}"
      block: |
        ${{ inputs.n }}
      deep: [{ a: "${{ inputs.n + 1 }}" }, 1.5, yes, true, null]
      literal: "${{ '${{' }}"
      plain: { "a b": [] }
"#,
    );
    let StepKind::Set(template) = &plan.steps[0].kind else { panic!("it is a set") };
    let expected = json!({
        "number": 3,
        "list": [1, {"b": null}],
        "none": null,
        "text": "a ${{ 1 }}",
        "inside": "n=3 l=[1,{\"b\":null}] t=a ${{ 1 }} x=null",
        "block": "3\n",
        "deep": [{"a": 4}, 1.5, "yes", true, null],
        "literal": "${{",
        "plain": {"a b": []},
    });
    assert_eq!(template.render(&Nothing, &WorkBudget::new()), Ok(expected));
    assert!(template.reads().inputs);
}

#[test]
fn plans_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    shared(&plan("", "  - call: x/y\n"));
}

fn accept(plan: &Plan, given: Value) -> Result<Value, InputProblems> {
    let Value::Object(given) = given else { panic!("inputs are an object") };
    plan.accept_inputs(given)
}

#[test]
fn all_problems_of_inputs_are_reported_and_defaults_filled_in() {
    let plan = plan(
        "description: What it does
labels: { team: a }
timeout: 1h
inputs:
  url: { type: string, required: true, description: what to fetch, format: uri }
  count: { type: integer, default: 3 }
  ratio: { type: number }
  flag: { type: boolean, default: false }
  list: { type: array }
  map: { type: object }
  any: {}",
        "  - call: x/y\n",
    );
    assert_eq!(plan.timeout, Some(Duration::from_secs(3600)));
    assert_eq!(plan.labels.get("team").map(String::as_str), Some("a"));
    let given = json!({"url": "u", "ratio": 2, "list": [], "map": {}, "any": null, "count": 2});
    let expected =
        json!({"url": "u", "ratio": 2, "list": [], "map": {}, "any": null, "count": 2, "flag": false});
    assert_eq!(accept(&plan, given), Ok(expected));
    let wrong = json!({"ulr": "u", "count": "3", "ratio": "x", "flag": 1, "list": {}, "map": [], "other": 1});
    insta::assert_snapshot!("inputs", accept(&plan, wrong).expect_err("nothing fits").to_string());
    let problems = plan.accept_inputs(Map::new()).expect_err("url is required");
    assert_eq!(problems.to_string(), "input `url` is required: what to fetch");
}

#[test]
fn null_for_an_optional_input_is_refused_with_the_advice_to_omit_it() {
    let inputs = "inputs:\n  a: { type: string }\n  b: { type: string, required: true }\n  c: { type: array, items: { type: number } }";
    let plan = plan(inputs, "  - call: x/y\n");
    let problems = accept(&plan, json!({"a": null, "b": null, "c": [null]})).expect_err("refused");
    let wanted = [
        "input `a` wants text, and this is `null`; leave it out",
        "input `b` wants text, and this is `null`; put quotes round it",
        "input `c[0]` wants a number, and this is `null`; leave it out",
    ];
    assert_eq!(problems.to_string(), wanted.join("\n"));
    let problems = accept(&plan, json!({"a": 5, "b": "x"})).expect_err("refused");
    assert_eq!(problems.to_string(), "input `a` wants text, and this is `5`; put quotes round it");
}

#[test]
fn error_about_an_empty_file_of_inputs_does_not_mention_workflows() {
    let problems = parse_inputs("# none\n").expect_err("refused").render("in.yaml", "# none\n", false);
    assert!(problems.contains("write one input a line") && !problems.contains("longshore: v1"), "{problems}");
}

#[test]
fn input_problems_beyond_the_first_twenty_are_only_counted() {
    let inputs: String = (0..2_000)
        .map(|number| format!("  a_long_name_of_an_input_{number}: {{ secret: true }}\n"))
        .collect();
    let plan =
        compile(&format!("longshore: v1\nname: demo\ninputs:\n{inputs}steps: [{{ set: {{ a: 1 }} }}]\n"));
    let plan = plan.unwrap_or_else(|problems| panic!("{problems}"));
    let given: Map<String, Value> =
        (0..9_000).map(|number| (format!("a_long_nama_of_an_input_{number}"), json!(1))).collect();
    let problems = plan.accept_inputs(given).expect_err("refused");
    assert_eq!((problems.iter().count(), problems.omitted()), (20, 8_980));
    assert!(problems.to_string().ends_with("\nand 8980 more"), "{problems}");
    assert!(problems.to_string().len() < 10_000);
    let few: Map<String, Value> = [("b".to_owned(), json!(1))].into_iter().collect();
    let inputs = "  a1: {}\n".to_owned()
        + &(2..2_000).map(|number| format!("  a{number}: {{ required: false }}\n")).collect::<String>();
    let plan =
        compile(&format!("longshore: v1\nname: demo\ninputs:\n{inputs}steps: [{{ set: {{ a: 1 }} }}]\n"));
    let plan = plan.unwrap_or_else(|problems| panic!("{problems}"));
    let problems = plan.accept_inputs(few).expect_err("refused").to_string();
    assert!(problems.contains("`a30` and 1969 more"), "{problems}");
}

#[test]
fn items_of_lists_are_checked_against_their_declared_type() {
    let plan = plan(
        "inputs:
  regions: { type: array, items: { type: string, description: a code }, default: [eu, us] }
  table: { type: array, items: { type: array, items: { type: integer } } }
  any: { type: array, items: {} }",
        "  - call: x/y\n",
    );
    let given = json!({"regions": ["apac"], "table": [[1, 2], []], "any": [1, "a", null]});
    assert_eq!(accept(&plan, given.clone()), Ok(given));
    assert_eq!(accept(&plan, json!({})), Ok(json!({"regions": ["eu", "us"]})));
    let wrong = json!({"regions": ["eu", "us", "apac", 4, 5], "table": [[1], [2, "x"]], "any": {}});
    insta::assert_snapshot!("items", accept(&plan, wrong).expect_err("nothing fits").to_string());
    let flat = accept(&plan, json!({"table": [[1], 2]})).expect_err("the second row is not a list");
    assert!(flat.to_string().starts_with("input `table[1]` wants a list, and this is `2`"), "{flat}");
}

#[test]
fn inputs_given_as_text_are_parsed_by_their_declared_type() {
    let plan = plan(
        "inputs:
  s: { type: string }
  n: { type: number }
  i: { type: integer }
  b: { type: boolean }
  a: { type: array }
  o: { type: object }
  l: { type: array, items: { type: integer } }
  u: {}",
        "  - call: x/y\n",
    );
    let read = |name: &str, text: &str| {
        let spec = plan.inputs.iter().find(|spec| spec.name == name).expect("declared");
        let given = Map::from_iter([(name.to_owned(), spec.parse_text(text).expect("no digit is lost"))]);
        let accepted = plan.accept_inputs(given).map_err(|problems| problems.to_string())?;
        Ok::<_, String>(accepted[name].clone())
    };
    let cases = [
        ("s", "12", Ok(json!("12"))),
        ("n", "1.5", Ok(json!(1.5))),
        ("i", " 12 ", Ok(json!(12))),
        ("b", "true", Ok(json!(true))),
        ("a", "[1, \"x\"]", Ok(json!([1, "x"]))),
        ("o", "{\"a\": 1}", Ok(json!({"a": 1}))),
        ("l", "[1, 2]", Ok(json!([1, 2]))),
        ("u", "[1]", Ok(json!([1]))),
        ("u", "plain text", Ok(json!("plain text"))),
        ("u", "", Ok(json!(""))),
    ];
    for (name, text, expected) in cases {
        assert_eq!(read(name, text), expected, "{name}={text}");
    }
    let refused = [
        ("n", "many"),
        ("i", "1.5"),
        ("i", "2.0"),
        ("i", "9223372036854775808"),
        ("b", "yes"),
        ("a", "a,b"),
        ("o", "[]"),
        ("l", "[1, 2.5]"),
    ];
    let said: Vec<_> = refused.map(|(name, text)| read(name, text).expect_err(text)).into();
    insta::assert_snapshot!("inputs_as_text", said.join("\n"));
}
