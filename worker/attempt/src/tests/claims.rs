//! Claims, and deliveries after the first.

use longshore_proto::Job;

use super::{check, safe, unsafe_to_repeat};

#[test]
fn unsafe_call_is_claimed_first() {
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
fn safe_call_with_its_own_key_is_claimed() {
    check(
        Job { own_key: true, ..safe() },
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
fn unsafe_call_with_a_lapsed_claim_is_not_repeated() {
    check(
        unsafe_to_repeat(),
        "
        delivered 2  => claim fetch
        claim lapsed => settle indeterminate unavailable: worker w0-1-a claimed this call and did not report it; the call may have happened, and is not repeated because the step does not say that it is safe (`retry`) [] after an unreported attempt of w0-1-a
        settled      => acknowledge, claim done
        ",
    );
}

#[test]
fn lapsed_claim_without_a_holder_names_no_worker() {
    check(
        unsafe_to_repeat(),
        "
        delivered 2 => claim fetch
        claim lapsed without a name => settle indeterminate unavailable: the worker that claimed this call did not report it; the call may have happened, and is not repeated because the step does not say that it is safe (`retry`) [] after an unreported attempt
        ",
    );
}

#[test]
fn call_whose_claim_a_younger_store_may_have_lost_is_indeterminate() {
    let lost = "settle indeterminate unavailable: the worker that claimed this call did not report it; the call may \
                have happened, and is not repeated because the step does not say that it is safe (`retry`) [] after an unreported attempt";
    for (start, effect) in [("5000", "call 1"), ("5001", lost), ("90000", lost)] {
        check(
            unsafe_to_repeat(),
            &format!(
                "
                delivered 2, queued at 6000 => claim fetch
                claim won    => read the start of the claim store
                started at {start} => {effect}
                "
            ),
        );
    }
}

#[test]
fn first_delivery_does_not_depend_on_the_age_of_the_claim_store() {
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
fn job_is_returned_if_the_age_of_the_claim_store_is_not_known() {
    check(
        unsafe_to_repeat(),
        "
        delivered 2, queued at 6000 => claim fetch
        claim won => read the start of the claim store
        failed    => return for 5s, releasing the claim
        ",
    );
}

#[test]
fn completed_claim_is_settled_as_indeterminate_without_a_call() {
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
        delivered 2, recalled => claim fetch without calling
        claim done  => settle indeterminate unavailable: an earlier attempt made this call, and its report came too late to count; the call may have happened, and is not repeated []
        failed      => return for 5s
        ",
    );
}

#[test]
fn job_with_a_busy_claim_is_returned_for_a_bounded_time() {
    for (until, delay) in [(15_000, "5s"), (10_000, "1s"), (9_000_000, "30s")] {
        check(
            unsafe_to_repeat(),
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
        delivered 11 => settle fault internal: poison: delivered 11 times, and no worker reported a result [] after an unreported attempt
        settled     => acknowledge
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 11 => claim fetch
        claim won   => settle indeterminate internal: poison: delivered 11 times, and no worker reported a result []
        settled     => acknowledge, claim done
        ",
    );
}

#[test]
fn job_is_returned_when_a_backend_fails_and_its_claim_is_released_only_if_no_call_was_made() {
    check(safe(), "delivered 1 => call 1\n failed => return for 5s");
    check(unsafe_to_repeat(), "delivered 1 => claim fetch\n failed => return for 5s");
    check(
        unsafe_to_repeat(),
        "
        delivered 1 => claim fetch
        claim won   => call 1
        failed      => return for 5s, releasing the claim
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 1 => claim fetch
        claim won   => call 1
        answers 1   => settle output 1 [1 answered]
        failed      => return for 5s
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 2  => claim fetch
        claim lapsed => settle indeterminate unavailable: worker w0-1-a claimed this call and did not report it; the call may have happened, and is not repeated because the step does not say that it is safe (`retry`) [] after an unreported attempt of w0-1-a
        failed       => return for 5s
        ",
    );
}
