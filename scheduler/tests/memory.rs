//! What a leader holds in memory while it replays a long log, and while the store of checkpoints is away.
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use longshore_embedded::{Access, Embedded};
use longshore_machine::Retention;
use longshore_ports::{
    Backend, CheckpointDelta, Checkpoints, CommitResult, Error, RunPage, RunQuery, RunRow, StoredCheckpoint,
};
use longshore_proto::{CheckpointMark, Event, Namespace, Partition, RunId, Timestamp};
use longshore_scheduler::{Driver, Ended, Intake, Submission, Watchers};
use serde_json::Map;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

const P0: Partition = Partition(0);

/// More than a leader holds of runs that have ended.
const RUNS: usize = 24_000;

/// Ends at once.
const WORKFLOW: &str = r#"{"longshore": "v1", "name": "brief", "steps": [{"id": "it", "set": {"a": 1}}]}"#;

/// The real store, which can be away, and what it was given.
struct Watched {
    store: Arc<dyn Checkpoints>,
    is_away: AtomicBool,
    tries: AtomicUsize,
    /// Rows of the largest commit.
    largest: AtomicUsize,
}

#[async_trait]
impl Checkpoints for Watched {
    async fn load(&self, partition: Partition) -> Result<Option<StoredCheckpoint>, Error> {
        self.store.load(partition).await
    }

    async fn commit(&self, partition: Partition, delta: Arc<CheckpointDelta>) -> Result<CommitResult, Error> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        if self.is_away.load(Ordering::Relaxed) {
            return Err(Error::transient("commit", "it is away"));
        }
        self.largest.fetch_max(delta.changed.len(), Ordering::Relaxed);
        self.store.commit(partition, delta).await
    }

    async fn mark(&self, partition: Partition) -> Result<Option<CheckpointMark>, Error> {
        self.store.mark(partition).await
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

struct Store {
    _dir: TempDir,
    embedded: Embedded,
    backend: Backend,
    watched: Arc<Watched>,
}

impl Store {
    async fn open() -> Self {
        let dir = TempDir::new().expect("a folder");
        let embedded = Embedded::open(dir.path(), Access::ReadWrite).await.expect("opens");
        let mut backend = embedded.backend();
        let store = Arc::clone(&backend.checkpoints);
        let (is_away, tries, largest) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let watched = Arc::new(Watched { store, is_away, tries, largest });
        backend.checkpoints = watched.clone();
        Self { _dir: dir, embedded, backend, watched }
    }

    /// Submits many runs that end at once.
    async fn submit(&self) {
        let intake = Intake::new(self.backend.clone(), 1);
        let plan = intake.register(WORKFLOW).await.expect("registers");
        let run = intake.draw_id();
        let namespace = "default".parse().expect("a namespace");
        let submission = Submission { run, namespace, plan, inputs: Map::new(), trace: None };
        intake.submit(submission).await.expect("submits");
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
        let again = |n: usize| {
            let mut event = first.clone();
            if let Event::Submitted { run, .. } = &mut event {
                *run = RunId::new(P0, Timestamp::from_millis(1), n as u128 + 1);
            }
            event
        };
        for piece in (1..RUNS).collect::<Vec<_>>().chunks(500) {
            self.backend
                .log
                .append(P0, &piece.iter().map(|n| again(*n)).collect::<Vec<_>>())
                .await
                .expect("appends");
        }
    }

    async fn lead(&self) -> (CancellationToken, JoinHandle<Ended>) {
        let node = "leader".parse().expect("a node");
        let watchers = Arc::new(Watchers::default());
        let taking = Driver::take_over(self.backend.clone(), P0, node, watchers, Retention::default());
        let driver = taking.await.expect("takes the partition over");
        let stop = CancellationToken::new();
        let until = stop.clone();
        #[expect(clippy::disallowed_methods, reason = "the test holds the handle and waits for it")]
        let leading = tokio::spawn(async move { driver.lead(until).await.expect("leads") });
        (stop, leading)
    }

    /// Waits until the checkpoint has every run as finished.
    async fn has_all(&self) {
        let all = async {
            loop {
                let loaded = self.watched.store.load(P0).await.expect("loads");
                if loaded.is_some_and(|loaded| loaded.finished.len() == RUNS && loaded.live.is_empty()) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, all).await.expect("all are there");
    }

    async fn end(self, (stop, leading): (CancellationToken, JoinHandle<Ended>)) {
        stop.cancel();
        assert_eq!(timeout(LIMIT, leading).await.expect("in time").expect("no panic"), Ended::Stopped);
        self.embedded.close().await;
    }

    fn largest(&self) -> usize {
        self.watched.largest.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_long_replay_is_stored_in_parts() {
    let store = Store::open().await;
    store.submit().await;
    let leading = store.lead().await;
    assert!(store.largest() > 0, "while it replayed");
    store.has_all().await;
    assert!(store.largest() < RUNS / 3 * 2, "{} rows at once", store.largest());
    store.end(leading).await;
}

#[tokio::test]
async fn runs_that_ended_while_the_store_was_away_for_long_are_brought_back_from_the_log() {
    let store = Store::open().await;
    let leading = store.lead().await;
    store.watched.is_away.store(true, Ordering::Relaxed);
    store.submit().await;
    let tries = || store.watched.tries.load(Ordering::Relaxed);
    let before = tries();
    timeout(LIMIT, async {
        while tries() < before + 2 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is tried again");
    store.watched.is_away.store(false, Ordering::Relaxed);
    store.has_all().await;
    assert!(store.largest() < RUNS / 3 * 2, "{} rows at once", store.largest());
    store.end(leading).await;
}
