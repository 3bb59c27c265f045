//! The contracts of [`Claims`].
//!
//! Leases that have to run out are short, and the contract asks again until they have; leases that must not are an
//! hour.

use std::sync::Arc;
use std::time::Duration;

use longshore_ports::{Claims, clock};
use longshore_proto::{ClaimKey, ClaimResult};
use tokio::task::JoinSet;

use super::words::{claim_key, node};
use super::{Fixture, contracts};

contracts![
    the_first_caller_wins_and_others_are_told_until_when,
    of_many_callers_at_once_one_wins,
    a_holder_that_asks_again_gets_the_same_answer,
    a_lease_that_ran_out_lapses,
    a_renewed_lease_goes_on,
    a_lease_that_ran_out_can_be_renewed_until_somebody_asks,
    who_lost_a_claim_cannot_renew_it,
    what_was_done_stays_done,
    only_the_holder_can_say_that_it_is_done,
    what_was_released_begins_afresh,
    only_the_holder_can_release,
    a_doubt_outlives_a_release,
    steps_are_apart,
    a_claim_outlives_its_process,
    a_store_knows_since_when_it_has_known_every_claim,
    a_claim_of_a_process_that_is_gone_lapses,
];

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(40);

/// A claim on one step, for nodes by their names.
struct Calls {
    claims: Arc<dyn Claims>,
    key: ClaimKey,
}

impl Calls {
    fn new(fixture: &dyn Fixture) -> Self {
        Self { claims: fixture.backend().claims, key: claim_key(1) }
    }

    async fn claim(&self, who: &str, lease: Duration) -> ClaimResult {
        self.claims.claim(&self.key, &node(who), lease).await.expect("answers")
    }

    /// Claims as soon as nobody else has it.
    async fn claim_at_last(&self, who: &str) -> ClaimResult {
        loop {
            match self.claim(who, HOUR).await {
                ClaimResult::Busy { .. } => tokio::task::yield_now().await,
                claimed => return claimed,
            }
        }
    }

    async fn renew(&self, who: &str, lease: Duration) -> bool {
        self.claims.renew(&self.key, &node(who), lease).await.expect("answers")
    }

    async fn done(&self, who: &str) {
        self.claims.done(&self.key, &node(who)).await.expect("answers");
    }

    async fn release(&self, who: &str) {
        self.claims.release(&self.key, &node(who)).await.expect("answers");
    }
}

fn lapsed(holder: &str) -> ClaimResult {
    ClaimResult::Lapsed { holder: Some(node(holder)) }
}

/// The later answers: a cluster's store names the lost holder again, and the data file no longer knows it.
fn lapsed_again(fixture: &dyn Fixture, holder: &str) -> ClaimResult {
    ClaimResult::Lapsed { holder: fixture.cluster().map(|_| node(holder)) }
}

fn is_busy(claimed: &ClaimResult) -> bool {
    matches!(claimed, ClaimResult::Busy { .. })
}

async fn the_first_caller_wins_and_others_are_told_until_when(fixture: &mut dyn Fixture) {
    let calls = Calls::new(fixture);
    let before = clock::now();
    assert_eq!(calls.claim("a", HOUR).await, ClaimResult::Won);
    let after = clock::now();
    let ClaimResult::Busy { until } = calls.claim("b", HOUR).await else { unreachable!("a has it") };
    assert!(until >= before.plus(HOUR) && until <= after.plus(HOUR), "{until}");
}

async fn of_many_callers_at_once_one_wins(fixture: &mut dyn Fixture) {
    let mut callers = JoinSet::new();
    for caller in 0..50 {
        let calls = Calls::new(fixture);
        callers.spawn(async move { calls.claim(&format!("node-{caller}"), HOUR).await });
    }
    let answers = callers.join_all().await;
    assert_eq!(answers.iter().filter(|answer| **answer == ClaimResult::Won).count(), 1);
    assert_eq!(answers.iter().filter(|answer| is_busy(answer)).count(), 49);
}

async fn a_holder_that_asks_again_gets_the_same_answer(fixture: &mut dyn Fixture) {
    let calls = Calls::new(fixture);
    assert_eq!(calls.claim("a", Duration::ZERO).await, ClaimResult::Won);
    assert_eq!(calls.claim("a", HOUR).await, ClaimResult::Won);
    assert!(is_busy(&calls.claim("b", HOUR).await), "the lease began anew");
    let doubtful = Calls { key: claim_key(2), ..Calls::new(fixture) };
    doubtful.claim("a", Duration::ZERO).await;
    assert_eq!(doubtful.claim("b", HOUR).await, lapsed("a"));
    assert_eq!(
        doubtful.claim("b", HOUR).await,
        lapsed_again(fixture, "a"),
        "a's call may still have happened"
    );
    doubtful.release("b").await;
    assert_eq!(doubtful.claim("b", HOUR).await, lapsed_again(fixture, "a"), "and still");
}

