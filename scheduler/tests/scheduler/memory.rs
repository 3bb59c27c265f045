//! Bounds on the memory of a leader: during the replay of a long log, and while the checkpoint store is unavailable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use longshore_embedded::{Access, Embedded, RunWatchers};
use longshore_ports::{
    Backend, CheckpointDelta, Checkpoints, CommitResult, Error, LoadedCheckpoint, RunPage, RunQuery, RunRow,
};
use longshore_proto::{CheckpointMark, Event, Namespace, Partition, Retention, RunId, Timestamp};
use longshore_scheduler::{Driver, Intake, LeadershipEnd, SubmitRequest};
use serde_json::Map;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Far longer than any step of a test takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

const P0: Partition = Partition(0);

/// More ended runs than a leader keeps in memory.
const RUNS: usize = 24_000;

/// Workflow whose runs end at once.
const WORKFLOW: &str = r#"{"longshore": "v1", "name": "brief", "steps": [{"id": "it", "set": {"a": 1}}]}"#;

/// The real store, which can be made unavailable, and the size of its commits.
struct CountingStore {
    store: Arc<dyn Checkpoints>,
    is_away: AtomicBool,
    tries: AtomicUsize,
    /// Rows of the largest commit.
    largest: AtomicUsize,
    /// Probes that failed.
    refused: AtomicUsize,
    /// Probes that succeeded since the last commit.
    probed: AtomicUsize,
    /// The most of them before a commit that was stored.
    probed_before_stored: AtomicUsize,
}

#[async_trait]
impl Checkpoints for CountingStore {
    async fn load(&self, partition: Partition) -> Result<Option<LoadedCheckpoint>, Error> {
        self.store.load(partition).await
    }

    async fn commit(&self, partition: Partition, delta: Arc<CheckpointDelta>) -> Result<CommitResult, Error> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        let probed = self.probed.swap(0, Ordering::Relaxed);
        if self.is_away.load(Ordering::Relaxed) {
            return Err(Error::transient("commit", "it is unavailable"));
        }
        self.probed_before_stored.fetch_max(probed, Ordering::Relaxed);
        self.largest.fetch_max(delta.changed.len(), Ordering::Relaxed);
        self.store.commit(partition, delta).await
    }

    async fn mark(&self, partition: Partition) -> Result<Option<CheckpointMark>, Error> {
        self.store.mark(partition).await
    }

    async fn probe(&self) -> Result<(), Error> {
        if self.is_away.load(Ordering::Relaxed) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Error::transient("probe", "it is away"));
        }
        self.probed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn run(&self, run: RunId) -> Result<Option<RunRow>, Error> {
        self.store.run(run).await
    }

    async fn runs(&self, query: RunQuery) -> Result<RunPage, Error> {
        self.store.runs(query).await
    }

    async fn count_live(&self, namespace: &Namespace) -> Result<u64, Error> {
        self.store.count_live(namespace).await
    }
}

struct Fixture {
    _dir: TempDir,
    embedded: Embedded,
    backend: Backend,
    checkpoints: Arc<CountingStore>,
}

impl Fixture {
    async fn open() -> Self {
        let dir = TempDir::new().expect("a folder");
        let embedded = Embedded::open(dir.path(), Access::ReadWrite).await.expect("opens");
        let mut backend = embedded.backend();
        let store = Arc::clone(&backend.checkpoints);
        let (is_away, tries, largest) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let zero = || AtomicUsize::new(0);
        let (refused, probed, probed_before_stored) = (zero(), zero(), zero());
        let checkpoints =
            CountingStore { store, is_away, tries, largest, refused, probed, probed_before_stored };
        let checkpoints = Arc::new(checkpoints);
        backend.checkpoints = checkpoints.clone();
        Self { _dir: dir, embedded, backend, checkpoints }
    }

