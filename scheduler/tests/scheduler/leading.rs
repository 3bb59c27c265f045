//! Driver on the embedded backend: effects of a run's records, and takeover of a partition.
//!
//! The test acts as the worker: it pulls jobs from the queue and appends their outcomes.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use longshore_embedded::{Access, Embedded, RunWatch, RunWatchers};
use longshore_ports::{Backend, Delivery, RunQuery};
use longshore_proto::{
    Attempt, Digest, Event, Fault, FaultClass, NodeId, Outcome, Partition, Payload, Retention, RunId,
    RunStatus, RunView, Semantics, Settlement, Timestamp, WorkflowRef,
};
use longshore_scheduler::{Driver, Intake, LeadershipEnd, SubmitRequest};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::worker::{output, pull, settled};

/// Far longer than any step of a test takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

const P0: Partition = Partition(0);

/// A process that leads partition 0 of a data directory.
struct Leader {
    embedded: Embedded,
    backend: Backend,
    intake: Intake,
    watchers: Arc<RunWatchers>,
    stop: CancellationToken,
    leading: JoinHandle<LeadershipEnd>,
}

impl Leader {
    async fn start(dir: &Path) -> Self {
        let embedded = Embedded::open(dir, Access::ReadWrite).await.expect("opens");
        let backend = embedded.backend();
        let watchers = Arc::new(RunWatchers::default());
        let (stop, leading) = lead(&backend, &watchers, "leader").await;
        Self { intake: Intake::new(backend.clone(), 1), embedded, backend, watchers, stop, leading }
    }

    async fn submit(&self, text: &str, inputs: Value) -> (RunId, RunWatch) {
        let plan = self.intake.register(text).await.expect("registers");
        let run = self.intake.draw_id();
        let watch = self.watchers.watch(run);
        let Value::Object(inputs) = inputs else { panic!("inputs are an object") };
        let namespace = "default".parse().expect("a namespace");
        let request = SubmitRequest::new(namespace, plan.name.clone(), inputs);
        (self.intake.submit(run, &plan, request).await.expect("submits"), watch)
    }

    async fn pull(&self) -> Delivery {
        pull(&self.backend).await
    }

    async fn settle(&self, delivery: Delivery, settlement: Settlement) {
        let event = settled(delivery.job.id.clone(), settlement);
        self.backend.log.append(P0, &[event]).await.expect("appends");
        delivery.receipt.ack().await.expect("acks");
    }

    /// Stops with a last checkpoint.
    async fn stop(self) {
        self.stop.cancel();
        assert_eq!(
            timeout(LIMIT, self.leading).await.expect("in time").expect("no panic"),
            LeadershipEnd::Stopped
        );
        self.embedded.close().await;
    }

    /// Ends as a killed process does: without a last checkpoint.
    async fn kill(self) {
        self.leading.abort();
        let _ = self.leading.await;
        self.embedded.close().await;
    }
}

async fn lead(
    backend: &Backend,
    watchers: &Arc<RunWatchers>,
    name: &str,
) -> (CancellationToken, JoinHandle<LeadershipEnd>) {
    let node: NodeId = name.parse().expect("a node");
    let driver = Driver::take_over(backend.clone(), P0, node, watchers.clone(), Retention::default())
        .await
        .expect("takes the partition over");
    let stop = CancellationToken::new();
    let until = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "the test holds the handle and waits for it")]
    let leading = tokio::spawn(async move { driver.lead(until).await.expect("leads") });
    (stop, leading)
}

async fn ended(mut watch: RunWatch) -> Arc<RunView> {
    let has_ended =
        |view: &Option<Arc<RunView>>| view.as_ref().is_some_and(|view| view.summary.status.is_terminal());
    let view = timeout(LIMIT, watch.wait_for(has_ended)).await.expect("in time").expect("the driver lives");
    view.clone().expect("a view")
}

const CHAIN: &str = "longshore: v1
name: chain
inputs: { n: { type: integer, default: 1 } }
steps:
  - { id: a, call: s/t, with: { n: '${{ inputs.n }}' } }
  - { id: b, call: s/t, with: { text: '${{ steps.a.output.text }}' } }
outputs: { length: '${{ size(steps.a.output.text) }}', b: '${{ steps.b.output }}' }
";

