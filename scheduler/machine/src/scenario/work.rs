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
fn a_record_begins_what_its_budget_allows_and_the_next_one_continues() {
    let mut scenario = Scenario::of(&workflow());
    // Each step exhausts the budget of a record, and is evaluated with one of its own.
    assert_eq!(scenario.input("submit"), "evaluate s0#1");
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
