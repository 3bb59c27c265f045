//! Work of expressions: one budget for each record.

use super::{Effects, Machine, Scenario};

/// Returns a workflow in which each of eight steps costs 1.5 of the 10 million units that a record may spend: reading a pattern is
/// paid for by its text, before it is read.
fn workflow() -> String {
    let costly = |id: &str| {
        let pattern = format!("(?i){}{id}", r"\\.".repeat(7));
        format!(
            "  - {{ id: {id}, continue-on-error: true, set: {{ x: \"${{{{ 'a'.matches('{pattern}') }}}}\" }} }}\n"
        )
        .replace(r"\\", r"\\\\")
    };
    let before: String = (0..8).map(|number| costly(&format!("s{number}"))).collect();
    format!("steps:\n{before}  - {{ id: c, call: s/t }}\n{}", costly("after"))
}

#[test]
fn the_expressions_of_one_record_share_a_budget_and_the_next_record_has_its_own() {
    let mut scenario = Scenario::of(&workflow());
    assert_eq!(scenario.input("submit"), "dispatch c#1");
    let view = scenario.machine.view(scenario.run).expect("the run");
    let failed: Vec<_> = view.steps.iter().filter(|step| step.error.is_some()).collect();
    assert_eq!(failed.iter().map(|step| step.path.as_str()).collect::<Vec<_>>(), ["s6", "s7"]);
    let fault = failed[0].error.as_ref().expect("a fault");
    assert!(fault.message.contains("does too much work"), "{fault:?}");
    assert_eq!(scenario.input("settle c#1 output 1"), "succeeded", "`after` had a budget of its own");
}

#[test]
fn a_replay_spends_the_same() {
    let mut scenario = Scenario::of(&workflow());
    scenario.input("submit");
    let mut again = Machine::new();
    again.provide_plan(scenario.plan.digest, Ok(std::sync::Arc::clone(&scenario.plan)));
    for record in &scenario.log {
        again.apply(record, &mut Effects::new()).expect("applied");
    }
    assert_eq!(again.view(scenario.run), scenario.machine.view(scenario.run));
}
