//! Jobs that a new leader finds missing in the queue.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_embedded::{Access, Embedded, RunWatchers};
use longshore_ports::{Delivery, Error, GrantWaiter, JobQueue};
use longshore_proto::{DeliveryId, Grant, Job, JobAddress, JobId, Partition, Retention, ServerName};
use longshore_scheduler::{Driver, Intake, SubmitRequest};
use serde_json::Map;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs of the test.
const RUNS: usize = 5;

/// Calls that each of them has outstanding: as many as one run may have.
const CALLS: usize = 256;

/// A queue that loses every job, and reports the number of jobs of each publish.
struct LosingQueue {
    published: mpsc::Sender<usize>,
}

#[async_trait]
impl JobQueue for LosingQueue {
    async fn publish(&self, jobs: Vec<Job>) -> Result<(), Error> {
        self.published.send(jobs.len()).await.map_err(|error| Error::permanent("publish", error))
    }
    async fn holds(&self, jobs: &[JobAddress]) -> Result<Vec<bool>, Error> {
        Ok(vec![false; jobs.len()])
    }
    async fn withdraw(&self, _: &[JobId]) -> Result<(), Error> {
        Ok(())
    }
    async fn recall(&self, _: &[JobId]) -> Result<(), Error> {
        Ok(())
    }
    async fn grant(&self, _: &[Grant]) -> Result<(), Error> {
        Ok(())
    }
    async fn grant_waiter(&self, _: &DeliveryId) -> Result<GrantWaiter, Error> {
        Err(Error::permanent("wait", "no worker is here"))
    }
    fn outlives_process(&self) -> bool {
        true
    }
    async fn pull(&self, _: &ServerName, _: NonZeroUsize, _: Duration) -> Result<Vec<Delivery>, Error> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn missing_jobs_are_sent_in_groups_so_that_few_are_in_memory_at_once() {
    let dir = TempDir::new().expect("a folder");
    let embedded = Embedded::open(dir.path(), Access::ReadWrite).await.expect("opens");
    let (published, mut groups) = mpsc::channel(RUNS * CALLS);
    let mut backend = embedded.backend();
    backend.jobs = Arc::new(LosingQueue { published });
    let members: String =
        (0..CALLS).map(|n| format!("      - {{ id: c{n}, call: s/t, retry: 2 }}\n")).collect();
    let text = format!("longshore: v1\nname: wide\nsteps:\n  - parallel:\n{members}");
    let intake = Intake::new(backend.clone(), 1);
    let plan = intake.register(&text).await.expect("registers");
    for _ in 0..RUNS {
        let namespace = "default".parse().expect("a namespace");
        let request = SubmitRequest::new(namespace, plan.name.clone(), Map::new());
        intake.submit(intake.draw_id(), &plan, request).await.expect("submits");
    }
    // The first leader applies the submits, the second one finds their jobs missing.
    for leader in ["first", "second"] {
        let (node, updates) = (leader.parse().expect("a node"), Arc::new(RunWatchers::default()));
        let driver =
            Driver::take_over(backend.clone(), Partition(0), node, updates, Retention::default()).await;
        let stop = CancellationToken::new();
        let mut leading = JoinSet::new();
        leading.spawn(driver.expect("takes over").lead(stop.clone()));
        let mut sent = 0;
        while sent < RUNS * CALLS {
            let group = timeout(LIMIT, groups.recv()).await.expect("in time").expect("the queue is there");
            assert!((1..=1_000).contains(&group), "{group}");
            sent += group;
        }
        assert_eq!(sent, RUNS * CALLS, "{leader}: each job is sent once");
        stop.cancel();
        leading.join_next().await.expect("a leader").expect("ends").expect("leads");
    }
    embedded.close().await;
}