#[tokio::test]
async fn a_submitted_run_dispatches_jobs_and_ends_with_outputs() {
    let dir = TempDir::new().expect("a folder");
    let leader = Leader::start(dir.path()).await;
    let (run, watch) = leader.submit(CHAIN, json!({ "n": 7 })).await;
    let first = leader.pull().await;
    assert_eq!(first.job.arguments, Payload::Inline(json!({ "n": 7 })));
    leader.settle(first, output(json!({ "text": "hello" }))).await;
    let second = leader.pull().await;
    leader.settle(second, output(json!(true))).await;
    let view = ended(watch).await;
    assert_eq!(view.outputs, Some(json!({ "length": 5, "b": true })));
    let backend = leader.backend.clone();
    leader.stop().await;
    drop(backend);
    let reader = Embedded::open(dir.path(), Access::ReadOnly).await.expect("opens");
    let runs = reader.backend().checkpoints.runs(RunQuery::default()).await.expect("lists").runs;
    assert_eq!(
        runs.iter().map(|run| (run.run, run.status)).collect::<Vec<_>>(),
        [(run, RunStatus::Succeeded)]
    );
}

#[tokio::test]
async fn after_a_crash_only_outstanding_jobs_are_sent_again() {
    let dir = TempDir::new().expect("a folder");
    let leader = Leader::start(dir.path()).await;
    let (run, _) = leader.submit(CHAIN, json!({})).await;
    let first = leader.pull().await;
    leader.settle(first, output(json!({ "text": "x" }))).await;
    let lost = leader.pull().await.job.id;
    leader.kill().await;

    let leader = Leader::start(dir.path()).await;
    let watch = leader.watchers.watch(run);
    let again = leader.pull().await;
    assert_eq!(again.job.id, lost);
    leader.settle(again, output(json!(2))).await;
    assert_eq!(ended(watch).await.outputs, Some(json!({ "length": 1, "b": 2 })));
    leader.stop().await;
}

#[tokio::test]
async fn a_checkpoint_that_contradicts_the_log_is_not_used() {
    let dir = TempDir::new().expect("a folder");
    let leader = Leader::start(dir.path()).await;
    // A log that lost its end leaves other calls in doubt, so these are safe to repeat.
    let safe = CHAIN.replace("call: s/t,", "call: s/t, retry: 2,");
    let (run, _) = leader.submit(&safe, json!({})).await;
    let job = leader.pull().await.job.id;
    leader.stop().await;

    // Changes the last record of the checkpoint, as if the log had lost its end and had grown again.
    let database = rusqlite::Connection::open(dir.path().join("longshore.db")).expect("opens");
    let later = "UPDATE entries SET at = at + 1 WHERE place = (SELECT max(place) FROM entries)";
    let changed = database.execute(later, []).expect("updates");
    assert_eq!(changed, 1);
    drop(database);

    let leader = Leader::start(dir.path()).await;
    let watch = leader.watchers.watch(run);
    let again = leader.pull().await;
    assert_eq!(again.job.id, job, "the log alone has the outstanding jobs");
    leader.settle(again, output(json!({ "text": "x" }))).await;
    let second = leader.pull().await;
    leader.settle(second, output(json!(1))).await;
    assert_eq!(ended(watch).await.summary.status, RunStatus::Succeeded);
    leader.stop().await;
}

#[tokio::test]
async fn the_last_announced_leader_leads() {
    let dir = TempDir::new().expect("a folder");
    let leader = Leader::start(dir.path()).await;
    let (stop, second) = lead(&leader.backend, &leader.watchers, "second").await;
    let first = timeout(LIMIT, leader.leading).await.expect("in time").expect("no panic");
    assert_eq!(first, LeadershipEnd::SteppedDown);
    let plan = leader.intake.register(CHAIN).await.expect("registers");
    let run = leader.intake.draw_id();
    let watch = leader.watchers.watch(run);
    let namespace = "default".parse().expect("a namespace");
    let request = SubmitRequest::new(namespace, plan.name.clone(), Map::new());
    leader.intake.submit(run, &plan, request).await.expect("submits");
    let delivery = pull(&leader.backend).await;
    let failed = Settlement::Done(Outcome::Fault(Fault::new(FaultClass::ToolError, "no")));
    leader.backend.log.append(P0, &[settled(delivery.job.id.clone(), failed)]).await.expect("appends");
    assert_eq!(ended(watch).await.summary.status, RunStatus::Failed);
    stop.cancel();
    assert_eq!(timeout(LIMIT, second).await.expect("in time").expect("no panic"), LeadershipEnd::Stopped);
    leader.embedded.close().await;
}

