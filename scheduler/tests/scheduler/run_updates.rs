//! Updates of runs that a leader publishes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use longshore_embedded::{Access, Embedded};
use longshore_ports::{Backend, ChangedRun, Delivery, RunUpdates};
use longshore_proto::{Event, Partition, Retention, RunId};
use longshore_scheduler::{Driver, DriverError, Intake, LeadershipEnd, SubmitRequest};
use serde_json::{Map, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::worker::{output, pull, settled};

const LIMIT: Duration = Duration::from_secs(20);

const WORKFLOW: &str = "longshore: v1
name: chain
steps:
  - { id: a, call: s/t }
  - { id: never, call: s/t, if: steps.a.output == 2 }
  - parallel: [{ id: b, call: s/t }, { id: c, call: s/t }]
";

/// Publisher that records each update as a line.
struct RecordedUpdates {
    lines: Mutex<Vec<String>>,
    count: watch::Sender<usize>,
}

impl RunUpdates for RecordedUpdates {
    fn publish(&self, changed: &ChangedRun<'_>) {
        let update = (changed.update)();
        assert!(update.steps.iter().all(|step| step.output.is_none()), "updates have no outputs");
        let steps: Vec<_> =
            update.steps.iter().map(|step| format!("{} {}", step.path, step.status)).collect();
        let run = if update.status_changed { update.run.status.as_str() } else { "only steps" };
        let line = format!("{run}: {}", steps.join(", "));
        self.lines.lock().expect("no panic").push(line);
        self.count.send_modify(|count| *count += 1);
    }
}

impl RecordedUpdates {
    /// Waits for the next line, and removes it.
    async fn next(&self) -> String {
        let mut count = self.count.subscribe();
        let published = timeout(LIMIT, count.wait_for(|count| *count > 0)).await;
        drop(published.expect("in time").expect("the sender lives"));
        self.count.send_modify(|count| *count -= 1);
        self.lines.lock().expect("no panic").remove(0)
    }
}

async fn settle(backend: &Backend, jobs: usize) {
    for _ in 0..jobs {
        let delivery = pull(backend).await;
        report(backend, &delivery).await;
        delivery.receipt.ack().await.expect("acks");
    }
}

async fn report(backend: &Backend, delivery: &Delivery) {
    let event = settled(delivery.job.id.clone(), output(json!(1)));
    backend.log.append(Partition(0), &[event]).await.expect("appends");
}

/// A data directory, and the updates of its runs.
struct Fixture {
    embedded: Embedded,
    backend: Backend,
    updates: Arc<RecordedUpdates>,
    _dir: TempDir,
}

/// The leader of its partition.
struct Leader {
    stop: CancellationToken,
    leading: JoinSet<Result<LeadershipEnd, DriverError>>,
}

impl Fixture {
    async fn new() -> Self {
        let dir = TempDir::new().expect("a folder");
        let embedded = Embedded::open(dir.path(), Access::ReadWrite).await.expect("opens");
        let updates = Arc::new(RecordedUpdates { lines: Mutex::default(), count: watch::Sender::new(0) });
        Self { backend: embedded.backend(), embedded, updates, _dir: dir }
    }

    async fn lead(&self) -> Leader {
        let (updates, node) = (self.updates.clone(), "leader".parse().expect("a node"));
        let (backend, retention) = (self.backend.clone(), Retention::default());
        let driver =
            Driver::take_over(backend, Partition(0), node, updates, retention).await.expect("takes over");
        let (stop, mut leading) = (CancellationToken::new(), JoinSet::new());
        leading.spawn(driver.lead(stop.clone()));
        Leader { stop, leading }
    }

    async fn submit(&self) -> RunId {
        let intake = Intake::new(self.backend.clone(), 1);
        let plan = intake.register(WORKFLOW).await.expect("registers");
        let namespace = "default".parse().expect("a namespace");
        let request = SubmitRequest::new(namespace, plan.name.clone(), Map::new());
        intake.submit(intake.draw_id(), &plan, request).await.expect("submits")
    }
}

impl Leader {
    async fn stop(mut self) {
        self.stop.cancel();
        self.leading.join_next().await.expect("a task").expect("no panic").expect("ends");
    }
}

#[tokio::test]
async fn updates_have_the_changed_steps_only_and_keep_their_order() {
    let fixture = Fixture::new().await;
    let (backend, updates) = (&fixture.backend, &fixture.updates);
    let leader = fixture.lead().await;
    fixture.submit().await;
    assert_eq!(updates.next().await, "running: a running");
    settle(backend, 1).await;
    let second = "only steps: a succeeded, never skipped, #3 running, b running, c running";
    assert_eq!(updates.next().await, second);
    settle(backend, 1).await;
    let third = updates.next().await;
    assert!(["only steps: b succeeded", "only steps: c succeeded"].contains(&third.as_str()), "{third}");
    settle(backend, 1).await;
    let last = updates.next().await;
    assert!(last.starts_with("succeeded: ") && last.contains("#3 succeeded"), "{last}");

    leader.stop().await;
    fixture.embedded.close().await;
}

#[tokio::test]
async fn a_leader_that_stops_publishes_waiting_updates_once() {
    let fixture = Fixture::new().await;
    let leader = fixture.lead().await;
    fixture.submit().await;
    // The run started, because its job is queued. The update may still wait.
    let _delivery = pull(&fixture.backend).await;
    leader.stop().await;
    assert_eq!(fixture.updates.next().await, "running: a running");
    assert!(fixture.updates.lines.lock().expect("no panic").is_empty(), "published twice");
    fixture.embedded.close().await;
}

#[tokio::test]
async fn updates_of_events_appended_without_a_leader_are_published_by_the_next_one() {
    let fixture = Fixture::new().await;
    let leader = fixture.lead().await;
    let run = fixture.submit().await;
    assert_eq!(fixture.updates.next().await, "running: a running");
    let job = pull(&fixture.backend).await;
    leader.stop().await;
    report(&fixture.backend, &job).await;
    // More entries than one step of the replay applies.
    for _ in 0..100 {
        fixture.backend.log.append(Partition(0), &[Event::Resumed { run }]).await.expect("appends");
    }
    let leader = fixture.lead().await;
    assert!(fixture.updates.next().await.starts_with("only steps: a succeeded"));
    leader.stop().await;
    fixture.embedded.close().await;
}
