//! Grants of calls that are not safe to repeat.

use super::check;

const ONE: &str = "steps: [{ id: a, call: s/t }]";

#[test]
fn first_delivery_that_asks_is_granted_and_no_other_one() {
    check(
        ONE,
        r#"
        submit              -> dispatch a#1
        start a#1 by w1-1   -> grant a#1 to w1-1
        start a#1 by w2-1   -> deny a#1 to w2-1
        start a#1 by w1-2   -> deny a#1 to w1-2
        start a#1 by w1-1   -> grant a#1 to w1-1
        settle a#1 output 1 -> succeeded
        start a#1 by w1-1   -> deny a#1 to w1-1
        "#,
    );
}

#[test]
fn delivery_of_another_attempt_or_an_unknown_step_is_denied() {
    check(
        ONE,
        r#"
        submit              -> dispatch a#1
        start a#2 by w1-1   -> deny a#2 to w1-1
        start b#1 by w1-1   -> deny b#1 to w1-1
        start a#1 by w1-1   -> grant a#1 to w1-1
        settle a#1 again 5s -> nothing
        start a#1 by w2-1   -> deny a#1 to w2-1
        @5s tick            -> fired retry a#2, dispatch a#2
        start a#2 by w2-1   -> grant a#2 to w2-1
        "#,
    );
}

#[test]
fn granted_call_whose_job_is_delivered_again_is_indeterminate_after_a_while() {
    check(
        ONE,
        r#"
        submit               -> dispatch a#1
        @1s start a#1 by w1-1 -> grant a#1 to w1-1
        @40s start a#1 by w2-1 -> deny a#1 to w2-1
        @45s start a#1 by w2-2 -> deny a#1 to w2-2
        @49s tick            -> nothing
        @50s tick            -> fired doubt of a#1, recall a#1, failed at a: unavailable: worker w1 began this call and did not report it; the call may have happened, and is not repeated because the step does not say that it is safe (`retry`)
        status               -> a indeterminate
        attempts a           -> #1 49000ms unavailable by w1
        "#,
    );
}

#[test]
fn worker_that_asks_again_or_reports_in_time_is_not_in_doubt() {
    check(
        ONE,
        r#"
        submit                -> dispatch a#1
        start a#1 by w1-1     -> grant a#1 to w1-1
        @40s start a#1 by w2-1 -> deny a#1 to w2-1
        @49s start a#1 by w1-1 -> grant a#1 to w1-1
        @70s tick             -> nothing
        @80s start a#1 by w2-2 -> deny a#1 to w2-2
        @89s settle a#1 output 1 -> succeeded
        @110s tick            -> nothing
        "#,
    );
}

#[test]
fn returned_grant_can_be_given_to_another_delivery() {
    check(
        ONE,
        r#"
        submit             -> dispatch a#1
        start a#1 by w1-1  -> grant a#1 to w1-1
        start a#1 by w2-1  -> deny a#1 to w2-1
        return a#1 by w2-1 -> refused: a newer attempt is out
        return a#1 by w1-1 -> dispatch a#1
        @30s tick          -> nothing
        start a#1 by w2-2  -> grant a#1 to w2-2
        "#,
    );
}

#[test]
fn new_leader_repeats_grants_and_sends_no_granted_job_again() {
    check(
        "steps: [{ id: a, call: s/t }, { id: b, call: s/t, needs: [] }]",
        r#"
        submit            -> dispatch a#1, dispatch b#1
        start a#1 by w1-1 -> grant a#1 to w1-1
        restart           -> nothing
        lead              -> nothing
        resume            -> grant a#1 to w1-1, dispatch b#1
        start a#1 by w2-1 -> deny a#1 to w2-1
        "#,
    );
}

#[test]
fn granted_call_that_is_never_reported_is_indeterminate_once_all_its_time_is_over() {
    check(
        "steps: [{ id: a, call: s/t, timeout: 10s, max-timeout: 10s }]",
        r#"
        submit                  -> dispatch a#1
        @300s start a#1 by w1-1 -> grant a#1 to w1-1
        @611s tick              -> nothing
        @700s tick              -> fired lost a#1, recall a#1, failed at a: unavailable: worker w1 began this call and did not report it; the call may have happened, and is not repeated because the step does not say that it is safe (`retry`)
        "#,
    );
}

