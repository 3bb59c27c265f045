//! Grants of calls that are not safe to repeat.

use super::{check, unsafe_to_repeat};

#[test]
fn unsafe_call_is_made_only_after_it_is_granted() {
    check(
        unsafe_to_repeat(),
        "
        delivered 1 => ask for a grant
        granted     => call 1
        answers 1   => settle output 1 [1 answered]
        settled     => acknowledge
        ",
    );
}

#[test]
fn denied_call_is_neither_made_nor_reported() {
    check(unsafe_to_repeat(), "delivered 1 => ask for a grant\n denied => acknowledge");
    check(unsafe_to_repeat(), "delivered 2, recalled => ask for a grant\n denied => acknowledge");
}

#[test]
fn granted_call_was_not_made_by_an_earlier_delivery() {
    check(
        unsafe_to_repeat(),
        "
        delivered 2 => ask for a grant
        granted     => call 1
        answers 1   => settle output 1 [1 answered]
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 11 => ask for a grant
        granted      => settle fault internal: poison: delivered 11 times, and no worker reported a result []
        ",
    );
}

#[test]
fn grant_is_returned_before_the_job_if_no_call_was_made() {
    check(
        unsafe_to_repeat(),
        "
        delivered 1    => ask for a grant
        stopping       => return the grant
        grant returned => return
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 1    => ask for a grant
        failed         => return the grant
        grant returned => return for 5s
        ",
    );
    check(
        unsafe_to_repeat(),
        "
        delivered 1    => ask for a grant
        granted        => call 1
        failed         => return the grant
        failed         => return for 5s
        ",
    );
}

#[test]
fn granted_call_without_a_slot_is_left_to_the_next_delivery() {
    check(
        unsafe_to_repeat(),
        "
        delivered 1    => ask for a grant
        granted        => call 1
        no slot        => return the grant
        grant returned => return
        ",
    );
}

#[test]
fn grant_of_a_call_that_was_made_is_not_returned() {
    check(
        unsafe_to_repeat(),
        "
        delivered 1 => ask for a grant
        granted     => call 1
        answers 1   => settle output 1 [1 answered]
        failed      => return for 5s
        ",
    );
}

#[test]
fn calls_in_place_share_a_grant_while_none_was_sent() {
    check(
        unsafe_to_repeat(),
        "
        delivered 1              => ask for a grant
        granted                  => call 1
        faults unavailable never => wait 400ms
        retry due                => call 2
        faults timeout maybe     => settle indeterminate timeout: x [1 unavailable never, 2 timeout maybe]
        settled                  => acknowledge
        ",
    );
}
