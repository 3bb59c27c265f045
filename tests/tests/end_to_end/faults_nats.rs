//! The adapters on NATS while the server is killed, emptied, restarted, or holds malformed messages.
//!
//! Every acknowledged message is there afterwards, and an error says if another attempt can help.

#![expect(clippy::expect_used, clippy::panic, reason = "what does not answer has failed the test")]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream;
use longshore_nats::{BatchSetting, Nats, NatsConfig};
use longshore_ports::{Delivery, JobQueue, LogEntry, LogReader, RunLog};
use longshore_proto::{
    Attempt, Event, EventError, Job, JobId, Namespace, OnToolError, Partition, Payload, RepeatSafety,
    RetryPolicy, RunId, Seq, ServerName, Signal, Timestamp, WireError, WriterRole, subject,
};
use longshore_tests::nats_server::{NatsServer, NatsSetup};
use longshore_tests::wait::until;
use longshore_tls::TlsFiles;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const LOG: Partition = Partition(0);

/// The limit for a client to reconnect, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

async fn connect(server: &NatsServer) -> Nats {
    connect_with(server, 1).await
}

async fn connect_with(server: &NatsServer, partitions: u16) -> Nats {
    let config = NatsConfig {
        urls: vec![server.url()],
        credentials: None,
        inbox_prefix: None,
        batch: BatchSetting::Auto,
        nkey: None,
        tls: TlsFiles::default(),
        name: "faults".to_owned(),
        replicas: 1,
        partitions,
        connect_deadline: PATIENCE,
    };
    Nats::connect(config).await.expect("connects")
}

fn run(n: u64) -> RunId {
    RunId::new(LOG, Timestamp::from_millis(1_000), u128::from(n))
}

fn event(n: u64) -> Event {
    Event::Signalled {
        run: run(n),
        namespace: Namespace::default(),
        signal: Signal::Cancel { reason: format!("event {n}") },
    }
}

fn job(n: u64) -> Job {
    Job {
        id: JobId { run: run(n), step: "fetch".parse().expect("a path"), attempt: Attempt::FIRST },
        submitted_at: Timestamp::default(),
        namespace: "default".parse().expect("a namespace"),
        workflow: "demo".parse().expect("a workflow name"),
        server: files(),
        tool: "read.file".parse().expect("a tool name"),
        arguments: Payload::Inline(json!({ "n": n })),
        secrets: Vec::new(),
        timeout: Duration::from_secs(60),
        max_timeout: Duration::from_secs(60),
        retry: RetryPolicy::default(),
        safety: RepeatSafety::Unknown,
        idempotency_key: format!("key-{n}"),
        own_key: false,
        on_tool_error: OnToolError::Fail,
        keep_content: false,
        trace: None,
    }
}

fn files() -> ServerName {
    "files".parse().expect("a server name")
}

/// Asks until there is an answer. Every error must be one after which another attempt can help.
macro_rules! insist {
    ($ask:expr) => {{
        let deadline = Instant::now() + PATIENCE;
        loop {
            match $ask.await {
                Ok(answer) => break answer,
                Err(error) => assert!(error.retryable && Instant::now() < deadline, "{error}"),
            }
        }
    }};
}

async fn pull(jobs: &dyn JobQueue) -> Delivery {
    loop {
        let pulled = insist!(jobs.pull(&files(), NonZeroUsize::MIN, PATIENCE));
        if let Some(delivery) = pulled.into_iter().next() {
            return delivery;
        }
    }
}

async fn next(reader: &mut dyn LogReader) -> LogEntry {
    let read = timeout(PATIENCE, async { insist!(reader.next(1)) }).await;
    read.expect("in time").into_iter().next().expect("an entry")
}

/// Returns the only event of an entry.
fn only(mut entry: LogEntry) -> Result<Event, WireError> {
    assert_eq!(entry.events.len(), 1, "{entry:?}");
    entry.events.remove(0).map_err(|error| match error {
        EventError::Unreadable { source, .. } => source,
        EventError::Forbidden { .. } => panic!("{error}"),
    })
}

