//! Large values: steps and outputs that read or give one wait for an evaluation by the leader.

use super::{Scenario, check};

const READS: &str = "
steps:
  - { id: a, call: s/t }
  - { id: b, call: s/t, needs: [] }
  - { id: c, call: s/t, needs: [a, b], with: { first: '${{ steps.a.output.rows[0] }}' } }
  - { id: d, call: s/t, needs: [c], if: always() }
";

#[test]
fn a_step_that_reads_a_large_value_waits_for_its_evaluation() {
    check(
        READS,
        r#"
        submit                   -> dispatch a#1, dispatch b#1
        keep rows {"rows": [7]}  -> nothing
        settle a#1 large rows    -> nothing
        settle b#1 output 1      -> evaluate c#1
        resume                   -> evaluate c#1
        restart                  -> nothing
        resume                   -> evaluate c#1
        evaluate c#1             -> dispatch c#1 {"first":7}
        again                    -> refused: the evaluation is not awaited any more
        settle c#1 output 1      -> dispatch d#1
        "#,
    );
}

#[test]
fn a_lost_value_is_a_fault_of_the_step_that_reads_it() {
    check(
        READS,
        r#"
        submit                -> dispatch a#1, dispatch b#1
        settle a#1 large rows -> nothing
        settle b#1 output 1   -> evaluate c#1
        evaluate c#1          -> dispatch d#1
        status                -> a succeeded, b succeeded, c failed, d running
        settle d#1 output 1   -> failed at c: value_lost: it is gone
        "#,
    );
}

#[test]
fn a_lost_value_that_nothing_reads_changes_nothing() {
    check(
        "steps: [{ id: a, call: s/t }, { id: b, call: s/t }]",
        r#"
        submit                -> dispatch a#1
        settle a#1 large rows -> dispatch b#1
        settle b#1 output 1   -> succeeded
        "#,
    );
}

#[test]
fn steps_that_wait_for_an_evaluation_are_decided_again_after_a_cancel() {
    check(
        "
steps:
  - { id: a, call: s/t }
  - { id: b, call: s/t, with: { rows: '${{ steps.a.output }}' } }
  - { id: c, call: s/t, needs: [a], if: always(), with: { rows: '${{ steps.a.output }}' } }
",
        r#"
        submit                -> dispatch a#1
        keep rows [1]         -> nothing
        settle a#1 large rows -> evaluate b#1, evaluate c#1
        cancel                -> evaluate c#2
        status                -> a succeeded, b skipped, c running
        evaluate c#1          -> not awaited
        evaluate c#2          -> dispatch c#1 {"rows":[1]}
        settle c#1 output 1   -> cancelled
        "#,
    );
}

#[test]
fn a_condition_and_the_outputs_may_read_large_values() {
    check(
        "
steps:
  - { id: a, call: s/t }
  - { id: g, if: size(steps.a.output) > 1, timeout: 1m, parallel: [{ id: b, call: s/t }] }
  - { id: h, if: size(steps.a.output) > 2, parallel: [{ id: c, call: s/t }] }
outputs: { rows: '${{ size(steps.a.output) }}' }
",
        r#"
        submit                -> dispatch a#1
        keep rows [1, 2]      -> nothing
        settle a#1 large rows -> evaluate g#1
        evaluate g#1          -> dispatch b#1
        settle b#1 output 1   -> evaluate h#1
        evaluate h#1          -> evaluate outputs#1
        resume                -> evaluate outputs#1
        evaluate outputs#1    -> succeeded {"rows":2}
        status                -> a succeeded, g succeeded, b succeeded, h skipped, c skipped
        "#,
    );
}

#[test]
fn a_cancel_ends_a_run_that_waits_for_its_outputs() {
    check(
        "steps: [{ id: a, call: s/t }]\noutputs: { rows: '${{ steps.a.output }}' }",
        r#"
        submit                -> dispatch a#1
        settle a#1 large rows -> evaluate outputs#1
        cancel                -> cancelled
        evaluate outputs#1    -> not awaited
        "#,
    );
}

#[test]
fn a_step_that_gives_a_large_value_is_evaluated_by_the_leader_and_stored() {
    let text = "x".repeat(70_000);
    let mut scenario = Scenario::of(
        "inputs: { text: {} }\nsteps: [{ id: a, set: { twice: '${{ inputs.text }}' } }, { id: b, call: s/t, with: { n: \
         '${{ steps.a.output }}' } }]",
    );
    assert_eq!(scenario.input(&format!(r#"submit {{"text": "{text}"}}"#)), "evaluate a#1");
    assert_eq!(scenario.input("evaluate a#1"), "evaluate b#1");
}
