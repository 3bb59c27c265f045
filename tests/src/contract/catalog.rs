//! The contracts of [`Catalog`].

use std::sync::Arc;
use std::time::Duration;

use longshore_ports::{Catalog, WorkerEntry, clock};
use longshore_proto::Timestamp;

use crate::wait::until_true;

use super::values::{node, server};
use super::{Fixture, contracts};

contracts![
    worker_is_listed_with_its_entry,
    workers_are_listed_in_the_order_of_their_ids,
    repeated_entry_replaces_the_earlier_one,
    entry_that_is_not_renewed_expires,
    renewed_entry_stays,
    withdrawn_worker_is_not_listed,
];

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(40);

fn catalog(fixture: &dyn Fixture) -> Arc<dyn Catalog> {
    fixture.cluster().expect("a set of adapters for a cluster").catalog
}

fn worker(name: &str) -> WorkerEntry {
    WorkerEntry {
        worker: node(name),
        version: "0.1.0".to_owned(),
        started_at: Timestamp::from_millis(1_795_187_471_042),
        slots: 16,
        servers: vec![server("files"), server("payments")],
        problems: vec!["claims: denied".to_owned()],
    }
}

async fn workers(catalog: &dyn Catalog) -> Vec<WorkerEntry> {
    catalog.workers().await.expect("lists")
}

async fn present(catalog: &dyn Catalog, entry: &WorkerEntry, lifetime: Duration) {
    catalog.announce(entry, lifetime).await.expect("answers");
}

async fn worker_is_listed_with_its_entry(fixture: &mut dyn Fixture) {
    let catalog = catalog(fixture);
    assert!(workers(&*catalog).await.is_empty());
    present(&*catalog, &worker("a"), HOUR).await;
    assert_eq!(workers(&*catalog).await, [worker("a")]);
}

async fn workers_are_listed_in_the_order_of_their_ids(fixture: &mut dyn Fixture) {
    let catalog = catalog(fixture);
    for name in ["b", "c", "a"] {
        present(&*catalog, &worker(name), HOUR).await;
    }
    assert_eq!(workers(&*catalog).await, ["a", "b", "c"].map(worker));
}

async fn repeated_entry_replaces_the_earlier_one(fixture: &mut dyn Fixture) {
    let catalog = catalog(fixture);
    present(&*catalog, &worker("a"), HOUR).await;
    let now = WorkerEntry { slots: 1, servers: Vec::new(), ..worker("a") };
    present(&*catalog, &now, HOUR).await;
    assert_eq!(workers(&*catalog).await, [now]);
}

async fn entry_that_is_not_renewed_expires(fixture: &mut dyn Fixture) {
    let catalog = catalog(fixture);
    let before = clock::now();
    present(&*catalog, &worker("a"), MOMENT).await;
    present(&*catalog, &worker("b"), HOUR).await;
    until_true("a is not listed any more", || async { workers(&*catalog).await == [worker("b")] }).await;
    assert!(clock::now().since(before) >= MOMENT, "not before its time");
}

async fn renewed_entry_stays(fixture: &mut dyn Fixture) {
    let catalog = catalog(fixture);
    for name in ["a", "b"] {
        present(&*catalog, &worker(name), MOMENT).await;
    }
    present(&*catalog, &worker("a"), HOUR).await;
    until_true("one of them is not listed any more", || async { workers(&*catalog).await.len() == 1 }).await;
    assert_eq!(workers(&*catalog).await, [worker("a")]);
}

async fn withdrawn_worker_is_not_listed(fixture: &mut dyn Fixture) {
    let catalog = catalog(fixture);
    present(&*catalog, &worker("a"), HOUR).await;
    present(&*catalog, &worker("b"), HOUR).await;
    catalog.withdraw(&node("a")).await.expect("answers");
    catalog.withdraw(&node("unknown")).await.expect("answers");
    assert_eq!(workers(&*catalog).await, [worker("b")]);
}
