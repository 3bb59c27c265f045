//! Events of other roles than the writer's: NATS refuses them with the shipped permissions, and schedulers do not apply those that
//! reach a log all the same, neither when they are appended nor when the log is read again.

#![expect(clippy::expect_used, reason = "what is not as it was shipped has failed the test")]

use std::time::Duration;

use async_nats::{Client, jetstream};
use longshore_proto::{
    Attempt, DeliveryId, Digest, Epoch, Evaluation, EvaluationNumber, Event, EventKind, Fault, FaultClass,
    JobId, NodeId, Outcome, Partition, Payload, Retention, RunId, Semantics, Seq, Settlement, Signal, Timer,
    TimerKind, Timestamp, WorkflowRef, WriterRole, encode_event, join_messages, subject,
};
use longshore_tests::guarded_cluster::GuardedCluster;
use longshore_tests::monitored::MonitoredProcess;
use longshore_tests::redis_server::RedisServer;
use longshore_tests::redis_users;
use longshore_tests::wait::{until, until_true};
use serde_json::{Value, json};

/// Returns an event of each kind. Those about a run would end it, and those about a partition would end its leadership or drop its
/// finished runs.
fn events_about(run: RunId) -> Vec<Event> {
    let node: NodeId = "forger".parse().expect("a node");
    let step = "first".parse().expect("a path");
    let job = JobId { run, step, attempt: Attempt::FIRST };
    let delivery = DeliveryId { worker: node.clone(), number: 1 };
    let fault = Fault::new(FaultClass::ToolError, "forged");
    let evaluation = Evaluation::Fault { fault: fault.clone() };
    let other = RunId::new(run.partition(), Timestamp::from_millis(1), 1);
    let workflow = WorkflowRef { name: "guarded".parse().expect("a name"), digest: Digest::of(b"text") };
    let namespace = || "a".parse().expect("a namespace");
    let retention = Retention { runs: 0, time: Duration::ZERO };
    let signal = Signal::Terminate { reason: "forged".to_owned() };
    let version = "0.1.0".to_owned();
    vec![
        Event::LeaderAnnounced { node: node.clone(), version, jobs_lost: false, records_lost: true },
        Event::Configured { retention },
        Event::Quarantined { run, reason: "forged".to_owned() },
        Event::Submitted {
            run: other,
            namespace: namespace(),
            workflow,
            // A reader that took it for a submit would stop.
            semantics: Semantics(Semantics::NEWEST.0 + 1),
            inputs: Payload::Inline(json!({})),
            trace: None,
        },
        Event::Starting { job: job.clone(), delivery: delivery.clone() },
        Event::Returned { job: job.clone(), delivery },
        Event::Settled {
            job: job.clone(),
            settlement: Settlement::Done(Outcome::Fault(fault)),
            attempts: Vec::new(),
            worker: node,
            unreported: false,
            unreported_worker: None,
        },
        Event::Resumed { run },
        Event::NotCalled { job: job.clone() },
        Event::Evaluated { run, step: Some(job.step), number: EvaluationNumber(1), result: evaluation },
        Event::Continued { run },
        Event::Signalled { run, namespace: namespace(), signal },
        Event::Fired { epoch: Epoch(Seq(1)), timer: Timer { run, kind: TimerKind::Run } },
    ]
}

fn encoded(event: &Event) -> Vec<u8> {
    encode_event(event).expect("encodes")
}

