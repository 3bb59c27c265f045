//! Takeover: effects that are derived from the state alone.

use std::time::Duration;

use longshore_proto::{Event, Retention, RunStatus};

use super::{Effects, Machine, Scenario, check};

const PAIR: &str = "
steps:
  - { id: a, call: s/t }
  - { id: b, call: s/t, needs: [], retry: 3 }
  - { id: c, call: s/t, needs: [a, b] }
";

/// The same with a first step that is safe to repeat.
const SAFE_PAIR: &str = "
steps:
  - { id: a, call: s/t, retry: 3 }
  - { id: b, call: s/t, needs: [], retry: 3 }
  - { id: c, call: s/t, needs: [a, b] }
";

#[test]
fn outstanding_jobs_are_derived_from_the_state_alone() {
    check(
        PAIR,
        r#"
        submit               -> dispatch a#1, dispatch b#1
        settle b#1 again 5s  -> nothing
        restart              -> nothing
        lead                 -> nothing
        resume               -> dispatch a#1
        @5s tick             -> fired retry b#2, dispatch b#2
        resume               -> dispatch a#1, dispatch b#2
        settle a#1 output 1  -> nothing
        settle b#2 output 1  -> dispatch c#1
        "#,
    );
}

#[test]
fn a_job_that_was_lost_with_its_process_is_an_attempt_of_its_own() {
    check(
        SAFE_PAIR,
        r#"
        submit                       -> dispatch a#1, dispatch b#1
        @1s settle b#1 again 5s      -> nothing
        @2s lead with its jobs lost  -> nothing
        @2s restart                  -> nothing
        @3s lead with its jobs lost  -> nothing
        resume                       -> dispatch a#1
        @4s sent                     -> nothing
        @6s lead with its jobs lost  -> nothing
        @7s sent                     -> nothing
        resume                       -> dispatch a#1
        @8s lead                     -> nothing
        @9s settle a#1 output 1      -> nothing
        attempts a                   -> #1 1000ms unavailable, #1 0ms unavailable, #1 5ms output
        attempts b                   -> #1 5ms unavailable
        "#,
    );
}

#[test]
fn a_worker_that_did_not_report_is_an_attempt_of_its_own_once_another_one_says_so() {
    check(
        PAIR,
        r#"
        submit                                            -> dispatch a#1, dispatch b#1
        @40s settle a#1 output 1 after no report          -> nothing
        attempts a                                        -> #1 40000ms unavailable, #1 5ms output
        @50s settle b#1 again 5s by a clock at 0s after no report -> nothing
        attempts b                                        -> #1 0ms unavailable, #1 5ms unavailable
        @55s tick                                         -> fired retry b#2, dispatch b#2
        @56s settle b#1 fault timeout after no report     -> refused: a newer attempt is out
        @60s settle b#2 output 1 after no report          -> dispatch c#1
        attempts b                                        -> #1 0ms unavailable, #1 5ms unavailable, #2 5000ms unavailable, #2 5ms output
        "#,
    );
}

#[test]
fn a_job_that_was_lost_with_its_process_is_not_noted_once_more_for_its_next_delivery() {
    check(
        SAFE_PAIR,
        r#"
        submit                                  -> dispatch a#1, dispatch b#1
        @2s lead with its jobs lost             -> nothing
        @3s sent                                -> nothing
        @9s settle a#1 output 1 after no report -> nothing
        attempts a                              -> #1 0ms unavailable, #1 5ms output
        "#,
    );
}

#[test]
fn job_that_was_lost_before_its_call_has_no_attempt_and_its_cancel_leaves_no_doubt() {
    check(
        SAFE_PAIR,
        r#"
        submit                          -> dispatch a#1, dispatch b#1
        @1s settle b#1 again 5s         -> nothing
        @2s lost a#2                    -> refused: a newer attempt is out
        @9s lost a#1                    -> nothing
        @9s lead with its jobs lost     -> nothing
        attempts a                      -> none
        resume                          -> dispatch a#1
        @10s cancel                     -> recall a#1, cancelled
        status a                        -> a cancelled
        "#,
    );
}

#[test]
fn job_that_was_lost_during_its_call_and_then_before_one_keeps_its_attempt() {
    check(
        SAFE_PAIR,
        r#"
        submit                          -> dispatch a#1, dispatch b#1
        @2s lead with its jobs lost     -> nothing
        @3s sent                        -> nothing
        @4s lost a#1                    -> nothing
        @9s lead with its jobs lost     -> nothing
        attempts a                      -> #1 0ms unavailable
        @9s cancel                      -> recall a#1, recall b#1, cancelled
        status a                        -> a cancelled
        "#,
    );
}