#[tokio::test]
async fn large_values_are_stored_as_blobs_and_expressions_read_them_whole() {
    let dir = TempDir::new().expect("a folder");
    let leader = Leader::start(dir.path()).await;
    let (_, watch) = leader.submit(CHAIN, json!({})).await;
    let first = leader.pull().await;
    let text = "x".repeat(300_000);
    let large = json!({ "text": text }).to_string().into_bytes();
    let bytes = large.len() as u64;
    let digest = leader.backend.blobs.put(large).await.expect("puts");
    leader.settle(first, output(Payload::Blob { digest, bytes })).await;
    let second = leader.pull().await;
    let Payload::Blob { digest, .. } = second.job.arguments else {
        panic!("large arguments are stored as a blob")
    };
    let arguments = leader.backend.blobs.get(digest).await.expect("gets").expect("is there");
    let arguments: Value = serde_json::from_slice(&arguments).expect("is JSON");
    assert_eq!(arguments, json!({ "text": text }));
    leader.settle(second, output(json!(1))).await;
    assert_eq!(ended(watch).await.outputs, Some(json!({ "length": 300_000, "b": 1 })));
    leader.stop().await;
}

#[tokio::test]
async fn an_unavailable_large_value_fails_its_run_and_not_the_leader() {
    let dir = TempDir::new().expect("a folder");
    let leader = Leader::start(dir.path()).await;
    let malformed = leader.backend.blobs.put(b"{".to_vec()).await.expect("puts");
    for (digest, why) in [(Digest::of(b"never kept"), "is gone"), (malformed, "is no JSON")] {
        let (_, watch) = leader.submit(CHAIN, json!({})).await;
        let job = leader.pull().await;
        leader.settle(job, output(Payload::Blob { digest, bytes: 100_000 })).await;
        let view = ended(watch).await;
        let fault = view.summary.error.as_ref().expect("a reason");
        assert!(fault.message.contains(why), "{fault}");
    }
    leader.stop().await;
}

#[tokio::test]
async fn a_retry_is_sent_at_its_time_as_a_new_job() {
    let dir = TempDir::new().expect("a folder");
    let leader = Leader::start(dir.path()).await;
    let (_, _watch) = leader.submit(CHAIN, json!({})).await;
    let first = leader.pull().await;
    let fault = Fault::new(FaultClass::Unavailable, "away");
    let before = longshore_ports::clock::now();
    let delay = Duration::from_millis(300);
    // The time is that of the worker's clock, at which the attempt ended at 2 ms.
    let at = Timestamp::from_millis(2).plus(delay);
    leader.settle(first, Settlement::Again { at, fault }).await;
    let second = leader.pull().await;
    assert_eq!(second.job.id.attempt, Attempt(2));
    assert!(longshore_ports::clock::now() >= before.plus(delay), "not before its time");
    leader.stop().await;
}

#[tokio::test]
async fn a_run_whose_workflow_is_gone_fails_with_the_reason() {
    let dir = TempDir::new().expect("a folder");
    let leader = Leader::start(dir.path()).await;
    let run = leader.intake.draw_id();
    let watch = leader.watchers.watch(run);
    let workflow = WorkflowRef { name: "gone".parse().expect("a name"), digest: Digest::of(b"never kept") };
    let namespace = "default".parse().expect("a namespace");
    let event = Event::Submitted {
        run,
        namespace,
        workflow,
        semantics: Semantics::NEWEST,
        inputs: json!({}).into(),
        trace: None,
    };
    leader.backend.log.append(P0, &[event]).await.expect("appends");
    let view = ended(watch).await;
    assert_eq!(view.summary.status, RunStatus::Failed);
    let fault = view.summary.error.as_ref().expect("a reason");
    assert!(fault.message.contains("is gone"), "{fault}");
    leader.stop().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_decoded_is_skipped() {
    let dir = TempDir::new().expect("a folder");
    Leader::start(dir.path()).await.stop().await;
    let database = rusqlite::Connection::open(dir.path().join("longshore.db")).expect("opens");
    let changed = database.execute("UPDATE entries SET body = x'01c1'", []).expect("updates");
    assert_eq!(changed, 1);
    drop(database);
    let leader = Leader::start(dir.path()).await;
    let (_, watch) = leader.submit(CHAIN, json!({})).await;
    let first = leader.pull().await;
    let failed = Settlement::Done(Outcome::Fault(Fault::new(FaultClass::ToolError, "no")));
    leader.settle(first, failed).await;
    assert_eq!(ended(watch).await.summary.status, RunStatus::Failed);
    leader.stop().await;
}

#[tokio::test]
async fn a_job_in_the_queue_is_not_queued_twice() {
    let dir = TempDir::new().expect("a folder");
    let leader = Leader::start(dir.path()).await;
    let (_, _watch) = leader.submit(CHAIN, json!({})).await;
    let delivery = leader.pull().await;
    leader.backend.jobs.publish(vec![delivery.job.clone()]).await.expect("publishes");
    let server = delivery.job.server.clone();
    let second = leader.backend.jobs.pull(&server, NonZeroUsize::MIN, Duration::ZERO).await.expect("pulls");
    assert!(second.is_empty());
    leader.stop().await;
}
