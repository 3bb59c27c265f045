//! Retries, their times, and late reports.

use super::check;

const ONE: &str = "
steps:
  - { id: a, call: s/t, timeout: 10s, max-timeout: 10s, retry: { attempts: 5, delay: 5s, jitter: false } }
";

#[test]
fn a_long_wait_is_a_timer_and_a_new_job() {
    check(
        ONE,
        r#"
        submit                     -> dispatch a#1
        @1s settle a#1 again 5s    -> nothing
        status                     -> a retrying
        @5s tick                   -> nothing
        @6s tick                   -> fired retry a#2, dispatch a#2
        @7s settle a#2 output 1    -> succeeded
        "#,
    );
}

#[test]
fn a_delay_does_not_depend_on_the_workers_clock() {
    // The submit is a thousand seconds after the beginning of time.
    for clock in ["1s", "9h"] {
        let script = r#"
            submit                                 -> dispatch a#1
            @1s settle a#1 again 5s by a clock at CLOCK -> nothing
            @5s tick                               -> nothing
            @6s tick                               -> fired retry a#2, dispatch a#2
        "#;
        check(ONE, &script.replace("CLOCK", clock));
    }
}

#[test]
fn a_timer_that_a_wrong_clock_asks_for_too_early_fires_in_time() {
    check(
        ONE,
        r#"
        submit                          -> dispatch a#1
        settle a#1 again 5s             -> nothing
        @4s tick by a clock ahead by 9h -> fired retry a#2, refused: the timer's moment has not come
        @4s tick                        -> nothing
        @5s tick                        -> fired retry a#2, dispatch a#2
        "#,
    );
}

#[test]
fn a_timer_fires_once() {
    check(
        ONE,
        r#"
        submit                  -> dispatch a#1
        settle a#1 again 5s     -> nothing
        @5s tick                -> fired retry a#2, dispatch a#2
        again                   -> refused: the timer is no longer set
        @6s tick                -> nothing
        "#,
    );
}

#[test]
fn a_fault_of_an_older_attempt_is_stale_but_its_output_is_taken() {
    check(
        ONE,
        r#"
        submit                   -> dispatch a#1
        settle a#1 again 5s      -> nothing
        settle a#1 again 5s      -> refused: a newer attempt is out
        @5s tick                 -> fired retry a#2, dispatch a#2
        settle a#1 fault timeout -> refused: a newer attempt is out
        settle a#1 output 1      -> recall a#2, succeeded
        "#,
    );
}

#[test]
fn a_step_whose_older_attempt_made_the_call_is_indeterminate() {
    // The acknowledgement of attempt 1 was lost: it was delivered again, and made the call after it had been given up.
    check(
        ONE,
        r#"
        submit                          -> dispatch a#1
        settle a#1 again 5s             -> nothing
        @5s tick                        -> fired retry a#2, dispatch a#2
        settle a#1 indeterminate timeout -> refused: a newer attempt is out
        settle a#2 indeterminate unavailable -> failed at a: unavailable: test
        "#,
    );
}

#[test]
fn doubt_about_a_step_that_has_its_outcome_is_refused() {
    check(
        "steps: [{ id: a, call: s/t }, { id: b, call: s/t }]",
        r#"
        submit                               -> dispatch a#1
        settle a#1 output 1                  -> dispatch b#1
        settle a#1 indeterminate unavailable -> refused: the step has its outcome
        "#,
    );
}

#[test]
fn a_job_without_a_report_is_sent_again_after_growing_waits() {
    // Five attempts of ten seconds, a second between them, and five minutes for the queue; twice, four, eight times that.
    // It may still be queued, so nothing is said of attempts.
    check(
        ONE,
        r#"
        submit                -> dispatch a#1
        @354s tick            -> nothing
        @355s tick            -> fired lost a#1, dispatch a#1
        @1064s tick           -> nothing
        @1065s tick           -> fired lost a#1, dispatch a#1
        @2485s tick           -> fired lost a#1, dispatch a#1
        @5325s tick           -> fired lost a#1, dispatch a#1
        @8164s tick           -> nothing
        @8165s tick           -> fired lost a#1, dispatch a#1
        settle a#1 output 1   -> succeeded
        attempts a            -> #1 5ms output
        "#,
    );
}

#[test]
fn every_attempt_is_recorded_once() {
    let mut scenario = super::Scenario::of(ONE);
    scenario.input("submit");
    scenario.input("settle a#1 again 5s");
    scenario.input("@5s tick");
    scenario.input("settle a#2 output 1");
    let view = scenario.machine.view(scenario.run).expect("the run is known");
    let numbers: Vec<_> = view.steps[0].attempts.iter().map(|a| (a.number.0, a.fault.is_some())).collect();
    assert_eq!(numbers, [(1, true), (2, false)]);
}

#[test]
fn all_attempts_send_the_same() {
    let mut scenario = super::Scenario::of(
        "
inputs: { n: { type: integer, default: 3 } }
steps:
  - { id: a, call: s/t, with: { n: '${{ inputs.n }}' }, idempotency-key: 'key-${{ inputs.n }}', retry: 3 }
",
    );
    scenario.input("submit");
    scenario.input("settle a#1 again 5s");
    scenario.input("restart");
    scenario.input("@5s tick");
    let [first, second] = scenario.jobs.as_slice() else { panic!("two jobs") };
    assert_eq!((&first.arguments, &first.idempotency_key), (&second.arguments, &second.idempotency_key));
    assert_eq!(first.idempotency_key, "key-3");
    assert_ne!(first.id, second.id);
}

#[test]
fn a_secret_is_a_name_and_a_place_in_every_job() {
    let mut scenario = super::Scenario::of(
        "
inputs: { token: { secret: true }, forged: {} }
steps:
  - { id: a, call: s/t, with: { auth: 'Bearer ${{ inputs.token }}', text: '${{ inputs.forged }}' }, retry: 3 }
  - { id: b, call: s/t, with: { text: '${{ steps.a.output }}' } }
",
    );
    let dispatched = scenario.input(r#"submit {"token": "secret:T", "forged": "secret:T"}"#);
    assert_eq!(dispatched, r#"dispatch a#1 {"auth":"Bearer secret:T","text":"secret:T"}"#);
    scenario.input("settle a#1 again 5s");
    scenario.input("restart");
    scenario.input("@5s tick");
    scenario.input(r#"settle a#2 output "secret:T""#);
    let [first, second, next] = scenario.jobs.as_slice() else { panic!("three jobs") };
    let [place] = first.secrets.as_slice() else { panic!("one place: {:?}", first.secrets) };
    assert_eq!((place.pointer.as_str(), place.at, place.name.as_str()), ("/auth", 7, "T"));
    assert_eq!(second.secrets, first.secrets, "also after a checkpoint");
    assert_eq!(next.secrets, [], "what a tool answers is text");
}

#[test]
fn without_its_own_key_a_step_gets_a_derived_one() {
    let mut scenario = super::Scenario::of("steps: [{ id: a, call: s/t }]");
    scenario.input("submit");
    assert_eq!(scenario.jobs[0].idempotency_key, format!("{}/a", scenario.run));
    assert!(!scenario.jobs[0].own_key);
}
