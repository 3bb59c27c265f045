//! The contracts of [`Lease`].
//!
//! Leases that have to expire are short, and the contract waits until they have; other leases last an hour.

use std::sync::Arc;
use std::time::Duration;

use longshore_ports::{Lease, clock};
use longshore_proto::{NodeId, Partition};
use tokio::task::JoinSet;

use crate::wait::until_true;

use super::values::{PARTITION, node};
use super::{Fixture, contracts};

contracts![
    lease_has_one_holder,
    one_of_many_concurrent_schedulers_holds_a_lease,
    holder_renews_its_lease,
    lease_expires,
    renewed_lease_expires_at_its_new_time,
    released_lease_is_free,
    only_the_holder_can_release_a_lease,
    leases_of_partitions_are_separate,
    live_schedulers_are_listed_in_the_order_of_their_ids,
    scheduler_that_is_announced_twice_is_listed_once,
    scheduler_that_left_is_not_listed,
    scheduler_that_does_not_attend_again_expires,
    announcing_a_scheduler_does_not_take_a_lease,
    lease_outlives_the_process_of_its_store,
];

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(40);

/// Leases of one partition, for nodes given by their names.
struct Leases(Arc<dyn Lease>);

impl Leases {
    fn of(fixture: &dyn Fixture) -> Self {
        Self(fixture.cluster().expect("a set of adapters for a cluster").lease)
    }

    async fn hold(&self, who: &str, ttl: Duration) -> bool {
        self.0.hold(PARTITION, &node(who), ttl).await.expect("answers")
    }

    /// Takes the lease as soon as no other node has it.
    async fn hold_at_last(&self, who: &str) {
        until_true("the lease of another node ends", || async { self.hold(who, HOUR).await }).await;
    }

    async fn release(&self, who: &str) {
        self.0.release(PARTITION, &node(who)).await.expect("answers");
    }

    async fn announce_scheduler(&self, who: &str, ttl: Duration) -> Vec<NodeId> {
        self.0.announce_scheduler(&node(who), ttl).await.expect("answers")
    }
}

fn nodes<const N: usize>(names: [&str; N]) -> Vec<NodeId> {
    names.map(node).to_vec()
}

async fn lease_has_one_holder(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    assert!(leases.hold("a", HOUR).await);
    assert!(!leases.hold("b", HOUR).await);
    assert!(!leases.hold("c", MOMENT).await);
}

async fn one_of_many_concurrent_schedulers_holds_a_lease(fixture: &mut dyn Fixture) {
    let mut callers = JoinSet::new();
    for caller in 0..50 {
        let leases = Leases::of(fixture);
        callers.spawn(async move { leases.hold(&format!("node-{caller}"), HOUR).await });
    }
    assert_eq!(callers.join_all().await.into_iter().filter(|held| *held).count(), 1);
}

async fn holder_renews_its_lease(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    assert!(leases.hold("a", MOMENT).await);
    assert!(leases.hold("a", HOUR).await, "it holds the lease, or the lease is free by now");
    assert!(!leases.hold("b", HOUR).await);
}

async fn lease_expires(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    let before = clock::now();
    assert!(leases.hold("a", MOMENT).await);
    leases.hold_at_last("b").await;
    assert!(clock::now().since(before) >= MOMENT, "not before its end");
    assert!(!leases.hold("a", HOUR).await, "b holds it");
}

async fn renewed_lease_expires_at_its_new_time(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    assert!(leases.hold("a", HOUR).await);
    assert!(leases.hold("a", MOMENT).await);
    leases.hold_at_last("b").await;
}

async fn released_lease_is_free(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    leases.release("a").await;
    assert!(leases.hold("a", HOUR).await);
    leases.release("a").await;
    assert!(leases.hold("b", HOUR).await);
}

async fn only_the_holder_can_release_a_lease(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    assert!(leases.hold("a", HOUR).await);
    leases.release("b").await;
    assert!(!leases.hold("b", HOUR).await);
}

async fn leases_of_partitions_are_separate(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    assert!(leases.hold("a", HOUR).await);
    assert!(leases.0.hold(Partition(1), &node("b"), HOUR).await.expect("answers"));
    leases.0.release(Partition(1), &node("b")).await.expect("answers");
    assert!(!leases.hold("b", HOUR).await);
}

async fn lease_outlives_the_process_of_its_store(fixture: &mut dyn Fixture) {
    assert!(Leases::of(fixture).hold("a", HOUR).await);
    fixture.restart().await;
    let leases = Leases::of(fixture);
    assert!(!leases.hold("b", HOUR).await);
    assert!(leases.hold("a", HOUR).await);
}

async fn live_schedulers_are_listed_in_the_order_of_their_ids(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    assert_eq!(leases.announce_scheduler("b", HOUR).await, nodes(["b"]));
    assert_eq!(leases.announce_scheduler("c", HOUR).await, nodes(["b", "c"]));
    assert_eq!(leases.announce_scheduler("a", HOUR).await, nodes(["a", "b", "c"]));
}

async fn scheduler_that_is_announced_twice_is_listed_once(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    leases.announce_scheduler("a", MOMENT).await;
    assert_eq!(leases.announce_scheduler("a", HOUR).await, nodes(["a"]));
}

async fn scheduler_that_left_is_not_listed(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    leases.announce_scheduler("a", HOUR).await;
    leases.announce_scheduler("b", HOUR).await;
    leases.0.withdraw_scheduler(&node("a")).await.expect("answers");
    leases.0.withdraw_scheduler(&node("a")).await.expect("answers");
    assert_eq!(leases.announce_scheduler("b", HOUR).await, nodes(["b"]));
}

async fn scheduler_that_does_not_attend_again_expires(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    let before = clock::now();
    leases.announce_scheduler("a", MOMENT).await;
    until_true("a is not seen any more", || async {
        leases.announce_scheduler("b", HOUR).await == nodes(["b"])
    })
    .await;
    assert!(clock::now().since(before) >= MOMENT, "not before its time");
}

async fn announcing_a_scheduler_does_not_take_a_lease(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    leases.announce_scheduler("a", HOUR).await;
    assert!(leases.hold("b", HOUR).await);
    leases.0.withdraw_scheduler(&node("b")).await.expect("answers");
    assert!(!leases.hold("a", HOUR).await);
}