async fn a_lease_that_ran_out_lapses(fixture: &mut dyn Fixture) {
    let calls = Calls::new(fixture);
    let before = clock::now();
    calls.claim("a", MOMENT).await;
    assert_eq!(calls.claim_at_last("b").await, lapsed("a"));
    assert!(clock::now().since(before) >= MOMENT, "not before its end");
    assert!(is_busy(&calls.claim("c", HOUR).await), "b has it now");
}

async fn a_renewed_lease_goes_on(fixture: &mut dyn Fixture) {
    let calls = Calls::new(fixture);
    calls.claim("a", MOMENT).await;
    assert!(calls.renew("a", HOUR).await);
    let ClaimResult::Busy { until } = calls.claim("b", HOUR).await else { unreachable!("a has it") };
    assert!(until.since(clock::now()) > HOUR / 2);
}

async fn a_lease_that_ran_out_can_be_renewed_until_somebody_asks(fixture: &mut dyn Fixture) {
    let calls = Calls::new(fixture);
    calls.claim("a", Duration::ZERO).await;
    assert!(calls.renew("a", HOUR).await);
    assert!(is_busy(&calls.claim("b", HOUR).await));
}

async fn who_lost_a_claim_cannot_renew_it(fixture: &mut dyn Fixture) {
    let calls = Calls::new(fixture);
    assert!(!calls.renew("a", HOUR).await, "it never had it");
    calls.claim("a", Duration::ZERO).await;
    assert_eq!(calls.claim("b", HOUR).await, lapsed("a"));
    assert!(!calls.renew("a", HOUR).await);
    assert!(calls.renew("b", HOUR).await);
}

async fn what_was_done_stays_done(fixture: &mut dyn Fixture) {
    let calls = Calls::new(fixture);
    calls.claim("a", Duration::ZERO).await;
    calls.done("a").await;
    calls.done("a").await;
    calls.release("a").await;
    assert!(!calls.renew("a", HOUR).await);
    assert_eq!(calls.claim("a", HOUR).await, ClaimResult::Done);
    assert_eq!(calls.claim("b", HOUR).await, ClaimResult::Done);
}

async fn only_the_holder_can_say_that_it_is_done(fixture: &mut dyn Fixture) {
    let calls = Calls::new(fixture);
    calls.done("a").await;
    assert_eq!(calls.claim("a", Duration::ZERO).await, ClaimResult::Won);
    assert_eq!(calls.claim("b", HOUR).await, lapsed("a"));
    calls.done("a").await;
    assert!(is_busy(&calls.claim("c", HOUR).await));
}

async fn what_was_released_begins_afresh(fixture: &mut dyn Fixture) {
    let calls = Calls::new(fixture);
    calls.claim("a", HOUR).await;
    calls.release("a").await;
    assert!(!calls.renew("a", HOUR).await);
    assert_eq!(calls.claim("b", HOUR).await, ClaimResult::Won);
}

async fn only_the_holder_can_release(fixture: &mut dyn Fixture) {
    let calls = Calls::new(fixture);
    calls.claim("a", HOUR).await;
    calls.release("b").await;
    assert!(is_busy(&calls.claim("b", HOUR).await));
}

async fn a_doubt_outlives_a_release(fixture: &mut dyn Fixture) {
    let calls = Calls::new(fixture);
    calls.claim("a", Duration::ZERO).await;
    assert_eq!(calls.claim("b", HOUR).await, lapsed("a"));
    calls.release("b").await;
    assert!(!calls.renew("b", HOUR).await);
    assert_eq!(calls.claim("c", HOUR).await, lapsed_again(fixture, "a"), "a's call may still have happened");
}

async fn steps_are_apart(fixture: &mut dyn Fixture) {
    let calls = Calls::new(fixture);
    let other = Calls { key: claim_key(2), ..Calls::new(fixture) };
    calls.claim("a", HOUR).await;
    assert_eq!(other.claim("b", HOUR).await, ClaimResult::Won);
    calls.done("a").await;
    assert!(other.renew("b", HOUR).await);
}

async fn a_claim_outlives_its_process(fixture: &mut dyn Fixture) {
    let calls = Calls::new(fixture);
    calls.claim("a", HOUR).await;
    calls.done("a").await;
    fixture.restart().await;
    assert_eq!(Calls::new(fixture).claim("b", HOUR).await, ClaimResult::Done);
}

async fn a_claim_of_a_process_that_is_gone_lapses(fixture: &mut dyn Fixture) {
    Calls::new(fixture).claim("a", MOMENT).await;
    fixture.restart().await;
    assert_eq!(Calls::new(fixture).claim_at_last("b").await, lapsed("a"));
}

async fn a_store_knows_since_when_it_has_known_every_claim(fixture: &mut dyn Fixture) {
    let calls = Calls::new(fixture);
    let born = calls.claims.complete_since().await.expect("answers");
    assert!(born <= clock::now(), "{born}");
    calls.claim("a", HOUR).await;
    assert_eq!(calls.claims.complete_since().await.expect("answers"), born, "a claim changes nothing");
    fixture.restart().await;
    assert_eq!(
        fixture.backend().claims.complete_since().await.expect("answers"),
        born,
        "nor does a new process"
    );
}
