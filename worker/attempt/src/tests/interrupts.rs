//! Recalls, stops and lost claims in every phase of a job.

use super::{check, safe, unsafe_to_repeat, with_own_key};

#[test]
fn recall_before_the_call_settles_without_a_call() {
    let cancelled = "settle fault cancelled: cancelled before the call []";
    check(safe(), &format!("delivered 1, recalled => {cancelled}\n settled => acknowledge"));
    check(
        unsafe_to_repeat(),
        &format!(
            "delivered 1, recalled => ask for a grant\n granted => {cancelled}\n settled => acknowledge"
        ),
    );
    check(
        unsafe_to_repeat(),
        &format!("delivered 1 => ask for a grant\n recalled => continue\n granted => {cancelled}"),
    );
}

#[test]
fn recall_during_the_call_cancels_it_and_an_unsafe_call_is_indeterminate() {
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
        delivered 1            => ask for a grant
        granted => call 1
        recalled               => cancel the call
        faults cancelled maybe => settle indeterminate cancelled: cancelled in flight; the call may have happened [1 cancelled maybe]
        settled                => acknowledge
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 1            => ask for a grant
        granted => call 1
        recalled               => cancel the call
        faults cancelled never => settle fault cancelled: x [1 cancelled never]
        ",
    );
}

#[test]
fn answer_that_arrives_after_the_recall_counts() {
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
fn recall_ends_the_retries() {
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
fn stopping_worker_returns_jobs_that_may_be_called_again() {
    check(
        safe(),
        "
        delivered 1            => call 1
        stopping               => cancel the call
        faults cancelled maybe => return
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 1            => ask for a grant
        granted => call 1
        stopping               => cancel the call
        faults cancelled never => return the grant
        grant returned         => return
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 1 => ask for a grant
        stopping    => return the grant
        grant returned => return
        ",
    );
}

#[test]
fn stopping_worker_settles_an_indeterminate_call_itself() {
    check(
        unsafe_to_repeat(),
        "
        delivered 1            => ask for a grant
        granted => call 1
        stopping               => cancel the call
        faults cancelled maybe => settle indeterminate cancelled: cancelled because the worker stopped during the call; the call may have happened [1 cancelled maybe]
        settled                => acknowledge
        ",
    );
}

#[test]
fn stopping_worker_settles_a_waiting_job_for_another_attempt() {
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
fn lost_claim_cancels_the_call_and_returns_the_job() {
    check(
        with_own_key(),
        "
        delivered 1            => claim fetch
        claim won              => call 1
        claim lost             => cancel the call
        faults cancelled maybe => return, releasing the claim
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
        stopping               => continue
        faults cancelled maybe => settle fault cancelled: x [1 cancelled maybe]
        stopping               => continue
        settled                => acknowledge
        ",
    );
}

#[test]
fn result_that_arrives_after_the_stop_is_settled() {
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
fn settling_is_not_interrupted() {
    for interrupt in ["recalled", "stopping", "claim lost"] {
        check(
            unsafe_to_repeat(),
            &format!(
                "
                delivered 1 => ask for a grant
                granted => call 1
                answers 1   => settle output 1 [1 answered]
                {interrupt} => continue
                settled     => acknowledge
                "
            ),
        );
    }
}