    /// Submits so many runs that end at once.
    async fn submit(&self, runs: usize) {
        let intake = Intake::new(self.backend.clone(), 1);
        let plan = intake.register(WORKFLOW).await.expect("registers");
        let namespace = "default".parse().expect("a namespace");
        let request = SubmitRequest::new(namespace, plan.name.clone(), Map::new());
        intake.submit(intake.draw_id(), &plan, request).await.expect("submits");
        let mut reader = self.backend.log.read(P0, longshore_proto::Seq(1)).await.expect("reads");
        let mut found = None;
        while found.is_none() {
            let entries = reader.next(100).await.expect("reads");
            found = entries
                .into_iter()
                .flat_map(|entry| entry.events)
                .filter_map(Result::ok)
                .find(|event| matches!(event, Event::Submitted { .. }));
        }
        let first = found.expect("it was submitted");
        let copy = |n: usize| {
            let mut event = first.clone();
            if let Event::Submitted { run, .. } = &mut event {
                *run = RunId::new(P0, Timestamp::from_millis(1), n as u128 + 1);
            }
            event
        };
        for piece in (1..runs).collect::<Vec<_>>().chunks(500) {
            self.backend
                .log
                .append(P0, &piece.iter().map(|n| copy(*n)).collect::<Vec<_>>())
                .await
                .expect("appends");
        }
    }

    async fn lead(&self) -> (CancellationToken, JoinHandle<LeadershipEnd>) {
        let node = "leader".parse().expect("a node");
        let updates = Arc::new(RunWatchers::default());
        let taking = Driver::take_over(self.backend.clone(), P0, node, updates, Retention::default());
        let driver = taking.await.expect("takes the partition over");
        let stop = CancellationToken::new();
        let until = stop.clone();
        #[expect(clippy::disallowed_methods, reason = "the test holds the handle and waits for it")]
        let leading = tokio::spawn(async move { driver.lead(until).await.expect("leads") });
        (stop, leading)
    }

    /// Waits until the checkpoint has so many runs as finished.
    async fn has_all(&self, runs: usize) {
        let all = async {
            loop {
                let loaded = self.checkpoints.store.load(P0).await.expect("loads");
                if loaded.is_some_and(|loaded| loaded.finished.len() == runs && loaded.live.is_empty()) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, all).await.expect("all are stored in time");
    }

    async fn end(self, (stop, leading): (CancellationToken, JoinHandle<LeadershipEnd>)) {
        stop.cancel();
        assert_eq!(
            timeout(LIMIT, leading).await.expect("in time").expect("no panic"),
            LeadershipEnd::Stopped
        );
        self.embedded.close().await;
    }

    fn largest(&self) -> usize {
        self.checkpoints.largest.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_long_replay_is_stored_in_several_commits() {
    let fixture = Fixture::open().await;
    fixture.submit(RUNS).await;
    let leading = fixture.lead().await;
    assert!(fixture.largest() > 0, "during the replay");
    fixture.has_all(RUNS).await;
    assert!(fixture.largest() < RUNS / 3 * 2, "{} rows at once", fixture.largest());
    fixture.end(leading).await;
}

#[tokio::test]
async fn runs_that_ended_during_a_long_outage_of_the_store_are_stored_from_the_log() {
    let fixture = Fixture::open().await;
    let leading = fixture.lead().await;
    fixture.checkpoints.is_away.store(true, Ordering::Relaxed);
    fixture.submit(RUNS).await;
    grows(&fixture.checkpoints.tries, 2).await;
    fixture.checkpoints.is_away.store(false, Ordering::Relaxed);
    fixture.has_all(RUNS).await;
    assert!(fixture.largest() < RUNS / 3 * 2, "{} rows at once", fixture.largest());
    fixture.end(leading).await;
}

#[tokio::test]
async fn a_store_that_accepts_writes_again_gets_its_checkpoint_before_the_pause_ends() {
    let fixture = Fixture::open().await;
    let leading = fixture.lead().await;
    fixture.checkpoints.is_away.store(true, Ordering::Relaxed);
    fixture.submit(1).await;
    // The pause after the third failure is several times that between probes.
    grows(&fixture.checkpoints.tries, 3).await;
    grows(&fixture.checkpoints.refused, 1).await;
    fixture.checkpoints.is_away.store(false, Ordering::Relaxed);
    fixture.has_all(1).await;
    assert_eq!(fixture.checkpoints.probed_before_stored.load(Ordering::Relaxed), 1);
    fixture.end(leading).await;
}

/// Waits until a counter has grown by `more`.
async fn grows(number: &AtomicUsize, more: usize) {
    let before = number.load(Ordering::Relaxed);
    let growing = async {
        while number.load(Ordering::Relaxed) < before + more {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, growing).await.expect("it grows");
}
