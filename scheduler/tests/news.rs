//! What those hear who listen to a run.
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use longshore_embedded::{Access, Embedded};
use longshore_machine::Retention;
use longshore_ports::{Backend, Delivery, Events, News};
use longshore_proto::{Event, Outcome, Output, Partition, RunId, Settlement};
use longshore_scheduler::{Announcer, Driver, DriverError, Ended, Intake, Submission};
use serde_json::{Map, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(20);

const WORKFLOW: &str = "longshore: v1
name: chain
steps:
  - { id: a, call: s/t }
  - { id: never, call: s/t, if: steps.a.output == 2 }
  - parallel: [{ id: b, call: s/t }, { id: c, call: s/t }]
";

/// Everything that was told, one line each.
struct Heard {
    lines: Mutex<Vec<String>>,
    count: watch::Sender<usize>,
}

impl Events for Heard {
    fn tell(&self, news: &News) {
        assert!(news.steps.iter().all(|step| step.output.is_none()), "outputs are left out");
        let steps: Vec<_> = news.steps.iter().map(|step| format!("{} {}", step.path, step.status)).collect();
        let run = if news.status_changed { news.run.status.as_str() } else { "goes on" };
        let line = format!("{run}: {}", steps.join(", "));
        self.lines.lock().expect("unharmed").push(line);
        self.count.send_modify(|count| *count += 1);
    }
}

impl Heard {
    /// Waits for the next line, and takes it.
    async fn next(&self) -> String {
        let mut counted = self.count.subscribe();
        let heard = timeout(LIMIT, counted.wait_for(|heard| *heard > 0)).await;
        drop(heard.expect("in time").expect("lives"));
        self.count.send_modify(|heard| *heard -= 1);
        self.lines.lock().expect("unharmed").remove(0)
    }
}

async fn settle(backend: &Backend, jobs: usize) {
    let server = "s".parse().expect("a server");
    for _ in 0..jobs {
        let pulled = backend.jobs.pull(&server, NonZeroUsize::MIN, LIMIT).await.expect("pulls");
        let delivery = pulled.into_iter().next().expect("a job within the limit");
        report(backend, &delivery).await;
        delivery.receipt.ack().await.expect("acks");
    }
}

async fn report(backend: &Backend, delivery: &Delivery) {
    let output = Output { value: json!(1).into(), content: None };
    let event = Event::Settled {
        job: delivery.job.id.clone(),
        settlement: Settlement::Done(Outcome::Output(output)),
        attempts: Vec::new(),
        worker: "worker".parse().expect("a node"),
        unreported: false,
        unreported_worker: None,
    };
    backend.log.append(Partition(0), &[event]).await.expect("appends");
}

/// A data directory, and what is heard of its runs.
struct Place {
    embedded: Embedded,
    backend: Backend,
    heard: Arc<Heard>,
    _dir: TempDir,
}

/// Who leads there.
struct Leader {
    stop: CancellationToken,
    leading: JoinSet<Result<Ended, DriverError>>,
}

impl Place {
    async fn new() -> Self {
        let dir = TempDir::new().expect("a folder");
        let embedded = Embedded::open(dir.path(), Access::ReadWrite).await.expect("opens");
        let heard = Arc::new(Heard { lines: Mutex::default(), count: watch::Sender::new(0) });
        Self { backend: embedded.backend(), embedded, heard, _dir: dir }
    }

    async fn lead(&self) -> Leader {
        let (announcer, node) =
            (Arc::new(Announcer::new(self.heard.clone())), "leader".parse().expect("a node"));
        let (backend, retention) = (self.backend.clone(), Retention::default());
        let driver =
            Driver::take_over(backend, Partition(0), node, announcer, retention).await.expect("leads");
        let (stop, mut leading) = (CancellationToken::new(), JoinSet::new());
        leading.spawn(driver.lead(stop.clone()));
        Leader { stop, leading }
    }

    async fn submit(&self) -> RunId {
        let intake = Intake::new(self.backend.clone(), 1);
        let plan = intake.register(WORKFLOW).await.expect("registers");
        let (run, namespace) = (intake.draw_id(), "default".parse().expect("a namespace"));
        let submission = Submission { run, namespace, plan, inputs: Map::new(), trace: None };
        intake.submit(submission).await.expect("submits")
    }
}

impl Leader {
    async fn stop(mut self) {
        self.stop.cancel();
        self.leading.join_next().await.expect("a task").expect("no panic").expect("ends");
    }
}

#[tokio::test]
async fn only_what_changed_is_told_and_in_its_order() {
    let place = Place::new().await;
    let (backend, heard) = (&place.backend, &place.heard);
    let leader = place.lead().await;
    place.submit().await;
    assert_eq!(heard.next().await, "running: a running");
    settle(backend, 1).await;
    assert_eq!(heard.next().await, "goes on: a succeeded, never skipped, #3 running, b running, c running");
    settle(backend, 1).await;
    let first = heard.next().await;
    assert!(["goes on: b succeeded", "goes on: c succeeded"].contains(&first.as_str()), "{first}");
    settle(backend, 1).await;
    let last = heard.next().await;
    assert!(last.starts_with("succeeded: ") && last.contains("#3 succeeded"), "{last}");

    leader.stop().await;
    place.embedded.close().await;
}

#[tokio::test]
async fn whoever_stops_tells_what_still_waits() {
    let place = Place::new().await;
    let leader = place.lead().await;
    place.submit().await;
    // Its job is out, so it has begun; nothing may have been told of that yet.
    let job = place.backend.jobs.pull(&"s".parse().expect("a server"), NonZeroUsize::MIN, LIMIT).await;
    assert_eq!(job.expect("pulls").len(), 1);
    leader.stop().await;
    assert_eq!(place.heard.next().await, "running: a running");
    assert!(place.heard.lines.lock().expect("unharmed").is_empty(), "told twice");
    place.embedded.close().await;
}

#[tokio::test]
async fn what_is_appended_while_nobody_leads_is_told_by_the_next_leader() {
    let place = Place::new().await;
    let leader = place.lead().await;
    let run = place.submit().await;
    assert_eq!(place.heard.next().await, "running: a running");
    let job = place.backend.jobs.pull(&"s".parse().expect("a server"), NonZeroUsize::MIN, LIMIT).await;
    let job = job.expect("pulls").into_iter().next().expect("a job within the limit");
    leader.stop().await;
    report(&place.backend, &job).await;
    // More than is replayed at once.
    for _ in 0..100 {
        place.backend.log.append(Partition(0), &[Event::Resumed { run }]).await.expect("appends");
    }
    let leader = place.lead().await;
    assert!(place.heard.next().await.starts_with("goes on: a succeeded"));
    leader.stop().await;
    place.embedded.close().await;
}