#[test]
fn a_worker_that_claimed_a_call_and_did_not_report_it_is_named() {
    check(
        PAIR,
        r#"
        submit                                        -> dispatch a#1, dispatch b#1
        @2s settle a#1 output 1 after no report of w7 -> nothing
        attempts a                                    -> #1 2000ms unavailable by w7, #1 5ms output
        @3s lead with its jobs lost                   -> nothing
        @4s sent                                      -> nothing
        @9s settle b#1 output 1 after no report of w8 -> dispatch c#1
        attempts b                                    -> #1 2000ms unavailable by w8, #1 5ms output
        "#,
    );
}

#[test]
fn recalled_jobs_are_recalled_again() {
    check(
        PAIR,
        r#"
        submit            -> dispatch a#1, dispatch b#1
        start a#1 by w1-1 -> grant a#1 to w1-1
        cancel            -> recall a#1, recall b#1
        restart           -> nothing
        resume            -> grant a#1 to w1-1, recall a#1, recall b#1, dispatch b#1, recall b#1
        "#,
    );
}

#[test]
fn a_finished_run_leaves_nothing_to_resume() {
    check(
        "steps: [{ id: a, call: s/t }]",
        r#"
        submit              -> dispatch a#1
        settle a#1 output 1 -> succeeded
        restart             -> nothing
        resume              -> nothing
        "#,
    );
}

#[test]
fn a_run_whose_plan_does_not_compile_waits_for_its_quarantine() {
    check(
        "steps: [{ id: a, call: s/t, retry: 3 }]",
        r#"
        submit              -> dispatch a#1
        settle a#1 again 5s -> nothing
        restart             -> nothing
        forget              -> nothing
        resume              -> append quarantine: the plan is no plan any more
        cancel              -> refused: the run cannot be read
        complete            -> false
        quarantine no plan  -> failed: internal: no plan
        complete            -> true
        "#,
    );
}

#[test]
fn a_quarantined_run_is_the_same_for_readers_that_know_its_plan_and_for_others() {
    let mut knows = Scenario::of("steps: [{ id: a, call: s/t }, { id: b, call: s/t }]");
    for line in ["submit", "settle a#1 output 1", "quarantine no plan"] {
        knows.input(line);
    }
    let mut other = Machine::new();
    other.provide_plan(knows.plan.digest, Err("no plan".to_owned()));
    for record in &knows.log {
        let _ = other.apply(record, &mut Effects::new());
    }
    assert!(other.is_complete());
    assert_eq!(other.view(knows.run), knows.machine.view(knows.run));
    assert!(other.view(knows.run).is_some_and(|view| view.summary.status == RunStatus::Failed));
}

#[test]
fn retention_of_finished_runs_is_decided_by_the_log() {
    let mut scenario = Scenario::of("steps: [{ id: a, call: s/t }]");
    let short = Retention { time: Duration::from_secs(5), ..Retention::default() };
    scenario.record(Event::Configured { retention: short });
    for line in ["submit", "settle a#1 output 1", "@4s submit"] {
        scenario.input(line);
    }
    assert_eq!(scenario.input("submit"), "refused: the run was submitted before");
    assert_eq!(scenario.input("@6s submit"), "dispatch a#1", "the run is no longer kept");
    // A program with the default, which is a week, replays the log to the same state.
    let mut again = Machine::new();
    again.provide_plan(scenario.plan.digest, Ok(std::sync::Arc::clone(&scenario.plan)));
    for record in &scenario.log {
        let _ = again.apply(record, &mut Effects::new());
    }
    assert_eq!(again.view(scenario.run), scenario.machine.view(scenario.run));
    assert_eq!(again.live_run_count(), 1);
}

#[test]
fn a_timer_of_an_older_leader_is_dropped_and_asked_for_again() {
    let mut scenario = Scenario::of(PAIR);
    scenario.input("submit");
    scenario.input("settle b#1 again 5s");
    let old = scenario.machine.epoch();
    scenario.input("lead");
    let timer = longshore_proto::Timer {
        run: scenario.run,
        kind: longshore_proto::TimerKind::Retry {
            step: "b".parse().expect("a path"),
            attempt: longshore_proto::Attempt(2),
        },
    };
    let stale = Event::Fired { epoch: old, timer };
    assert_eq!(scenario.record(stale), "refused: written by a leader that no longer leads");
    assert_eq!(scenario.input("@5s tick"), "fired retry b#2, dispatch b#2");
}
