//! Starts of steps: order, `needs`, groups, conditions, values.

use super::check;

const CHAIN: &str = "
inputs:
  n: { type: integer, default: 1 }
steps:
  - id: fetch
    call: web/fetch
    with: { n: '${{ inputs.n }}' }
  - id: parse
    call: web/parse
    with: { text: '${{ steps.fetch.output.text }}' }
outputs:
  parsed: ${{ steps.parse.output }}
";

#[test]
fn steps_run_from_top_to_bottom_and_pass_values_on() {
    check(
        CHAIN,
        r#"
        submit {"n": 7}                          -> dispatch fetch#1 {"n":7}
        settle fetch#1 output {"text": "hello"}  -> dispatch parse#1 {"text":"hello"}
        settle parse#1 output ["h", 5]           -> succeeded {"parsed":["h",5]}
        "#,
    );
}

#[test]
fn a_step_has_one_outcome_and_later_ones_change_nothing() {
    check(
        CHAIN,
        r#"
        submit                                   -> dispatch fetch#1 {"n":1}
        again                                    -> refused: the run was submitted before
        settle fetch#1 output {"text": "first"}  -> dispatch parse#1 {"text":"first"}
        settle fetch#1 output {"text": "second"} -> refused: the step has its outcome
        settle fetch#1 fault timeout             -> refused: the step has its outcome
        settle nosuch#1 output 1                 -> refused: the run has no such step
        settle parse#1 output 1                  -> succeeded {"parsed":1}
        settle parse#1 output 2                  -> refused: no such run, or it has ended
        again                                    -> refused: no such run, or it has ended
        "#,
    );
}

#[test]
fn members_of_a_group_start_together_and_the_next_step_waits_for_all() {
    check(
        "
steps:
  - parallel:
      - { id: a, call: s/t }
      - { id: b, call: s/t }
  - id: sum
    set: { both: '${{ [steps.a.output, steps.b.output] }}' }
outputs: { both: '${{ steps.sum.output.both }}' }
",
        r#"
        submit              -> dispatch a#1, dispatch b#1
        settle b#1 output 2 -> nothing
        settle a#1 output 1 -> succeeded {"both":[1,2]}
        "#,
    );
}

#[test]
fn needs_replaces_the_step_above() {
    check(
        "
steps:
  - { id: a, call: s/t }
  - { id: b, call: s/t, needs: [] }
  - { id: c, call: s/t, needs: [a] }
  - { id: d, call: s/t, needs: [b, c] }
",
        r#"
        submit              -> dispatch a#1, dispatch b#1
        settle a#1 output 1 -> dispatch c#1
        settle c#1 output 1 -> nothing
        settle b#1 output 1 -> dispatch d#1
        settle d#1 output 1 -> succeeded
        "#,
    );
}

#[test]
fn a_false_condition_skips_a_step_and_the_run_continues() {
    check(
        "
steps:
  - { id: a, call: s/t }
  - { id: b, call: s/t, if: steps.a.output > 5 }
  - { id: c, set: { b: '${{ steps.b.status }}' } }
outputs: { b: '${{ steps.c.output.b }}' }
",
        r#"
        submit              -> dispatch a#1
        settle a#1 output 3 -> succeeded {"b":"skipped"}
        "#,
    );
}

#[test]
fn a_skipped_group_skips_its_members() {
    check(
        "
inputs: { go: { type: boolean, default: false } }
steps:
  - if: inputs.go
    parallel:
      - { id: a, call: s/t }
      - parallel:
          - { id: b, call: s/t }
  - { id: c, call: s/t }
",
        r#"
        submit              -> dispatch c#1
        status              -> #1 skipped, a skipped, #3 skipped, b skipped, c running
        settle c#1 output 1 -> succeeded
        "#,
    );
}

#[test]
fn after_a_failure_only_steps_that_ask_for_it_run() {
    check(
        "
steps:
  - { id: a, call: s/t }
  - { id: b, call: s/t }
  - { id: repair, call: s/t, if: failure(), with: { why: '${{ run.error.class }}' } }
  - { id: clean, call: s/t, if: always() }
  - { id: last, call: s/t }
",
        r#"
        submit                     -> dispatch a#1
        settle a#1 fault tool_error -> dispatch repair#1 {"why":"tool_error"}
        settle repair#1 output 1     -> dispatch clean#1
        settle clean#1 output 1    -> failed at a: tool_error: test
        "#,
    );
}

#[test]
fn a_run_waits_for_calls_beside_a_failure() {
    check(
        "
steps:
  - { id: a, call: s/t }
  - { id: b, call: s/t, needs: [] }
  - { id: c, call: s/t, needs: [b] }
",
        r#"
        submit                  -> dispatch a#1, dispatch b#1
        settle a#1 fault timeout -> nothing
        settle b#1 output 1     -> failed at a: timeout: test
        "#,
    );
}

