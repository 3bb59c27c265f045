//! Streams as a nats-server has them after a full disk: entries of a log are gone, and acknowledged messages are kept.

#![expect(clippy::expect_used, reason = "what does not answer has failed the test")]

use std::time::Duration;

use async_nats::jetstream;
use futures::StreamExt;
use longshore_nats::{BatchSetting, Nats, NatsConfig};
use longshore_ports::LogReader;
use longshore_proto::{Event, Namespace, Partition, RunId, Seq, Signal, Timestamp, subject};
use longshore_tests::lost_entries::lose_entries;
use longshore_tests::nats_server::NatsServer;
use longshore_tls::TlsFiles;
use tokio::time::timeout;

const LOG: Partition = Partition(0);

/// The limit for an answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connects as the first scheduler, which creates the streams.
async fn connect(server: &NatsServer) -> Nats {
    let config = NatsConfig {
        urls: vec![server.url()],
        credentials: None,
        inbox_prefix: None,
        batch: BatchSetting::Auto,
        nkey: None,
        tls: TlsFiles::default(),
        name: "leftovers".to_owned(),
        replicas: 1,
        partitions: 1,
        connect_deadline: PATIENCE,
    };
    Nats::connect(config).await.expect("connects")
}

fn event(n: u64) -> Event {
    Event::Signalled {
        run: RunId::new(LOG, Timestamp::from_millis(1_000), u128::from(n)),
        namespace: Namespace::default(),
        signal: Signal::Cancel { reason: format!("event {n}") },
    }
}

/// Returns the sequence of the next entry, and the number of lost entries before it.
async fn next(reader: &mut dyn LogReader) -> (u64, u64) {
    let read = timeout(PATIENCE, reader.next(1)).await.expect("in time").expect("reads");
    let entry = read.first().expect("an entry");
    (entry.seq.0, entry.lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_the_stream_does_not_have_are_passed_over_and_counted() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    let log = nats.log();
    for n in 1..=6 {
        log.append(LOG, &[event(n)]).await.expect("appends");
    }
    assert!(!log.has_lost_entries(LOG, Seq(1)).await.expect("answers"));
    lose_entries(nats.client(), LOG, &[Seq(3), Seq(4)]).await;
    for (from, has_lost) in [(1, true), (4, true), (5, false)] {
        assert_eq!(log.has_lost_entries(LOG, Seq(from)).await.expect("answers"), has_lost, "{from}");
    }
    let mut reader = log.read(LOG, Seq(1)).await.expect("reads");
    for (seq, lost) in [(1, 0), (2, 0), (5, 2), (6, 0)] {
        assert_eq!(next(&mut *reader).await, (seq, lost));
    }
    // Another reader may begin at one that is lost.
    assert_eq!(next(&mut *log.read(LOG, Seq(4)).await.expect("reads")).await, (5, 1));
}

/// Stores a message under `subject`, lets the consumer of this name acknowledge a later one, and returns. The first message is
/// below the acknowledgement floor then, as those that a server has after a full disk, and is never delivered.
async fn keep_acknowledged(nats: &Nats, stream: &str, consumer: &str, subjects: [&str; 2]) {
    let context = jetstream::new(nats.client());
    let [kept, acknowledged] = subjects;
    let config = jetstream::consumer::pull::Config {
        durable_name: Some(consumer.to_owned()),
        filter_subject: acknowledged.to_owned(),
        ..Default::default()
    };
    let stream = context.get_stream(stream).await.expect("the stream");
    let consumer = stream.create_consumer(config).await.expect("is created");
    for subject in [kept, acknowledged] {
        context.publish(subject.to_owned(), "x".into()).await.expect("sends").await.expect("is stored");
    }
    let mut messages = consumer.fetch().max_messages(1).messages().await.expect("answers");
    let message = messages.next().await.expect("a message").expect("arrives");
    message.double_ack().await.expect("is acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_below_the_acknowledgement_floor_are_not_counted_as_waiting() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    let jobs = ["longshore.v1.jobs.std.files.a:x:1", "longshore.v1.jobs.std.other.a:y:1"];
    keep_acknowledged(&nats, subject::JOBS_STREAM, "std-files", jobs).await;
    let backlog = nats.backlog().await.expect("answers");
    assert_eq!((backlog.jobs(), &backlog.acknowledged[..]), (0, &[1][..]), "{backlog:?}");
    assert_eq!(backlog.oldest(), Duration::ZERO);
    let submits = ["longshore.v1.submit.a.report", "longshore.v1.submit.b.report"];
    keep_acknowledged(&nats, subject::SUBMIT_STREAM, "intake", submits).await;
    let waiting = nats.waiting_submits().await.expect("answers");
    assert_eq!((waiting.count, waiting.oldest), (0, Duration::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_job_that_nats_has_kept_is_removed_and_can_be_queued_again() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    let context = jetstream::new(nats.client());
    let kept = "longshore.v1.jobs.std.files.a:x:1";
    keep_acknowledged(&nats, subject::JOBS_STREAM, "std-files", [kept, "longshore.v1.jobs.std.other.a:y:1"])
        .await;
    let stream = context.get_stream(subject::JOBS_STREAM).await.expect("the stream");
    let is_kept = async || stream.get_last_raw_message_by_subject(kept).await.is_ok();
    assert!(is_kept().await);
    let backlog = nats.backlog().await.expect("answers");
    assert_eq!(nats.remove_acknowledged_jobs(&backlog).await.expect("removes"), 1);
    assert!(!is_kept().await, "the next job with this id is queued");
    // Another scheduler may have read the same backlog.
    nats.remove_acknowledged_jobs(&backlog).await.expect("has no effect");
    assert!(nats.backlog().await.expect("answers").acknowledged.is_empty());
}
