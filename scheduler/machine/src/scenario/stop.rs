//! Early ends of runs: cancels and deadlines.

use super::check;

const TWO: &str = "
steps:
  - { id: a, call: s/t }
  - { id: b, call: s/t }
  - { id: clean, call: s/t, if: always() }
";

#[test]
fn a_cancel_recalls_outstanding_calls_and_accepts_their_reports() {
    check(
        TWO,
        r#"
        submit                      -> dispatch a#1
        start a#1 by w1-1           -> grant a#1 to w1-1
        cancel                      -> recall a#1
        cancel                      -> refused: the run is stopping already
        settle a#1 fault cancelled  -> dispatch clean#1
        settle clean#1 output 1     -> cancelled
        status                      -> a cancelled, b skipped, clean succeeded
        "#,
    );
}

#[test]
fn cancel_does_not_wait_for_calls_whose_process_is_gone() {
    check(
        TWO,
        r#"
        submit                       -> dispatch a#1
        start a#1 by w1-1            -> grant a#1 to w1-1
        @2s lead with its jobs lost  -> nothing
        cancel                       -> recall a#1, dispatch clean#1
        status                       -> a indeterminate, b skipped, clean running
        @4s lead with its jobs lost  -> nothing
        cancel                       -> refused: the run is stopping already
        @5s sent                     -> nothing
        settle clean#1 output 1      -> cancelled at a: cancelled: its process ended before the call did, and the step was stopped; the call may have happened
        "#,
    );
}

#[test]
fn a_second_cancel_ends_stopped_calls_that_were_lost() {
    check(
        "steps: [{ id: a, call: s/t, retry: 3 }]",
        r#"
        submit                       -> dispatch a#1
        cancel                       -> recall a#1
        @2s lead with its jobs lost  -> nothing
        cancel                       -> cancelled
        status                       -> a cancelled
        "#,
    );
}

#[test]
fn the_first_reason_of_a_cancel_is_kept() {
    check(
        "steps: [{ id: a, call: s/t }]",
        r#"
        submit                      -> dispatch a#1
        reason                      ->
        start a#1 by w1-1           -> grant a#1 to w1-1
        cancel wrong file           -> recall a#1
        cancel another reason       -> refused: the run is stopping already
        restart                     -> nothing
        reason                      -> wrong file
        settle a#1 fault cancelled  -> cancelled
        reason                      -> wrong file
        "#,
    );
}

#[test]
fn a_long_reason_is_cut() {
    let long = "ü".repeat(1_000);
    let kept = format!("{}…", "ü".repeat(500));
    check(
        "steps: [{ id: a, call: s/t }]",
        &format!(
            "submit -> dispatch a#1\nstart a#1 by w1-1 -> grant a#1 to w1-1\ncancel {long} -> recall a#1\nreason -> {kept}"
        ),
    );
}

#[test]
fn a_call_that_was_done_before_it_could_be_stopped_is_done() {
    check(
        "steps: [{ id: a, call: s/t }, { id: b, call: s/t }]",
        r#"
        submit               -> dispatch a#1
        start a#1 by w1-1    -> grant a#1 to w1-1
        cancel               -> recall a#1
        settle a#1 output 1  -> cancelled
        status               -> a succeeded, b skipped
        "#,
    );
}

#[test]
fn the_wait_for_a_recalled_call_is_bounded() {
    check(
        "steps: [{ id: a, call: s/t }, { id: b, call: s/t, needs: [], retry: 3 }]",
        r#"
        submit     -> dispatch a#1, dispatch b#1
        start a#1 by w1-1 -> grant a#1 to w1-1
        cancel     -> recall a#1, recall b#1
        @29s tick  -> nothing
        @30s tick  -> fired grace of a#1, recall a#1, fired grace of b#1, recall b#1, cancelled at a: cancelled: stopped, and without a report for 30 s; the call may have happened
        status     -> a indeterminate, b cancelled
        "#,
    );
}

#[test]
fn each_recalled_call_has_a_wait_of_its_own() {
    check(
        "
steps:
  - { id: g, timeout: 10s, continue-on-error: true, parallel: [{ id: a, call: s/t }] }
  - { id: h, needs: [], timeout: 40s, parallel: [{ id: b, call: s/t }] }
",
        r#"
        submit                     -> dispatch a#1, dispatch b#1
        start a#1 by w1-1          -> grant a#1 to w1-1
        start b#1 by w1-2          -> grant b#1 to w1-2
        @10s tick                  -> fired deadline of g, recall a#1
        @40s tick                  -> fired grace of a#1, recall a#1, fired deadline of h, recall b#1
        @69s tick                  -> nothing
        @70s tick                  -> fired grace of b#1, recall b#1, failed at h: timeout: the group did not end within 40s
        "#,
    );
}