#[test]
fn continue_on_error_lets_the_run_continue() {
    check(
        "
steps:
  - { id: a, call: s/t, continue-on-error: true }
  - { id: b, set: { was: '${{ steps.a.status }}', why: '${{ steps.a.error.class }}' } }
outputs: { b: '${{ steps.b.output }}' }
",
        r#"
        submit                      -> dispatch a#1
        settle a#1 fault tool_error -> succeeded {"b":{"was":"failed","why":"tool_error"}}
        "#,
    );
}

#[test]
fn a_failed_member_fails_its_group_and_the_run_names_the_member() {
    check(
        "
steps:
  - parallel:
      - { id: a, call: s/t }
      - { id: b, call: s/t }
      - { id: c, call: s/t, needs: [a] }
  - { id: d, call: s/t }
",
        r#"
        submit                      -> dispatch a#1, dispatch b#1
        settle a#1 fault tool_error -> nothing
        settle b#1 output 1         -> failed at a: tool_error: test
        "#,
    );
}

#[test]
fn a_group_that_may_fail_does_not_fail_the_run() {
    check(
        "
steps:
  - id: g
    continue-on-error: true
    parallel:
      - { id: a, call: s/t }
  - { id: d, set: { g: '${{ steps.g.status }}' } }
outputs: { g: '${{ steps.d.output.g }}' }
",
        r#"
        submit                      -> dispatch a#1
        settle a#1 fault tool_error -> succeeded {"g":"failed"}
        "#,
    );
}

#[test]
fn an_expression_that_fails_faults_its_step() {
    check(
        "
steps:
  - { id: a, call: s/t }
  - { id: b, call: s/t, with: { n: '${{ steps.a.output.missing }}' }, continue-on-error: true }
  - { id: c, set: { class: '${{ steps.b.error.class }}' } }
outputs: { class: '${{ steps.c.output.class }}' }
",
        r#"
        submit                     -> dispatch a#1
        settle a#1 output {"n": 1} -> succeeded {"class":"expression"}
        "#,
    );
}

#[test]
fn an_indeterminate_call_fails_the_run() {
    check(
        "steps: [{ id: pay, call: bank/pay }, { id: thank, call: mail/send }]",
        r#"
        submit                            -> dispatch pay#1
        settle pay#1 indeterminate timeout -> failed at pay: timeout: test
        status                            -> pay indeterminate, thank skipped
        skipped thank                     -> `pay` is indeterminate
        "#,
    );
}

#[test]
fn values_made_of_themselves_over_and_over_end_in_a_fault() {
    let mut steps = format!("  - {{ id: s0, set: {{ a: '{}' }} }}\n", "x".repeat(100_000));
    for n in 1..40 {
        let before = format!("${{{{ steps.s{}.output }}}}", n - 1);
        steps += &format!("  - {{ id: s{n}, set: {{ l: '{before}', r: '{before}' }} }}\n");
    }
    let mut scenario = super::Scenario::of(&format!("steps:\n{steps}"));
    let mut then = scenario.input("submit");
    while let Some(step) = then.strip_prefix("evaluate ") {
        then = scenario.input(&format!("evaluate {step}"));
    }
    assert!(then.starts_with("failed at s") && then.contains("grow"), "{then}");
}

#[test]
fn values_nested_in_themselves_end_in_a_fault() {
    let mut steps = "  - { id: s0, set: { a: 1 } }\n".to_owned();
    for n in 1..200 {
        steps += &format!("  - {{ id: s{n}, set: {{ a: '${{{{ steps.s{}.output }}}}' }} }}\n", n - 1);
    }
    let mut scenario = super::Scenario::of(&format!("steps:\n{steps}"));
    let ended = scenario.input("submit");
    assert!(ended.starts_with("failed at s") && ended.contains("levels deep"), "{ended}");
}

#[test]
fn a_wide_group_goes_out_in_waves() {
    let members: String = (0..300).map(|n| format!("      - {{ id: m{n}, call: s/t }}\n")).collect();
    let mut scenario = super::Scenario::of(&format!("steps:\n  - parallel:\n{members}"));
    scenario.input("submit");
    assert_eq!(scenario.jobs.len(), super::super::advance::WINDOW);
    assert_eq!(scenario.input("settle m0#1 output 1"), "dispatch m256#1");
    while scenario.machine.live_run_count() > 0 {
        let job = scenario.jobs.remove(0);
        scenario.input(&format!("settle {}#1 output 1", job.id.step));
    }
}

#[test]
fn an_idempotency_key_that_fits_no_message_fails_its_step() {
    let workflow = "
inputs: { key: {} }
steps: [{ id: a, call: s/t, idempotency-key: '${{ inputs.key }}' }]
";
    let submit = |bytes| format!(r#"submit {{"key": "{}"}}"#, "k".repeat(bytes));
    let fits = super::Scenario::of(workflow).input(&submit(1024));
    assert_eq!(fits, "dispatch a#1");
    let long = super::Scenario::of(workflow).input(&submit(1025));
    assert_eq!(
        long,
        "failed at a: expression: `idempotency-key` gives 1025 bytes; at most 1024 can be sent along"
    );
}