/// Returns the events of the whole log by their sequences.
async fn read_all(log: &dyn RunLog) -> BTreeMap<u64, Vec<Event>> {
    let tail = log.tail(LOG).await.expect("a tail");
    let mut reader = log.read(LOG, Seq(1)).await.expect("reads");
    let mut entries = BTreeMap::new();
    while (entries.len() as u64) < tail.0 {
        for entry in reader.next(1_000).await.expect("reads on") {
            assert_eq!(entry.seq.0, entries.len() as u64 + 1, "dense");
            let events = entry.events.into_iter().map(|event| event.expect("decodes"));
            entries.insert(entry.seq.0, events.collect());
        }
    }
    entries
}

async fn kill_in_the_middle_of_appends(mut server: NatsServer) {
    const KILLS: usize = 5;
    const APPENDERS: u64 = 20;
    let nats = connect(&server).await;
    let (acknowledged, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut appenders = JoinSet::new();
    for appender in 0..APPENDERS {
        let (log, acknowledged, stop) = (nats.log(), Arc::clone(&acknowledged), Arc::clone(&stop));
        appenders.spawn(async move {
            let mut placed = Vec::new();
            let mut numbers = (0..).map(|n| appender + n * APPENDERS);
            while !stop.load(Ordering::Relaxed) {
                let events: Vec<_> = numbers.by_ref().take(3).map(event).collect();
                let seqs = insist!(log.append(LOG, &events));
                acknowledged.fetch_add(seqs.len(), Ordering::Relaxed);
                placed.extend(seqs.into_iter().zip(events));
            }
            placed
        });
    }
    for _ in 0..KILLS {
        let before = acknowledged.load(Ordering::Relaxed);
        until("appends continue", || acknowledged.load(Ordering::Relaxed) > before + 200).await;
        server.restart().await;
    }
    stop.store(true, Ordering::Relaxed);
    let placed = appenders.join_all().await.concat();
    let entries = read_all(&*nats.log()).await;
    for (seq, event) in &placed {
        assert!(entries.get(&seq.0).is_some_and(|events| events.contains(event)), "at {seq}");
    }
    assert!(placed.len() > KILLS * 200, "{} were acknowledged", placed.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_go_as_atomic_batches_only_where_each_message_costs_an_fsync() {
    for (server, expected) in
        [(NatsServer::start().await, false), (NatsServer::start_syncing_always().await, true)]
    {
        let nats = connect(&server).await;
        let status = nats.batch_status();
        assert_eq!((status.setting, status.used), (BatchSetting::Auto, None));
        let mut groups = 0;
        while nats.batch_status().used.is_none() {
            assert!(groups < 6, "three groups of each kind are measured");
            let jobs: Vec<_> = (groups * 200..(groups + 1) * 200).map(job).collect();
            let addresses: Vec<_> = jobs.iter().map(Job::address).collect();
            nats.jobs().publish(jobs).await.expect("publishes");
            let held = nats.jobs().holds(&addresses).await.expect("answers");
            assert!(held.into_iter().all(|is_held| is_held), "group {groups}");
            groups += 1;
        }
        assert_eq!(nats.batch_status().used, Some(expected));
        nats.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_killed_during_appends_loses_no_acknowledged_entry() {
    kill_in_the_middle_of_appends(NatsServer::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_with_sync_always_killed_during_appends_loses_no_acknowledged_entry() {
    kill_in_the_middle_of_appends(NatsServer::start_syncing_always().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_appends_to_several_logs_do_not_block_each_other() {
    const LOGS: u16 = 8;
    let server = NatsServer::start().await;
    let nats = connect_with(&server, LOGS).await;
    let mut appends = JoinSet::new();
    for partition in (0..LOGS).map(Partition) {
        let log = nats.log();
        // One more than fits into a group, so that the rest of a call has to wait too.
        let events: Vec<_> = (0..1_001).map(event).collect();
        appends.spawn(async move { log.append(partition, &events).await.map(|places| places.len()) });
    }
    for appended in timeout(PATIENCE, appends.join_all()).await.expect("in time") {
        assert_eq!(appended.expect("appends"), 1_001);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_killed_during_publishing_has_every_job_once() {
    const JOBS: u64 = 600;
    let mut server = NatsServer::start().await;
    let nats = connect(&server).await;
    let queue = nats.jobs();
    let publishing = async {
        for first in (0..JOBS).step_by(20) {
            let jobs: Vec<_> = (first..first + 20).map(job).collect();
            insist!(queue.publish(jobs.clone()));
        }
    };
    let killing = async {
        for _ in 0..3 {
            server.restart().await;
        }
    };
    tokio::join!(publishing, killing);
    let mut seen = BTreeMap::<String, u32>::new();
    while (seen.len() as u64) < JOBS {
        let many = NonZeroUsize::new(50).expect("not zero");
        let pulled = insist!(nats.jobs().pull(&files(), many, PATIENCE));
        for delivery in pulled {
            *seen.entry(delivery.job.idempotency_key.clone()).or_default() += 1;
            delivery.receipt.ack().await.expect("acks");
        }
    }
    nats.flush().await.expect("acks arrive");
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
    let held = insist!(nats.jobs().holds(&[job(0).address()]));
    assert_eq!(held, [false], "an acknowledged job is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_workers_continue_after_a_killed_server_is_back() {
    let mut server = NatsServer::start().await;
    let nats = connect(&server).await;
    let (log, jobs) = (nats.log(), nats.jobs());
    log.append(LOG, &[event(1)]).await.expect("appends");
    jobs.publish(vec![job(1)]).await.expect("publishes");
    let mut reader = log.read(LOG, Seq(1)).await.expect("reads");
    assert_eq!(next(&mut *reader).await.seq, Seq(1));
    let held = pull(&*jobs).await;

    let pulling = async {
        let mut delivery = pull(&*jobs).await;
        // A killed server may have lost the record of its deliveries.
        while delivery.job == job(1) {
            delivery = pull(&*jobs).await;
        }
        delivery.job
    };
    let killing = async {
        server.kill().await;
        let other = "other".parse().expect("a server name");
        let gone = jobs.pull(&other, NonZeroUsize::MIN, Duration::from_millis(50));
        let gone = timeout(PATIENCE, gone).await.expect("no call hangs");
        assert!(gone.map_or_else(|error| error.retryable, |pulled| pulled.is_empty()));
        server.start_again().await;
        insist!(log.append(LOG, &[event(2)]));
        insist!(jobs.publish(vec![job(2)]));
    };
    let (read, pulled, ()) = tokio::join!(next(&mut *reader), pulling, killing);
    assert_eq!(read.seq, Seq(2));
    assert_eq!(pulled, job(2));
    held.receipt.ack().await.expect("acks");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_log_entry_is_read_with_its_error() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    let context = jetstream::new(nats.client());
    nats.log().append(LOG, &[event(1)]).await.expect("appends");
    let newer = [&[9], b"from the future".as_slice()].concat();
    let garbage = [b"garbage".to_vec(), Vec::new(), newer, vec![1; 900_000]];
    for body in garbage.clone() {
        let ack = context.publish(subject::log(LOG, WriterRole::Leader), body.into()).await.expect("sends");
        ack.await.expect("is stored");
    }
    nats.log().append(LOG, &[event(2)]).await.expect("appends");

    let mut reader = nats.log().read(LOG, Seq(1)).await.expect("reads");
    assert_eq!(only(next(&mut *reader).await).expect("decodes"), event(1));
    for body in garbage {
        let entry = next(&mut *reader).await;
        assert_eq!(entry.body, body, "kept as it came");
        let reason = only(entry).expect_err("no event");
        assert_eq!(matches!(reason, WireError::Version { .. }), body.first() == Some(&9), "{reason}");
    }
    assert_eq!(only(next(&mut *reader).await).expect("decodes"), event(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_job_is_removed_from_the_queue() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    let context = jetstream::new(nats.client());
    for n in 0..3 {
        let subject = format!("{}{n}", subject::jobs_of("std", &files()).trim_end_matches('>'));
        context.publish(subject, "garbage".into()).await.expect("sends").await.expect("is stored");
    }
    let jobs = nats.jobs();
    jobs.publish(vec![job(1)]).await.expect("publishes");
    let delivery = pull(&*jobs).await;
    assert_eq!(delivery.job, job(1));
    delivery.receipt.ack().await.expect("acks");
    let mut stream = context.get_stream(subject::JOBS_STREAM).await.expect("the queue");
    timeout(PATIENCE, async {
        while stream.info().await.expect("answers").state.messages > 0 {
            nats.flush().await.expect("words arrive");
        }
    })
    .await
    .expect("the queue is empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn reader_does_not_continue_in_a_replaced_log() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    for n in 1..=2 {
        nats.log().append(LOG, &[event(n)]).await.expect("appends");
    }
    let before = nats.log().incarnation(LOG).await.expect("a life");
    let mut reader = nats.log().read(LOG, Seq(1)).await.expect("reads");
    assert_eq!(next(&mut *reader).await.seq, Seq(1));
    assert_eq!(next(&mut *reader).await.seq, Seq(2));
    let context = jetstream::new(nats.client());
    context.delete_stream(subject::log_stream(LOG)).await.expect("is deleted");
    let again = connect(&server).await;
    for n in 3..=5 {
        again.log().append(LOG, &[event(n)]).await.expect("appends");
    }

    assert_ne!(again.log().incarnation(LOG).await.expect("a life"), before);
    let refusal = timeout(PATIENCE, reader.next(1)).await.expect("in time").expect_err("another log");
    assert!(!refusal.retryable, "{refusal}");
    assert!(refusal.to_string().contains("replaced"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_consumer_is_created_again() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    let jobs = nats.jobs();
    jobs.publish(vec![job(1)]).await.expect("publishes");
    pull(&*jobs).await.receipt.ack().await.expect("acks");
    let deleting = async {
        let stream = jetstream::new(nats.client()).get_stream(subject::JOBS_STREAM).await.expect("the queue");
        stream.delete_consumer("std-files").await.expect("is deleted");
        jobs.publish(vec![job(2)]).await.expect("publishes");
    };
    let (pulled, ()) = tokio::join!(timeout(PATIENCE, pull(&*jobs)), deleting);
    assert_eq!(pulled.expect("in time").job, job(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_with_other_settings_is_refused_with_both_values() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    let stream = jetstream::new(nats.client()).get_stream(subject::JOBS_STREAM).await.expect("the queue");
    let config = jetstream::consumer::pull::Config {
        durable_name: Some("std-files".to_owned()),
        filter_subject: subject::jobs_of("std", &files()),
        max_deliver: 3,
        ..Default::default()
    };
    stream.create_consumer(config).await.expect("is made");
    let pulled = nats.jobs().pull(&files(), NonZeroUsize::MIN, Duration::ZERO).await;
    let refusal = pulled.map(|pulled| pulled.len()).expect_err("other settings");
    assert!(!refusal.retryable, "{refusal}");
    for word in ["std-files", "LS_JOBS"] {
        assert!(refusal.to_string().contains(word), "{refusal}");
    }
    assert!(refusal.to_string().contains(" is "), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn message_above_the_limit_of_the_server_is_refused_for_good() {
    let setup = NatsSetup { server_settings: "max_payload: 64KB\n".to_owned(), ..NatsSetup::default() };
    let server = NatsServer::start_with(setup).await;
    let nats = connect(&server).await;
    let large = Job { arguments: Payload::Inline(json!({ "text": "x".repeat(70_000) })), ..job(1) };
    let refusal = nats.jobs().publish(vec![job(2), large]).await.expect_err("too large");
    assert!(!refusal.retryable, "{refusal}");
    assert!(refusal.to_string().contains("65536"), "says what is allowed: {refusal}");
    assert!(refusal.to_string().contains("70"), "says how large it is: {refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_are_dense_where_each_costs_an_fsync() {
    const APPENDERS: u64 = 200;
    let server = NatsServer::start_syncing_always().await;
    let nats = connect(&server).await;
    let mut appenders = JoinSet::new();
    for appender in 0..APPENDERS {
        let log = nats.log();
        appenders.spawn(async move {
            let mut placed = Vec::new();
            for n in 0..5 {
                let events = vec![event(appender * 10 + n * 2), event(appender * 10 + n * 2 + 1)];
                placed.extend(log.append(LOG, &events).await.expect("appends").into_iter().zip(events));
            }
            assert!(placed.is_sorted_by_key(|(seq, _)| *seq), "later ones stand later");
            placed
        });
    }
    let placed = appenders.join_all().await.concat();
    let entries = read_all(&*nats.log()).await;
    for (seq, event) in &placed {
        assert!(entries.get(&seq.0).is_some_and(|events| events.contains(event)), "at {seq}");
    }
    assert_eq!(entries.values().map(Vec::len).sum::<usize>(), placed.len(), "each once");
}