#[test]
fn a_stopped_job_that_is_sent_again_is_recalled_again() {
    check(
        "steps: [{ id: a, call: s/t, timeout: 10s, max-timeout: 10s, retry: 1, idempotency-key: k }]",
        r#"
        submit       -> dispatch a#1
        @310s cancel -> recall a#1
        @311s tick   -> fired lost a#1, dispatch a#1, recall a#1
        "#,
    );
}

#[test]
fn a_cancel_gives_up_retries() {
    check(
        "steps: [{ id: a, call: s/t, retry: 3 }]",
        r#"
        submit              -> dispatch a#1
        settle a#1 again 5s -> nothing
        cancel              -> cancelled
        @5s tick            -> nothing
        "#,
    );
}

#[test]
fn a_retry_that_arrives_after_a_cancel_is_not_made() {
    check(
        "steps: [{ id: a, call: s/t, retry: 3 }]",
        r#"
        submit              -> dispatch a#1
        cancel              -> recall a#1
        settle a#1 again 5s -> cancelled
        "#,
    );
}

#[test]
fn a_run_has_a_deadline() {
    check(
        "
timeout: 1m
steps: [{ id: a, call: s/t }, { id: b, call: s/t }]
",
        r#"
        submit                     -> dispatch a#1
        start a#1 by w1-1          -> grant a#1 to w1-1
        @59s tick                  -> nothing
        @60s tick                  -> fired deadline of the run, recall a#1
        settle a#1 fault cancelled -> failed: timeout: the run did not end within its timeout of 60s
        status                     -> a cancelled, b skipped
        "#,
    );
}

#[test]
fn a_group_has_a_deadline() {
    check(
        "
steps:
  - id: g
    timeout: 10s
    continue-on-error: true
    parallel:
      - { id: a, call: s/t }
      - { id: b, call: s/t, needs: [a] }
      - { id: c, call: s/t }
  - { id: d, call: s/t, with: { g: '${{ steps.g.error.class }}' } }
",
        r#"
        submit                     -> dispatch a#1, dispatch c#1
        start a#1 by w1-1          -> grant a#1 to w1-1
        settle c#1 output 1        -> nothing
        @10s tick                  -> fired deadline of g, recall a#1
        settle a#1 fault cancelled -> dispatch d#1 {"g":"timeout"}
        settle d#1 output 1        -> succeeded
        "#,
    );
}

#[test]
fn a_group_that_ends_in_time_forgets_its_deadline() {
    check(
        "
steps:
  - { id: g, timeout: 10s, parallel: [{ id: a, call: s/t }] }
  - { id: d, call: s/t }
",
        r#"
        submit              -> dispatch a#1
        settle a#1 output 1 -> dispatch d#1
        @10s tick           -> nothing
        "#,
    );
}

#[test]
fn a_run_that_has_ended_cannot_be_cancelled() {
    check(
        "steps: [{ id: a, call: s/t }]",
        r#"
        submit              -> dispatch a#1
        settle a#1 output 1 -> succeeded
        cancel              -> refused: no such run, or it has ended
        "#,
    );
}

const ALWAYS: &str = "
steps:
  - { id: a, call: s/t }
  - id: g
    needs: []
    parallel:
      - { id: b, call: s/t, retry: 3 }
      - { id: c, call: s/t, needs: [b] }
  - { id: clean, call: s/t, if: always() }
";

#[test]
fn a_terminated_run_ends_at_once_and_begins_nothing() {
    check(
        ALWAYS,
        r#"
        submit            -> dispatch a#1, dispatch b#1
        start a#1 by w1-1 -> grant a#1 to w1-1
        terminate enough  -> recall a#1, recall b#1, cancelled at a: cancelled: the run was terminated; the call may have happened
        status            -> a indeterminate, g cancelled, b cancelled, c skipped, clean skipped
        attempts a        -> #1 0ms unavailable by w1
        attempts b        -> none
        reason            -> enough
        settle b#1 output 1 -> refused: no such run, or it has ended
        "#,
    );
}

#[test]
fn a_cancelled_run_whose_cleanup_does_not_end_can_be_terminated() {
    check(
        TWO,
        r#"
        submit                 -> dispatch a#1
        cancel too slow        -> recall a#1, dispatch clean#1
        cancel                 -> refused: the run is stopping already
        terminate enough       -> recall clean#1, cancelled
        status                 -> a cancelled, b skipped, clean cancelled
        reason                 -> too slow
        "#,
    );
}

#[test]
fn a_run_that_waits_for_an_evaluation_can_be_terminated() {
    check(
        "steps: [{ id: a, call: s/t }, { id: b, call: s/t, with: { n: '${{ steps.a.output }}' } }]",
        r#"
        submit                -> dispatch a#1
        settle a#1 large rows -> evaluate b#1
        terminate enough      -> cancelled
        status                -> a succeeded, b cancelled
        evaluate b#1          -> not awaited
        "#,
    );
}
