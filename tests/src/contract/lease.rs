//! The contracts of [`Lease`].
//!
//! Leases that have to run out are short, and the contract asks again until they have; leases that must not are an
//! hour.

use std::sync::Arc;
use std::time::Duration;

use longshore_ports::{Lease, clock};
use longshore_proto::{NodeId, Partition};
use tokio::task::JoinSet;

use super::words::{LOG, node};
use super::{Fixture, contracts};

contracts![
    a_lease_has_one_holder,
    of_many_schedulers_at_once_one_holds_it,
    a_holder_renews_it,
    it_ends_with_its_time,
    a_renewed_lease_ends_with_its_new_time,
    what_was_released_is_free,
    only_the_holder_can_release_it,
    leases_of_partitions_are_apart,
    a_lease_outlives_the_process_of_its_store,
    who_attends_is_seen_by_all_in_the_order_of_ids,
    who_attends_twice_is_seen_once,
    who_left_is_not_seen,
    who_does_not_attend_again_is_not_seen_for_long,
    attending_is_no_lease,
];

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(40);

/// Leases, for nodes by their names.
struct Leases(Arc<dyn Lease>);

impl Leases {
    fn of(fixture: &dyn Fixture) -> Self {
        Self(fixture.cluster().expect("a set of adapters for a cluster").lease)
    }

    async fn hold(&self, who: &str, ttl: Duration) -> bool {
        self.0.hold(LOG, &node(who), ttl).await.expect("answers")
    }

    /// Holds it as soon as nobody else does.
    async fn hold_at_last(&self, who: &str) {
        while !self.hold(who, HOUR).await {
            tokio::task::yield_now().await;
        }
    }

    async fn release(&self, who: &str) {
        self.0.release(LOG, &node(who)).await.expect("answers");
    }

    async fn attend(&self, who: &str, ttl: Duration) -> Vec<NodeId> {
        self.0.announce_scheduler(&node(who), ttl).await.expect("answers")
    }
}

fn nodes<const N: usize>(names: [&str; N]) -> Vec<NodeId> {
    names.map(node).to_vec()
}

async fn a_lease_has_one_holder(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    assert!(leases.hold("a", HOUR).await);
    assert!(!leases.hold("b", HOUR).await);
    assert!(!leases.hold("c", MOMENT).await);
}

async fn of_many_schedulers_at_once_one_holds_it(fixture: &mut dyn Fixture) {
    let mut callers = JoinSet::new();
    for caller in 0..50 {
        let leases = Leases::of(fixture);
        callers.spawn(async move { leases.hold(&format!("node-{caller}"), HOUR).await });
    }
    assert_eq!(callers.join_all().await.into_iter().filter(|held| *held).count(), 1);
}

async fn a_holder_renews_it(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    assert!(leases.hold("a", MOMENT).await);
    assert!(leases.hold("a", HOUR).await, "its own, or free by now");
    assert!(!leases.hold("b", HOUR).await);
}

async fn it_ends_with_its_time(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    let before = clock::now();
    assert!(leases.hold("a", MOMENT).await);
    leases.hold_at_last("b").await;
    assert!(clock::now().since(before) >= MOMENT, "not before its end");
    assert!(!leases.hold("a", HOUR).await, "it is b's now");
}

async fn a_renewed_lease_ends_with_its_new_time(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    assert!(leases.hold("a", HOUR).await);
    assert!(leases.hold("a", MOMENT).await);
    leases.hold_at_last("b").await;
}

async fn what_was_released_is_free(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    leases.release("a").await;
    assert!(leases.hold("a", HOUR).await);
    leases.release("a").await;
    assert!(leases.hold("b", HOUR).await);
}

async fn only_the_holder_can_release_it(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    assert!(leases.hold("a", HOUR).await);
    leases.release("b").await;
    assert!(!leases.hold("b", HOUR).await);
}

async fn leases_of_partitions_are_apart(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    assert!(leases.hold("a", HOUR).await);
    assert!(leases.0.hold(Partition(1), &node("b"), HOUR).await.expect("answers"));
    leases.0.release(Partition(1), &node("b")).await.expect("answers");
    assert!(!leases.hold("b", HOUR).await);
}

async fn a_lease_outlives_the_process_of_its_store(fixture: &mut dyn Fixture) {
    assert!(Leases::of(fixture).hold("a", HOUR).await);
    fixture.restart().await;
    let leases = Leases::of(fixture);
    assert!(!leases.hold("b", HOUR).await);
    assert!(leases.hold("a", HOUR).await);
}

async fn who_attends_is_seen_by_all_in_the_order_of_ids(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    assert_eq!(leases.attend("b", HOUR).await, nodes(["b"]));
    assert_eq!(leases.attend("c", HOUR).await, nodes(["b", "c"]));
    assert_eq!(leases.attend("a", HOUR).await, nodes(["a", "b", "c"]));
}

async fn who_attends_twice_is_seen_once(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    leases.attend("a", MOMENT).await;
    assert_eq!(leases.attend("a", HOUR).await, nodes(["a"]));
}

async fn who_left_is_not_seen(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    leases.attend("a", HOUR).await;
    leases.attend("b", HOUR).await;
    leases.0.withdraw_scheduler(&node("a")).await.expect("answers");
    leases.0.withdraw_scheduler(&node("a")).await.expect("answers");
    assert_eq!(leases.attend("b", HOUR).await, nodes(["b"]));
}

async fn who_does_not_attend_again_is_not_seen_for_long(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    let before = clock::now();
    leases.attend("a", MOMENT).await;
    while leases.attend("b", HOUR).await != nodes(["b"]) {
        tokio::task::yield_now().await;
    }
    assert!(clock::now().since(before) >= MOMENT, "not before its time");
}

async fn attending_is_no_lease(fixture: &mut dyn Fixture) {
    let leases = Leases::of(fixture);
    leases.attend("a", HOUR).await;
    assert!(leases.hold("b", HOUR).await);
    leases.0.withdraw_scheduler(&node("b")).await.expect("answers");
    assert!(!leases.hold("a", HOUR).await);
}
