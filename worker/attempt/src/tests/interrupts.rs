//! Recalls, stops and lost claims, at every moment.

use super::{check, safe, unsafe_to_repeat};

#[test]
fn a_recall_before_the_call_settles_without_it() {
    let cancelled = "settle fault cancelled: cancelled before the call []";
    check(safe(), &format!("delivered 1, recalled => {cancelled}\n settled => acknowledge"));
    check(
        unsafe_to_repeat(),
        &format!(
            "delivered 1, recalled => claim fetch\n claim won => {cancelled}\n settled => acknowledge, claim done"
        ),
    );
    check(
        unsafe_to_repeat(),
        &format!("delivered 1 => claim fetch\n recalled => go on\n claim won => {cancelled}"),
    );
}

#[test]
fn a_recall_hides_no_doubt_about_an_earlier_delivery() {
    check(
        unsafe_to_repeat(),
        "
        delivered 2, recalled => claim fetch
        claim lapsed          => settle indeterminate unavailable: worker w0-1-a claimed this call and did not report it; the call may have happened, and is not repeated because the step does not say that it is safe (`retry`) [] after a silence of w0-1-a
        ",
    );
}

#[test]
fn a_recall_during_the_call_cancels_it_and_says_what_is_known() {
    check(
        safe(),
        "
        delivered 1            => call 1
        recalled               => cancel the call
        faults cancelled maybe => settle fault cancelled: x [1 cancelled maybe]
        settled                => acknowledge
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 1            => claim fetch
        claim won              => call 1
        recalled               => cancel the call
        faults cancelled maybe => settle indeterminate cancelled: cancelled in flight; the call may have happened [1 cancelled maybe]
        settled                => acknowledge, claim done
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 1            => claim fetch
        claim won              => call 1
        recalled               => cancel the call
        faults cancelled never => settle fault cancelled: x [1 cancelled never]
        ",
    );
}

#[test]
fn an_answer_that_overtakes_the_recall_counts() {
    check(
        safe(),
        "
        delivered 1 => call 1
        recalled    => cancel the call
        answers 1   => settle output 1 [1 answered]
        ",
    );
}

#[test]
fn a_recall_ends_the_retries() {
    check(
        safe(),
        "
        delivered 1          => call 1
        faults timeout maybe => wait 400ms
        recalled             => settle fault cancelled: cancelled before the next attempt; the last one ended in timeout: x [1 timeout maybe]
        settled              => acknowledge
        ",
    );
    check(
        safe(),
        "
        delivered 1          => call 1
        recalled             => cancel the call
        faults timeout maybe => settle fault cancelled: cancelled before the next attempt; the last one ended in timeout: x [1 timeout maybe]
        ",
    );
}

#[test]
fn a_worker_that_stops_gives_back_what_may_be_begun_afresh() {
    check(
        safe(),
        "
        delivered 1            => call 1
        stopping               => cancel the call
        faults cancelled maybe => give back
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 1            => claim fetch
        claim won              => call 1
        stopping               => cancel the call
        faults cancelled never => give back, releasing the claim
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 1 => claim fetch
        stopping    => go on
        claim won   => give back, releasing the claim
        ",
    );
}

#[test]
fn a_worker_that_stops_leaves_no_call_in_doubt_to_another() {
    check(
        unsafe_to_repeat(),
        "
        delivered 1            => claim fetch
        claim won              => call 1
        stopping               => cancel the call
        faults cancelled maybe => settle indeterminate internal: the worker stopped during the call; the call may have happened [1 cancelled maybe]
        settled                => acknowledge, claim done
        ",
    );
}

#[test]
fn a_worker_that_stops_turns_a_wait_into_a_timer() {
    check(
        safe(),
        "
        delivered 1          => call 1
        faults timeout maybe => wait 400ms
        stopping             => settle again at 1410: timeout: x [1 timeout maybe]
        settled              => acknowledge
        ",
    );
}

#[test]
fn a_lost_claim_cancels_the_call() {
    check(
        unsafe_to_repeat(),
        "
        delivered 1            => claim fetch
        claim won              => call 1
        claim lost             => cancel the call
        faults cancelled maybe => settle indeterminate internal: the worker lost its claim during the call; the call may have happened [1 cancelled maybe]
        ",
    );
}

#[test]
fn only_the_first_interrupt_counts() {
    check(
        safe(),
        "
        delivered 1            => call 1
        recalled               => cancel the call
        stopping               => go on
        faults cancelled maybe => settle fault cancelled: x [1 cancelled maybe]
        stopping               => go on
        settled                => acknowledge
        ",
    );
}

#[test]
fn an_end_that_overtakes_the_stop_is_settled() {
    check(
        safe(),
        "
        delivered 1        => call 1
        stopping           => cancel the call
        reports disk full  => settle fault tool_error: disk full (not retried: `tool_error` is not in `retry.errors`) [1 tool_error answered]
        ",
    );
    check(
        safe(),
        "
        delivered 1          => call 1
        stopping             => cancel the call
        faults timeout maybe => settle again at 1410: timeout: x [1 timeout maybe]
        ",
    );
}

#[test]
fn what_is_being_settled_is_not_interrupted() {
    for interrupt in ["recalled", "stopping", "claim lost"] {
        check(
            unsafe_to_repeat(),
            &format!(
                "
                delivered 1 => claim fetch
                claim won   => call 1
                answers 1   => settle output 1 [1 answered]
                {interrupt} => go on
                settled     => acknowledge, claim done
                "
            ),
        );
    }
}
