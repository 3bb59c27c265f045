//! The contracts of [`Claims`].
//!
//! Leases that have to expire are short, and the contract waits until they have; other leases last an hour.

use std::sync::Arc;
use std::time::Duration;

use longshore_ports::{Claims, clock};
use longshore_proto::{ClaimKey, ClaimResult};
use tokio::task::JoinSet;

use crate::wait::until_some;

use super::values::{claim_key, node};
use super::{Fixture, contracts};

contracts![
    first_caller_wins_and_others_learn_the_end_of_its_lease,
    one_of_many_concurrent_callers_wins,
    repeated_claim_of_the_holder_has_the_same_answer,
    claim_with_an_expired_lease_lapses,
    renewed_lease_continues,
    expired_lease_can_be_renewed_until_another_node_claims,
    node_that_lost_its_claim_cannot_renew_it,
    completed_claim_stays_completed,
    only_the_holder_can_complete_a_claim,
    released_claim_can_be_won_again,
    only_the_holder_can_release_a_claim,
    lapse_outlives_a_release,
    claims_of_different_steps_are_separate,
    claim_outlives_its_process,
    claim_of_an_ended_process_lapses,
];

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(40);

/// Claims on one step, by nodes given by their names.
struct StepClaims {
    claims: Arc<dyn Claims>,
    key: ClaimKey,
}

impl StepClaims {
    fn new(fixture: &dyn Fixture) -> Self {
        Self { claims: fixture.backend().claims, key: claim_key(1) }
    }

    async fn claim(&self, who: &str, lease: Duration) -> ClaimResult {
        self.claims.claim(&self.key, &node(who), lease).await.expect("answers")
    }