async fn last_entry(client: &Client, partition: Partition) -> u64 {
    let mut stream =
        jetstream::new(client.clone()).get_stream(subject::log_stream(partition)).await.expect("the log");
    stream.info().await.expect("answers").state.last_sequence
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_refuses_a_worker_the_subjects_of_other_roles() {
    let guarded = GuardedCluster::start().await;
    let processes = guarded.processes().await;
    let worker = guarded.connect("worker").await;
    let operator = guarded.connect("operator").await;
    let partition = Partition(0);
    let events = events_about(RunId::new(partition, Timestamp::from_millis(1), 2));
    assert!(events.iter().map(Event::kind).eq(EventKind::ALL), "one of each kind");
    let before = last_entry(&operator, partition).await;
    for writer in [WriterRole::Submit, WriterRole::Leader] {
        for event in &events {
            worker.publish(subject::log(partition, writer), encoded(event).into()).await.expect("is sent");
        }
    }
    worker.flush().await.expect("flushes");
    until("each is refused", || guarded.violations().len() == 2 * events.len()).await;
    assert_eq!(last_entry(&operator, partition).await, before, "nothing was appended");
    for event in &events {
        let receipt =
            worker.request(subject::log(partition, WriterRole::Worker), encoded(event).into()).await;
        let receipt: Value = serde_json::from_slice(&receipt.expect("a receipt").payload).expect("JSON");
        assert_eq!(receipt["stream"], "LS_LOG_00", "its own subject takes {event:?}");
    }
    drop(processes);
}

/// Appends events of other roles as a worker, in entries of their own and in one. Stores answers of JetStream on the subject of
/// leaders. Returns the number of events.
async fn forge(worker: &Client, run: RunId) -> usize {
    let (partition, leader) = (run.partition(), subject::log(run.partition(), WriterRole::Leader));
    let may_worker_write = |event: &Event| WriterRole::Worker.may_write(event.kind());
    let forged: Vec<_> =
        events_about(run).iter().filter(|event| !may_worker_write(event)).map(encoded).collect();
    for body in forged.iter().cloned().chain([join_messages(&forged)]) {
        let receipt = worker.request(subject::log(partition, WriterRole::Worker), body.into()).await;
        receipt.expect("its own subject takes it");
    }
    let quarantine = encoded(&Event::Quarantined { run, reason: "forged".to_owned() });
    let blob = subject::blob(Digest::of(&quarantine));
    worker.request(blob.clone(), quarantine.into()).await.expect("is stored");
    let missing = subject::blob(Digest::of(b"missing"));
    for blob in [blob, missing] {
        let get = format!("$JS.API.DIRECT.GET.LS_BLOBS.{blob}");
        worker.publish_with_reply(get, leader.clone(), "".into()).await.expect("is sent");
    }
    worker.flush().await.expect("flushes");
    // The answer about the missing blob is an entry without an event.
    2 * forged.len() + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn event_that_its_writer_may_not_write_is_not_applied_live_or_on_replay() {
    let guarded = GuardedCluster::start().await;
    let start = || {
        MonitoredProcess::start_with(|listen| {
            guarded.longshore("scheduler", &["scheduler", "--metrics-listen", listen]).start()
        })
    };
    let a = |arguments: &[&str]| guarded.longshore("a", arguments).run();
    let scheduler = start();
    scheduler.is_ready("the scheduler is ready").await;
    a(&["workflows", "push", "guarded.yaml"]).await.expecting(0);
    let run = a(&["submit", "guarded"]).await.expecting(0).stdout.trim().to_owned();
    let id: RunId = run.parse().expect("a run");
    let forged = forge(&guarded.connect("worker").await, id).await;
    let series = format!("longshore_log_events_forbidden_total{{partition=\"{}\"}}", id.partition());
    let counted = |scheduler: &MonitoredProcess| scheduler.metric(&series) == Some(forged as f64);
    until("each event is counted", || counted(&scheduler)).await;
    let said = scheduler.said();
    let warnings = said.matches("ignoring an event of the log that its writer may not write").count();
    assert!((1..forged).contains(&warnings), "it is logged, and not for each: {said}");
    assert!(!said.contains("no longer leading") && !said.contains("panicked"), "{said}");

    let worker = guarded.longshore("worker", &["worker"]).start();
    a(&["watch", &run, "--exit-status"]).await.expecting(0);
    let runs = a(&["runs", "list", "--json"]).await.expecting(0).json_lines();
    assert_eq!(runs.len(), 1, "{runs:?}");
    let shown = async || a(&["runs", "show", &run, "--json"]).await;
    let before = shown().await.expecting(0).json();
    worker.terminate();
    worker.end().await.expecting(0);
    drop(scheduler);

    let admin = redis_users::url(&guarded.redis, "admin");
    RedisServer::ask_at::<()>(&admin, &["FLUSHALL"]).expect("is emptied");
    let scheduler = start();
    until("each event is counted again", || counted(&scheduler)).await;
    until_true("the run is the same", async || {
        let shown = shown().await;
        shown.code() == Some(0) && shown.json() == before
    })
    .await;
    let worker = guarded.longshore("worker", &["worker"]).start();
    a(&["submit", "guarded", "--watch"]).await.expecting(0);
    drop((scheduler, worker));
}
