//! Claims of steps with a key of their own, and deliveries after the first.

use super::{check, safe, with_own_key};

#[test]
fn call_with_its_own_key_is_claimed_first() {
    check(
        with_own_key(),
        "
        delivered 1 => claim fetch
        claim won   => call 1
        answers 1   => settle output 1 [1 answered]
        settled     => acknowledge, claim done
        ",
    );
}

#[test]
fn call_with_a_lapsed_claim_is_repeated_because_its_key_makes_it_safe() {
    check(
        with_own_key(),
        "
        delivered 2    => claim fetch
        claim lapsed   => call 1
        faults unavailable maybe => wait 400ms
        retry due      => call 2
        answers 1      => settle output 1 [1 unavailable maybe, 2 answered] after an unreported attempt of w0-1-a
        settled        => acknowledge, claim done
        ",
    );
}

#[test]
fn lapsed_claim_without_a_holder_names_no_worker() {
    check(
        with_own_key(),
        "
        delivered 2 => claim fetch
        claim lapsed without a name => call 1
        answers 1   => settle output 1 [1 answered] after an unreported attempt
        ",
    );
}

#[test]
fn call_with_a_completed_claim_is_repeated_because_its_report_may_not_have_counted() {
    check(
        with_own_key(),
        "
        delivered 2 => claim fetch
        claim done  => call 1
        answers 1   => settle output 1 [1 answered] after an unreported attempt
        settled     => acknowledge, claim done
        ",
    );
}

#[test]
fn job_with_a_busy_claim_is_returned_for_a_bounded_time() {
    for (until, delay) in [(15_000, "5s"), (10_000, "1s"), (9_000_000, "30s")] {
        check(
            with_own_key(),
            &format!(
                "
                delivered 9             => claim fetch
                claim busy until {until} => return for {delay}
                "
            ),
        );
    }
}

#[test]
fn job_that_the_worker_may_not_claim_is_left_to_another_one() {
    check(with_own_key(), "delivered 1 => claim fetch\n claim denied => return for 2s");
}

#[test]
fn unreported_attempt_is_reported_by_the_next_worker() {
    check(
        safe(),
        "
        delivered 2 => call 1
        answers 1   => settle output 1 [1 answered] after an unreported attempt
        ",
    );
    // The earlier worker released the claim, so it made no call.
    check(
        with_own_key(),
        "
        delivered 2 => claim fetch
        claim won   => call 1
        answers 1   => settle output 1 [1 answered]
        ",
    );
}

#[test]
fn poison_is_settled_without_another_call() {
    check(
        safe(),
        "
        delivered 11 => settle fault internal: poison: delivered 11 times, and no worker reported a result [] after an unreported attempt
        settled     => acknowledge
        ",
    );
}

#[test]
fn job_is_returned_when_a_backend_fails() {
    check(safe(), "delivered 1 => call 1\n failed => return for 5s");
    check(with_own_key(), "delivered 1 => claim fetch\n failed => return for 5s");
    check(
        with_own_key(),
        "
        delivered 1 => claim fetch
        claim won   => call 1
        failed      => return for 5s, releasing the claim
        ",
    );
}
