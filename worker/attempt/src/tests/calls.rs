//! Outcomes of calls: answers, faults, attempts.

use std::collections::BTreeSet;
use std::time::Duration;

use longshore_proto::{Attempt, FaultClass, INLINE_LIMIT_BYTES, Job, OnToolError, RetryPolicy};

use super::{check, safe, unsafe_to_repeat};

#[test]
fn safe_job_is_called_without_a_claim() {
    check(
        safe(),
        r#"
        delivered 1     => call 1
        answers {"n":1} => settle output {"n":1} [1 answered]
        settled         => acknowledge
        "#,
    );
}

#[test]
fn redelivered_safe_job_is_called_again() {
    check(safe(), "delivered 10 => call 1");
}

#[test]
fn short_delay_is_waited_in_place_and_every_attempt_is_recorded() {
    check(
        safe(),
        "
        delivered 1              => call 1
        faults timeout maybe     => wait 400ms
        retry due                => call 2
        faults unavailable never => wait 800ms
        retry due                => call 3
        faults timeout maybe     => settle fault timeout: x [1 timeout maybe, 2 unavailable never, 3 timeout maybe]
        settled                  => acknowledge
        ",
    );
}

#[test]
fn longer_delay_settles_for_another_attempt_by_the_scheduler() {
    let retry = RetryPolicy { jitter: false, delay: Duration::from_secs(2), ..RetryPolicy::default() };
    check(
        Job { retry: retry.clone(), ..safe() },
        "
        delivered 1          => call 1
        faults timeout maybe => settle again at 3010: timeout: x [1 timeout maybe]
        settled              => acknowledge
        ",
    );
    check(
        Job { retry, ..unsafe_to_repeat() },
        "
        delivered 1              => ask for a grant
        granted => call 1
        faults unavailable never => settle again at 3010: unavailable: x [1 unavailable never]
        settled                  => acknowledge
        ",
    );
}

#[test]
fn attempts_are_numbered_from_the_number_of_the_job() {
    let mut job = safe();
    job.id.attempt = Attempt(2);
    check(
        job,
        "
        delivered 1          => call 2
        faults timeout maybe => wait 800ms
        retry due            => call 3
        answers 1            => settle output 1 [2 timeout maybe, 3 answered]
        ",
    );
}

#[test]
fn number_of_calls_in_place_is_bounded() {
    let retry =
        RetryPolicy { attempts: 1000, jitter: false, delay: Duration::ZERO, ..RetryPolicy::default() };
    let mut history = String::from("delivered 1 => call 1\n");
    let mut attempts = String::from("1 timeout maybe");
    for next in 2..=10 {
        history += &format!("faults timeout maybe => wait 0ns\n retry due => call {next}\n");
        attempts += &format!(", {next} timeout maybe");
    }
    history += &format!("faults timeout maybe => settle again at 1010: timeout: x [{attempts}]");
    check(Job { retry, ..safe() }, &history);
}

#[test]
fn unsafe_call_that_may_have_happened_is_not_repeated() {
    check(
        unsafe_to_repeat(),
        "
        delivered 1              => ask for a grant
        granted => call 1
        faults unavailable never => wait 400ms
        retry due                => call 2
        faults timeout maybe     => settle indeterminate timeout: x [1 unavailable never, 2 timeout maybe]
        settled                  => acknowledge
        ",
    );
}

#[test]
fn mistake_of_the_caller_is_not_retried() {
    check(
        safe(),
        "delivered 1 => call 1\n faults unknown_tool never => settle fault unknown_tool: x [1 unknown_tool never]",
    );
}

#[test]
fn tool_error_is_a_fault_or_an_output_as_the_step_says() {
    let reported = "
        delivered 1        => call 1
        reports disk full  => settle fault tool_error: disk full (not retried: `tool_error` is not in `retry.errors`) [1 tool_error answered]
        ";
    check(safe(), reported);
    check(
        Job { on_tool_error: OnToolError::Output, ..safe() },
        r#"
        delivered 1       => call 1
        reports disk full => settle output "disk full" [1 answered]
        "#,
    );
    let errors = BTreeSet::from([FaultClass::ToolError]);
    check(
        Job { retry: RetryPolicy { errors, ..safe().retry }, ..safe() },
        "
        delivered 1       => call 1
        reports disk full => wait 400ms
        ",
    );
}

#[test]
fn content_is_kept_only_if_the_plan_reads_it() {
    check(
        Job { keep_content: true, ..safe() },
        r#"
        delivered 1 => call 1
        answers 1   => settle output 1 and ["content"] [1 answered]
        "#,
    );
}

#[test]
fn large_value_is_stored_as_a_blob() {
    let text = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
    let (largest, too_large) = (text(INLINE_LIMIT_BYTES), text(INLINE_LIMIT_BYTES + 1));
    check(
        safe(),
        &format!("delivered 1 => call 1\n answers {largest} => settle output {largest} [1 answered]"),
    );
    check(
        safe(),
        &format!(
            "
            delivered 1         => call 1
            answers {too_large} => settle output blob of 65537 [1 answered], blob of 65537
            "
        ),
    );
}