#[test]
fn call_that_was_not_granted_is_sent_again_and_was_not_attempted() {
    check(
        ONE,
        r#"
        submit                      -> dispatch a#1
        @2s lead with its jobs lost -> nothing
        attempts a                  -> none
        @3s sent                    -> nothing
        resume                      -> dispatch a#1
        "#,
    );
}

#[test]
fn granted_call_of_a_process_that_ended_is_indeterminate_when_the_run_is_resumed() {
    check(
        ONE,
        r#"
        submit                      -> dispatch a#1
        start a#1 by w1-1           -> grant a#1 to w1-1
        @2s lead with its jobs lost -> nothing
        status                      -> a running
        @3s sent                    -> failed at a: unavailable: worker w1 began this call and did not report it; the call may have happened, and is not repeated because the step does not say that it is safe (`retry`)
        attempts a                  -> #1 0ms unavailable
        "#,
    );
}

#[test]
fn cancel_ends_a_call_that_was_not_granted_at_once_and_for_certain() {
    check(
        ONE,
        r#"
        submit            -> dispatch a#1
        cancel            -> recall a#1, cancelled
        status            -> a cancelled
        start a#1 by w1-1 -> deny a#1 to w1-1
        "#,
    );
    check(
        ONE,
        r#"
        submit                     -> dispatch a#1
        start a#1 by w1-1          -> grant a#1 to w1-1
        cancel                     -> recall a#1
        settle a#1 fault cancelled -> cancelled
        "#,
    );
}

#[test]
fn run_whose_records_were_lost_makes_no_unsafe_call_any_more() {
    let lost = "the log has lost its newest records (an older copy of NATS was put back); this call may have been made before, and is \
                not repeated because the step does not say that it is safe (`retry`)";
    check(
        "steps: [{ id: a, call: s/t }]",
        &format!(
            "
            submit                      -> dispatch a#1
            @1s lead with records lost  -> nothing
            start a#1 by w1-1           -> deny a#1 to w1-1
            resume                      -> dispatch a#1
            tick                        -> fired doubt of a#1, recall a#1, failed at a: unavailable: {lost}
            status                      -> a indeterminate
            attempts a                  -> none
            "
        ),
    );
    check(
        "steps: [{ id: a, call: s/t, retry: 3 }, { id: b, call: s/t }]",
        &format!(
            "
            submit                      -> dispatch a#1
            @1s lead with records lost  -> nothing
            tick                        -> nothing
            settle a#1 output 1         -> failed at b: unavailable: {lost}
            status                      -> a succeeded, b indeterminate
            "
        ),
    );
}

#[test]
fn cancel_after_records_were_lost_leaves_the_doubt() {
    check(
        ONE,
        "
        submit                     -> dispatch a#1
        @1s lead with records lost -> nothing
        cancel                     -> recall a#1
        status                     -> a running
        start a#1 by w1-1          -> deny a#1 to w1-1
        tick                       -> fired doubt of a#1, recall a#1, cancelled at a: unavailable: the log has lost its newest records (an older copy of NATS was put back); this call may have been made before, and is not repeated because the step does not say that it is safe (`retry`)
        status                     -> a indeterminate
        ",
    );
}

#[test]
fn grant_that_is_returned_after_a_cancel_ends_the_step() {
    check(
        ONE,
        r#"
        submit             -> dispatch a#1
        start a#1 by w1-1  -> grant a#1 to w1-1
        cancel             -> recall a#1
        return a#1 by w1-1 -> cancelled
        status             -> a cancelled
        "#,
    );
}

#[test]
fn grant_of_a_record_before_the_loss_was_noticed_is_not_sent() {
    check(
        ONE,
        "
        submit                     -> dispatch a#1
        start a#1 by w1-1          -> grant a#1 to w1-1
        @1s lead with records lost -> nothing
        resume                     -> dispatch a#1
        start a#1 by w1-1          -> deny a#1 to w1-1
        tick                       -> fired doubt of a#1, recall a#1, failed at a: unavailable: the log has lost its newest records (an older copy of NATS was put back); this call may have been made before, and is not repeated because the step does not say that it is safe (`retry`)
        ",
    );
}
