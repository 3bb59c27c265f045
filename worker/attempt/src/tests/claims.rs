//! Deliveries that are not the first, and claims.

use longshore_proto::Job;

use super::{check, safe, unsafe_to_repeat};

#[test]
fn a_call_that_is_not_safe_to_repeat_is_claimed_first() {
    check(
        unsafe_to_repeat(),
        "
        delivered 1 => claim fetch
        claim won   => call 1
        answers 1   => settle output 1 [1 answered]
        settled     => acknowledge, claim done
        ",
    );
}

#[test]
fn the_steps_own_key_is_claimed_even_where_repeating_is_safe() {
    check(
        Job { own_key: true, ..safe() },
        "
        delivered 2    => claim fetch
        claim lapsed   => call 1
        faults unavailable maybe => wait 400ms
        retry due      => call 2
        answers 1      => settle output 1 [1 unavailable maybe, 2 answered] after a silence of w0-1-a
        settled        => acknowledge, claim done
        ",
    );
}

#[test]
fn a_call_that_vanished_with_its_worker_is_not_repeated() {
    check(
        unsafe_to_repeat(),
        "
        delivered 2  => claim fetch
        claim lapsed => settle indeterminate unavailable: worker w0-1-a claimed this call and did not report it; the call may have happened, and is not repeated because the step does not say that it is safe (`retry`) [] after a silence of w0-1-a
        settled      => acknowledge, claim done
        ",
    );
}

#[test]
fn a_call_whose_store_of_claims_no_longer_knows_its_worker_names_none() {
    check(
        unsafe_to_repeat(),
        "
        delivered 2 => claim fetch
        claim lapsed without a name => settle indeterminate unavailable: the worker that claimed this call did not report it; the call may have happened, and is not repeated because the step does not say that it is safe (`retry`) [] after a silence
        ",
    );
}

#[test]
fn a_claim_that_a_younger_store_may_have_lost_is_in_doubt() {
    let lost = "settle indeterminate unavailable: the worker that claimed this call did not report it; the call may \
                have happened, and is not repeated because the step does not say that it is safe (`retry`) [] after a silence";
    for (born, then) in [("5000", "call 1"), ("5001", lost), ("90000", lost)] {
        check(
            unsafe_to_repeat(),
            &format!(
                "
                delivered 2, queued at 6000 => claim fetch
                claim won    => ask since when there are claims
                born at {born} => {then}
                "
            ),
        );
    }
}

#[test]
fn a_first_delivery_was_claimed_by_nobody_however_young_the_store_is() {
    check(
        unsafe_to_repeat(),
        "
        delivered 1, queued at 6000 => claim fetch
        claim won => call 1
        ",
    );
    check(unsafe_to_repeat(), "delivered 2 => claim fetch\n claim won => call 1");
}

#[test]
fn a_job_that_cannot_learn_how_old_the_store_is_is_looked_at_anew() {
    check(
        unsafe_to_repeat(),
        "
        delivered 2, queued at 6000 => claim fetch
        claim won => ask since when there are claims
        broken    => give back for 5s, releasing the claim
        ",
    );
}

#[test]
fn a_call_that_is_done_is_not_made_again_and_the_step_does_not_wait_for_its_outcome() {
    check(
        unsafe_to_repeat(),
        "
        delivered 1 => claim fetch
        claim done  => settle indeterminate unavailable: an earlier attempt made this call, and its report came too late to count; the call may have happened, and is not repeated []
        settled     => acknowledge
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 2, recalled => claim fetch
        claim done  => settle indeterminate unavailable: an earlier attempt made this call, and its report came too late to count; the call may have happened, and is not repeated []
        broken      => give back for 5s
        ",
    );
}

#[test]
fn a_call_that_another_worker_is_making_is_left_alone_for_a_bounded_time() {
    for (until, delay) in [(15_000, "5s"), (10_000, "1s"), (9_000_000, "30s")] {
        check(
            unsafe_to_repeat(),
            &format!(
                "
                delivered 9             => claim fetch
                claim busy until {until} => give back for {delay}
                "
            ),
        );
    }
}

#[test]
fn a_worker_that_had_the_job_and_said_nothing_is_reported_by_the_next_one() {
    check(
        safe(),
        "
        delivered 2 => call 1
        answers 1   => settle output 1 [1 answered] after a silence
        ",
    );
    // Whoever had it let go of the claim, and so made no call.
    check(
        unsafe_to_repeat(),
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
        delivered 11 => settle fault internal: poison: delivered 11 times, and no worker came to an end [] after a silence
        settled     => acknowledge
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 11 => claim fetch
        claim won   => settle indeterminate internal: poison: delivered 11 times, and no worker came to an end []
        settled     => acknowledge, claim done
        ",
    );
}

#[test]
fn without_a_backend_the_job_goes_back_and_the_claim_only_if_nothing_was_called() {
    check(safe(), "delivered 1 => call 1\n broken => give back for 5s");
    check(unsafe_to_repeat(), "delivered 1 => claim fetch\n broken => give back for 5s");
    check(
        unsafe_to_repeat(),
        "
        delivered 1 => claim fetch
        claim won   => call 1
        broken      => give back for 5s, releasing the claim
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 1 => claim fetch
        claim won   => call 1
        answers 1   => settle output 1 [1 answered]
        broken      => give back for 5s
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 2  => claim fetch
        claim lapsed => settle indeterminate unavailable: worker w0-1-a claimed this call and did not report it; the call may have happened, and is not repeated because the step does not say that it is safe (`retry`) [] after a silence of w0-1-a
        broken       => give back for 5s
        ",
    );
}