    /// Claims until no other node has a lease.
    async fn claim_at_last(&self, who: &str) -> ClaimResult {
        until_some("the lease of another node ends", || async {
            Some(self.claim(who, HOUR).await).filter(|claimed| !is_busy(claimed))
        })
        .await
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

/// Returns the answer to later claims: the store of a cluster names the lost holder again, and the data file does not.
fn lapsed_again(fixture: &dyn Fixture, holder: &str) -> ClaimResult {
    ClaimResult::Lapsed { holder: fixture.cluster().map(|_| node(holder)) }
}

fn is_busy(claimed: &ClaimResult) -> bool {
    matches!(claimed, ClaimResult::Busy { .. })
}

async fn first_caller_wins_and_others_learn_the_end_of_its_lease(fixture: &mut dyn Fixture) {
    let calls = StepClaims::new(fixture);
    let before = clock::now();
    assert_eq!(calls.claim("a", HOUR).await, ClaimResult::Won);
    let after = clock::now();
    let ClaimResult::Busy { until } = calls.claim("b", HOUR).await else { unreachable!("a has it") };
    assert!(until >= before.plus(HOUR) && until <= after.plus(HOUR), "{until}");
}

async fn one_of_many_concurrent_callers_wins(fixture: &mut dyn Fixture) {
    let mut callers = JoinSet::new();
    for caller in 0..50 {
        let calls = StepClaims::new(fixture);
        callers.spawn(async move { calls.claim(&format!("node-{caller}"), HOUR).await });
    }
    let answers = callers.join_all().await;
    assert_eq!(answers.iter().filter(|answer| **answer == ClaimResult::Won).count(), 1);
    assert_eq!(answers.iter().filter(|answer| is_busy(answer)).count(), 49);
}

async fn repeated_claim_of_the_holder_has_the_same_answer(fixture: &mut dyn Fixture) {
    let calls = StepClaims::new(fixture);
    assert_eq!(calls.claim("a", Duration::ZERO).await, ClaimResult::Won);
    assert_eq!(calls.claim("a", HOUR).await, ClaimResult::Won);
    assert!(is_busy(&calls.claim("b", HOUR).await), "its lease was replaced by a longer one");
    let doubtful = StepClaims { key: claim_key(2), ..StepClaims::new(fixture) };
    doubtful.claim("a", Duration::ZERO).await;
    assert_eq!(doubtful.claim("b", HOUR).await, lapsed("a"));
    assert_eq!(
        doubtful.claim("b", HOUR).await,
        lapsed_again(fixture, "a"),
        "the call of a may have been made"
    );
    doubtful.release("b").await;
    assert_eq!(doubtful.claim("b", HOUR).await, lapsed_again(fixture, "a"), "also after a release");
}

async fn claim_with_an_expired_lease_lapses(fixture: &mut dyn Fixture) {
    let calls = StepClaims::new(fixture);
    let before = clock::now();
    calls.claim("a", MOMENT).await;
    assert_eq!(calls.claim_at_last("b").await, lapsed("a"));
    assert!(clock::now().since(before) >= MOMENT, "not before its end");
    assert!(is_busy(&calls.claim("c", HOUR).await), "b has it now");
}

async fn renewed_lease_continues(fixture: &mut dyn Fixture) {
    let calls = StepClaims::new(fixture);
    calls.claim("a", MOMENT).await;
    assert!(calls.renew("a", HOUR).await);
    let ClaimResult::Busy { until } = calls.claim("b", HOUR).await else { unreachable!("a has it") };
    assert!(until.since(clock::now()) > HOUR / 2);
}

async fn expired_lease_can_be_renewed_until_another_node_claims(fixture: &mut dyn Fixture) {
    let calls = StepClaims::new(fixture);
    calls.claim("a", Duration::ZERO).await;
    assert!(calls.renew("a", HOUR).await);
    assert!(is_busy(&calls.claim("b", HOUR).await));
}

async fn node_that_lost_its_claim_cannot_renew_it(fixture: &mut dyn Fixture) {
    let calls = StepClaims::new(fixture);
    assert!(!calls.renew("a", HOUR).await, "it never had it");
    calls.claim("a", Duration::ZERO).await;
    assert_eq!(calls.claim("b", HOUR).await, lapsed("a"));
    assert!(!calls.renew("a", HOUR).await);
    assert!(calls.renew("b", HOUR).await);
}

async fn completed_claim_stays_completed(fixture: &mut dyn Fixture) {
    let calls = StepClaims::new(fixture);
    calls.claim("a", Duration::ZERO).await;
    calls.done("a").await;
    calls.done("a").await;
    calls.release("a").await;
    assert!(!calls.renew("a", HOUR).await);
    assert_eq!(calls.claim("a", HOUR).await, ClaimResult::Done);
    assert_eq!(calls.claim("b", HOUR).await, ClaimResult::Done);
}

async fn only_the_holder_can_complete_a_claim(fixture: &mut dyn Fixture) {
    let calls = StepClaims::new(fixture);
    calls.done("a").await;
    assert_eq!(calls.claim("a", Duration::ZERO).await, ClaimResult::Won);
    assert_eq!(calls.claim("b", HOUR).await, lapsed("a"));
    calls.done("a").await;
    assert!(is_busy(&calls.claim("c", HOUR).await));
}

async fn released_claim_can_be_won_again(fixture: &mut dyn Fixture) {
    let calls = StepClaims::new(fixture);
    calls.claim("a", HOUR).await;
    calls.release("a").await;
    assert!(!calls.renew("a", HOUR).await);
    assert_eq!(calls.claim("b", HOUR).await, ClaimResult::Won);
}

async fn only_the_holder_can_release_a_claim(fixture: &mut dyn Fixture) {
    let calls = StepClaims::new(fixture);
    calls.claim("a", HOUR).await;
    calls.release("b").await;
    assert!(is_busy(&calls.claim("b", HOUR).await));
}

async fn lapse_outlives_a_release(fixture: &mut dyn Fixture) {
    let calls = StepClaims::new(fixture);
    calls.claim("a", Duration::ZERO).await;
    assert_eq!(calls.claim("b", HOUR).await, lapsed("a"));
    calls.release("b").await;
    assert!(!calls.renew("b", HOUR).await);
    assert_eq!(calls.claim("c", HOUR).await, lapsed_again(fixture, "a"), "the call of a may have been made");
}

async fn claims_of_different_steps_are_separate(fixture: &mut dyn Fixture) {
    let calls = StepClaims::new(fixture);
    let other = StepClaims { key: claim_key(2), ..StepClaims::new(fixture) };
    calls.claim("a", HOUR).await;
    assert_eq!(other.claim("b", HOUR).await, ClaimResult::Won);
    calls.done("a").await;
    assert!(other.renew("b", HOUR).await);
}

async fn claim_outlives_its_process(fixture: &mut dyn Fixture) {
    let calls = StepClaims::new(fixture);
    calls.claim("a", HOUR).await;
    calls.done("a").await;
    fixture.restart().await;
    assert_eq!(StepClaims::new(fixture).claim("b", HOUR).await, ClaimResult::Done);
}

async fn claim_of_an_ended_process_lapses(fixture: &mut dyn Fixture) {
    StepClaims::new(fixture).claim("a", MOMENT).await;
    fixture.restart().await;
    assert_eq!(StepClaims::new(fixture).claim_at_last("b").await, lapsed("a"));
}
