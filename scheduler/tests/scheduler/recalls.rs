//! Recalls of jobs while the queue does not answer.

use std::future::pending;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use longshore_embedded::{Access, Embedded, RunWatchers};
use longshore_ports::{Backend, Delivery, Error, GrantWaiter, JobQueue};
use longshore_proto::{
    DeliveryId, Grant, Job, JobAddress, JobId, Partition, Retention, RunId, ServerName, Signal,
};
use longshore_scheduler::{Driver, Intake, SubmitRequest};
use serde_json::Map;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::worker::pull;

const LIMIT: Duration = Duration::from_secs(20);

const WORKFLOW: &str = "longshore: v1
name: wide
steps: [{ parallel: [{ id: a, call: s/t }, { id: b, call: s/t }] }]
";

/// Answer of the queue to a recall.
#[derive(Clone, Copy)]
enum RecallAnswer {
    /// No request is answered.
    Never,
    /// The first request fails.
    OneFailure,
}

/// The real queue, except for recalls.
struct RecallQueue {
    queue: Arc<dyn JobQueue>,
    answer: RecallAnswer,
    /// The jobs of each recall request.
    requests: Mutex<Vec<Vec<JobId>>>,
    count: watch::Sender<usize>,
}

#[async_trait]
impl JobQueue for RecallQueue {
    async fn publish(&self, jobs: Vec<Job>) -> Result<(), Error> {
        self.queue.publish(jobs).await
    }
    async fn holds(&self, jobs: &[JobAddress]) -> Result<Vec<bool>, Error> {
        self.queue.holds(jobs).await
    }
    async fn withdraw(&self, jobs: &[JobId]) -> Result<(), Error> {
        self.queue.withdraw(jobs).await
    }
    async fn recall(&self, jobs: &[JobId]) -> Result<(), Error> {
        self.requests.lock().expect("no panic").push(jobs.to_vec());
        self.count.send_modify(|count| *count += 1);
        match self.answer {
            RecallAnswer::Never => pending().await,
            RecallAnswer::OneFailure if *self.count.borrow() == 1 => {
                Err(Error::transient("recall jobs", "unavailable"))
            }
            RecallAnswer::OneFailure => self.queue.recall(jobs).await,
        }
    }
    async fn grant(&self, grants: &[Grant]) -> Result<(), Error> {
        self.queue.grant(grants).await
    }
    async fn grant_waiter(&self, delivery: &DeliveryId) -> Result<GrantWaiter, Error> {
        self.queue.grant_waiter(delivery).await
    }
    fn outlives_process(&self) -> bool {
        self.queue.outlives_process()
    }
    async fn pull(
        &self,
        server: &ServerName,
        max: NonZeroUsize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        self.queue.pull(server, max, wait).await
    }
}

/// A leader on a queue with such recalls.
struct Fixture {
    embedded: Embedded,
    backend: Backend,
    queue: Arc<RecallQueue>,
    intake: Intake,
    stop: CancellationToken,
    leading: JoinSet<()>,
    _dir: TempDir,
}

impl Fixture {
    async fn start(answer: RecallAnswer) -> Self {
        let dir = TempDir::new().expect("a folder");
        let embedded = Embedded::open(dir.path(), Access::ReadWrite).await.expect("opens");
        let mut backend = embedded.backend();
        let queue = Arc::new(RecallQueue {
            queue: Arc::clone(&backend.jobs),
            answer,
            requests: Mutex::default(),
            count: watch::Sender::new(0),
        });
        backend.jobs = queue.clone();
        let (node, updates) = ("leader".parse().expect("a node"), Arc::new(RunWatchers::default()));
        let driver =
            Driver::take_over(backend.clone(), Partition(0), node, updates, Retention::default()).await;
        let (driver, stop, mut leading) =
            (driver.expect("takes over"), CancellationToken::new(), JoinSet::new());
        let until = stop.clone();
        leading.spawn(async move {
            driver.lead(until).await.expect("leads");
        });
        let intake = Intake::new(backend.clone(), 1);
        Self { embedded, backend, queue, intake, stop, leading, _dir: dir }
    }

    /// Submits a run and takes its two jobs.
    async fn submit(&self) -> (RunId, Vec<Delivery>) {
        let plan = self.intake.register(WORKFLOW).await.expect("registers");
        let namespace = "default".parse().expect("a namespace");
        let request = SubmitRequest::new(namespace, plan.name.clone(), Map::new());
        let run = self.intake.submit(self.intake.draw_id(), &plan, request).await.expect("submits");
        let jobs = vec![pull(&self.backend).await, pull(&self.backend).await];
        (run, jobs)
    }

    async fn cancel(&self, run: RunId) {
        let namespace = "default".parse().expect("a namespace");
        self.intake
            .signal(&namespace, run, Signal::Cancel { reason: "not wanted".to_owned() })
            .await
            .expect("appends");
    }

    async fn end(mut self) {
        self.stop.cancel();
        self.leading.join_next().await.expect("a task").expect("no panic");
        self.embedded.close().await;
    }
}

#[tokio::test]
async fn jobs_are_dispatched_while_a_recall_has_no_answer() {
    let fixture = Fixture::start(RecallAnswer::Never).await;
    let (first, _jobs) = fixture.submit().await;
    fixture.cancel(first).await;
    let mut count = fixture.queue.count.subscribe();
    drop(timeout(LIMIT, count.wait_for(|count| *count > 0)).await.expect("in time").expect("a recall"));
    assert_eq!(fixture.queue.requests.lock().expect("no panic")[0].len(), 2, "both jobs in one request");
    let (second, jobs) = fixture.submit().await;
    assert!(jobs.iter().all(|delivery| delivery.job.id.run == second));
    fixture.end().await;
}

#[tokio::test]
async fn failed_recall_is_sent_again() {
    let fixture = Fixture::start(RecallAnswer::OneFailure).await;
    let (run, jobs) = fixture.submit().await;
    fixture.cancel(run).await;
    for delivery in jobs {
        timeout(LIMIT, delivery.recalled.cancelled()).await.expect("recalled in time");
    }
    fixture.end().await;
}
