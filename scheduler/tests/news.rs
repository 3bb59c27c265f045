//! What those hear who listen to a run.
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use longshore_backend::embedded::{Access, Embedded};
use longshore_backend::{Backend, Events, News};
use longshore_proto::{Event, Outcome, Output, Partition, Settlement};
use longshore_scheduler::{Announcer, Driver, Intake, Retention, Submission};
use serde_json::{Map, json};
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
        let output = Output { value: json!(1).into(), content: None };
        let event = Event::Settled {
            job: delivery.job.id.clone(),
            settlement: Settlement::Done(Outcome::Output(output)),
            attempts: Vec::new(),
            worker: "worker".parse().expect("a node"),
            unreported: false,
        };
        backend.log.append(Partition(0), &[event]).await.expect("appends");
        delivery.receipt.ack().await.expect("acks");
    }
}

#[tokio::test]
async fn only_what_changed_is_told_and_in_its_order() {
    let dir = tempfile::TempDir::new().expect("a folder");
    let embedded = Embedded::open(dir.path(), Access::ReadWrite).await.expect("opens");
    let backend = embedded.backend();
    let heard = Arc::new(Heard { lines: Mutex::default(), count: watch::Sender::new(0) });
    let (announcer, node) = (Arc::new(Announcer::new(heard.clone())), "leader".parse().expect("a node"));
    let driver = Driver::take_over(backend.clone(), Partition(0), node, announcer, Retention::default())
        .await
        .expect("leads");
    let (stop, mut leading) = (CancellationToken::new(), JoinSet::new());
    leading.spawn(driver.lead(stop.clone()));

    let intake = Intake::new(backend.clone(), 1);
    let plan = intake.register(WORKFLOW).await.expect("registers");
    let (run, namespace) = (intake.draw_id(), "default".parse().expect("a namespace"));
    let submission = Submission { run, namespace, plan, inputs: Map::new(), trace: None };
    intake.submit(submission).await.expect("submits");
    assert_eq!(heard.next().await, "running: a running");
    settle(&backend, 1).await;
    assert_eq!(heard.next().await, "goes on: a succeeded, never skipped, #3 running, b running, c running");
    settle(&backend, 1).await;
    let first = heard.next().await;
    assert!(["goes on: b succeeded", "goes on: c succeeded"].contains(&first.as_str()), "{first}");
    settle(&backend, 1).await;
    let last = heard.next().await;
    assert!(last.starts_with("succeeded: ") && last.contains("#3 succeeded"), "{last}");

    stop.cancel();
    leading.join_next().await.expect("a task").expect("no panic").expect("ends");
    embedded.close().await;
}
