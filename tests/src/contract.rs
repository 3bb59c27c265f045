//! The contracts of the ports: each promise of their documentation, as a check for every set of adapters.
//!
//! A contract is an async function over a [`Fixture`]; its name is the promise it checks. Each module lists its contracts, and
//! [`tests`] makes a test of each, so that another set of adapters needs a fixture and one line. A contract waits for a
//! condition and never for time to pass; it fails after [`PATIENCE`].

#![expect(clippy::expect_used, reason = "a check that fails ends its test")]
#![expect(clippy::indexing_slicing, reason = "a check that fails ends its test")]

pub mod blobs;
pub mod catalog;
pub mod checkpoints;
pub mod claims;
pub mod job_queue;
pub mod lease;
pub mod run_lists;
pub mod run_log;
mod values;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use libtest_mimic::Trial;
use longshore_ports::{Backend, Catalog, Lease};

/// The limit for a contract on a busy machine; each takes well under a second on an idle one.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A set of adapters on a storage of its own, which is empty at first.
#[async_trait]
pub trait Fixture: Send {
    /// Returns the ports.
    fn backend(&self) -> Backend;

    /// Ends the process, from the view of the adapters, and starts another one on the same storage.
    async fn restart(&mut self);

    /// Returns the ports that only a cluster has, if these are the adapters of a cluster.
    fn cluster(&self) -> Option<ClusterPorts> {
        None
    }
}

/// The ports that only a cluster has.
#[derive(Clone)]
pub struct ClusterPorts {
    /// The leases of partitions, and the list of schedulers.
    pub lease: Arc<dyn Lease>,
    /// The list of workers.
    pub catalog: Arc<dyn Catalog>,
}

/// One promise of a port's documentation, with its check.
#[derive(Clone, Copy)]
pub struct Contract {
    /// The promise.
    pub name: &'static str,
    /// Panics if the promise does not hold.
    pub check: for<'a> fn(&'a mut dyn Fixture) -> BoxFuture<'a, ()>,
}

/// Lists the contracts of a module. A contract that is missing here is dead code, which the compiler reports.
macro_rules! contracts {
    ($($name:ident),* $(,)?) => {
        /// Every contract of this port.
        pub const ALL: &[$crate::contract::Contract] = &[
            $($crate::contract::Contract {
                name: stringify!($name),
                check: |fixture| Box::pin($name(fixture)),
            },)*
        ];
    };
}
use contracts;

/// A port with its contracts.
pub type Port = (&'static str, &'static [Contract]);

/// Every contract of every port that all sets of adapters have.
pub const ALL: &[Port] = &[
    ("run_log", run_log::ALL),
    ("job_queue", job_queue::ALL),
    ("checkpoints", checkpoints::ALL),
    ("run_lists", run_lists::ALL),
    ("claims", claims::ALL),
    ("blobs", blobs::ALL),
];

/// Every contract of every port that only a cluster has.
pub const CLUSTER: &[Port] = &[("lease", lease::ALL), ("catalog", catalog::ALL)];

/// Returns a test for every contract of these ports, each with a fixture of its own from `open`.
pub fn tests<F: Fixture + 'static>(
    adapters: &str,
    ports: &[&[Port]],
    open: impl AsyncFn() -> F + Copy + Send + 'static,
) -> Vec<Trial> {
    let mut tests = Vec::new();
    for (port, contracts) in ports.iter().copied().flatten() {
        for contract in *contracts {
            let name = format!("{adapters}::{port}::{}", contract.name);
            tests.push(Trial::test(name, move || {
                check(*contract, open);
                Ok(())
            }));
        }
    }
    tests
}

fn check<F: Fixture>(contract: Contract, open: impl AsyncFn() -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut fixture = open().await;
        tokio::time::timeout(PATIENCE, (contract.check)(&mut fixture)).await.expect("it ends in time");
    });
}
