//! What every set of adapters has to keep: the sentences of the ports' documentation, as checks.
//!
//! A contract is an async function over a [`Fixture`]; its name is the sentence it checks. Each module lists its
//! contracts, and [`run`] makes a test of each, so that another set of adapters needs a fixture and one line.
//! A contract waits for what it expects and never for time to pass; one that waits in vain fails after
//! [`PATIENCE`].

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
mod words;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use libtest_mimic::{Arguments, Trial};
use longshore_ports::{Backend, Catalog, Lease};

/// How long a contract may take on a busy machine; each takes well under a second on an idle one.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A set of adapters on storage of its own, empty at first.
#[async_trait]
pub trait Fixture: Send {
    /// The ports.
    fn backend(&self) -> Backend;

    /// Ends the process, as far as the adapters can tell, and begins another one on the same storage.
    async fn restart(&mut self);

    /// The ports that only a cluster has, if this is a set of adapters for one.
    fn cluster(&self) -> Option<Cluster> {
        None
    }
}

/// The ports of processes that have to find each other.
#[derive(Clone)]
pub struct Cluster {
    /// Who should try to lead.
    pub lease: Arc<dyn Lease>,
    /// Which workers are there.
    pub catalog: Arc<dyn Catalog>,
}

/// A sentence of a port's documentation, with its check.
#[derive(Clone, Copy)]
pub struct Contract {
    /// The sentence.
    pub name: &'static str,
    /// Panics if it does not hold.
    pub check: for<'a> fn(&'a mut dyn Fixture) -> BoxFuture<'a, ()>,
}

/// Lists the contracts of a module. One that is missing here is dead code, and the compiler says so.
macro_rules! contracts {
    ($($name:ident),* $(,)?) => {
        /// Every contract of this port.
        pub const ALL: &[$crate::contract::Contract] = &[$(
            $crate::contract::Contract { name: stringify!($name), check: |fixture| Box::pin($name(fixture)) }
        ),*];
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

/// The `main` of a test binary: every contract of these ports against the fixtures that `open` makes, one for each.
pub fn run<F: Fixture + 'static>(
    ports: &[&[Port]],
    open: impl AsyncFn() -> F + Copy + Send + 'static,
) -> ExitCode {
    let trials = ports.iter().copied().flatten().flat_map(|(port, contracts)| {
        contracts.iter().map(move |contract| {
            Trial::test(format!("{port}::{}", contract.name), move || {
                check(*contract, open);
                Ok(())
            })
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn check<F: Fixture>(contract: Contract, open: impl AsyncFn() -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut fixture = open().await;
        tokio::time::timeout(PATIENCE, (contract.check)(&mut fixture)).await.expect("it ends in time");
    });
}
