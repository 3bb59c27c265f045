//! The ports that only the NATS adapter implements: the registry, submits by plain publish, dead letters, and updates.

#![expect(clippy::expect_used, reason = "what does not answer has failed the test")]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, RequestErrorKind, jetstream};
use async_trait::async_trait;
use futures::StreamExt;
use longshore_nats::{self as nats, BatchSetting, Nats, NatsConfig};
use longshore_ports::{DeadLetter, Incoming, WorkflowVersion};
use longshore_proto::{Digest, Event, Namespace, Partition, RunId, Signal, Timestamp, WorkflowName};
use longshore_scheduler::{Api, ApiRequest, ErrorResponse, Verb};
use longshore_tests::nats_server::{NatsServer, NatsSetup};
use longshore_tests::wait::until_true;
use longshore_tls::TlsFiles;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The limit for each step, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

async fn connect(server: &NatsServer) -> Nats {
    let config = NatsConfig {
        urls: vec![server.url()],
        credentials: None,
        inbox_prefix: None,
        batch: BatchSetting::Auto,
        nkey: None,
        tls: TlsFiles::default(),
        name: "ports".to_owned(),
        replicas: 1,
        partitions: 1,
        connect_deadline: PATIENCE,
    };
    Nats::connect(config).await.expect("connects")
}

fn namespace(name: &str) -> Namespace {
    name.parse().expect("a namespace")
}

fn name(name: &str) -> WorkflowName {
    name.parse().expect("a workflow name")
}

fn version(of: &str, text: &str) -> WorkflowVersion {
    WorkflowVersion { name: name(of), digest: Digest::of(text.as_bytes()), at: Timestamp::from_millis(5) }
}

#[tokio::test(flavor = "multi_thread")]
async fn last_registered_version_is_the_current_one() {
    let mut server = NatsServer::start().await;
    let nats = connect(&server).await;
    let (registry, team) = (nats.workflows(), namespace("team"));
    assert!(registry.versions(&team, &name("report")).await.expect("answers").is_empty());
    assert!(registry.list(&team).await.expect("answers").is_empty());

    let (one, two) = (version("report", "one"), version("report", "two"));
    for version in [&one, &two] {
        registry.register(&team, version).await.expect("registers");
    }
    assert_eq!(registry.versions(&team, &name("report")).await.expect("answers"), [two.clone(), one.clone()]);
    registry.register(&team, &one).await.expect("registers again");
    assert_eq!(registry.versions(&team, &name("report")).await.expect("answers"), [one.clone(), two]);

    let other = version("audit", "three");
    registry.register(&team, &other).await.expect("registers");
    registry.register(&namespace("others"), &version("report", "four")).await.expect("registers");
    server.restart().await;
    let registry = connect(&server).await.workflows();
    assert_eq!(
        registry.list(&team).await.expect("answers"),
        [other, one],
        "by name, and outliving the server"
    );
}

async fn submitted(nats: &Nats) -> Incoming {
    let mut pulled = nats.submissions().pull(NonZeroUsize::MIN, PATIENCE).await.expect("pulls");
    assert_eq!(pulled.len(), 1);
    pulled.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_publish_is_a_submit_until_it_is_acknowledged() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    // Any NATS client: only the subject belongs to Longshore.
    let client = jetstream::new(async_nats::connect(server.url()).await.expect("connects"));
    let mut headers = HeaderMap::new();
    headers.insert("Content-Type", "application/json");
    headers.insert("Nats-Msg-Id", "order-7");
    let subject = "longshore.v1.submit.team.report";
    let sent = client.publish_with_headers(subject, headers, r#"{"inputs":{}}"#.into()).await;
    assert_eq!(sent.expect("sends").await.expect("a receipt").stream, "LS_SUBMIT");

    let incoming = submitted(&nats).await;
    assert_eq!((incoming.namespace.as_str(), incoming.workflow.as_str()), ("team", "report"));
    assert_eq!(incoming.body, br#"{"inputs":{}}"#);
    for (name, value) in [("content-type", "application/json"), ("nats-msg-id", "order-7")] {
        assert!(incoming.headers.contains(&(name.to_owned(), value.to_owned())), "{:?}", incoming.headers);
    }
    let place = incoming.place.clone();
    drop(incoming);
    let again = submitted(&nats).await;
    assert_eq!(again.place, place, "the same message, the same place");
    again.receipt.ack().await.expect("acks");

    client
        .publish("longshore.v1.submit.team.report", "".into())
        .await
        .expect("sends")
        .await
        .expect("a receipt");
    let next = submitted(&nats).await;
    assert_ne!(next.place, place);
    assert!(next.body.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn message_id_of_one_namespace_does_not_block_another_for_long() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    let client = jetstream::new(async_nats::connect(server.url()).await.expect("connects"));
    let publish = async |team: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", "order-1");
        let subject = format!("longshore.v1.submit.{team}.report");
        let sent = client.publish_with_headers(subject, headers, "".into()).await;
        sent.expect("sends").await.expect("a receipt").duplicate
    };
    assert!(!publish("one").await);
    until_true("the server forgets the id", async || !publish("two").await).await;
    let mut teams = Vec::new();
    for _ in 0..2 {
        let incoming = submitted(&nats).await;
        teams.push(incoming.namespace);
        incoming.receipt.ack().await.expect("acks");
    }
    assert_eq!(teams, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_that_is_too_large_to_be_read_is_an_error() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    let (team, report) = (namespace("team"), version("report", "newest"));
    let client = nats.client();
    for n in 0..10_000 {
        let key = format!("$KV.LS_WORKFLOWS.team.report.{n:064x}");
        client.publish(key, "old".into()).await.expect("publishes");
    }
    nats.workflows().register(&team, &report).await.expect("registers");
    let refused =
        nats.workflows().versions(&team, &report.name).await.expect_err("it is not in what is read");
    assert!(!refused.retryable && refused.to_string().contains("10001"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fullness_of_a_log_follows_the_account() {
    let server =
        NatsServer::start_with(NatsSetup { server_settings: account("256MiB"), ..NatsSetup::default() })
            .await;
    let nats = connect(&server).await;
    let (log, run) = (nats.log(), RunId::new(Partition(0), Timestamp::from_millis(1), 1));
    let event = Event::Signalled {
        run,
        namespace: Namespace::default(),
        signal: Signal::Cancel { reason: "x".repeat(64 * 1024) },
    };
    log.append(Partition(0), &vec![event; 128]).await.expect("appends");
    assert_eq!(log.fullness(Partition(0)).await.expect("answers"), 6, "8 of 45 % of 256");
}

/// Returns the settings of a server whose account may store this much.
fn account(max_file: &str) -> String {
    format!(
        "accounts {{ A {{ jetstream {{ max_file: {max_file} }}, users: [{{ user: a }}] }} }}\nno_auth_user: a"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_of_streams_that_clients_fill_grow_with_the_account() {
    let mut server =
        NatsServer::start_with(NatsSetup { server_settings: account("100MB"), ..NatsSetup::default() }).await;
    let nats = connect(&server).await;
    let context = jetstream::new(async_nats::connect(server.url()).await.expect("connects"));
    let config =
        async |name: &str| context.get_stream(name).await.expect("it is there").cached_info().config.clone();
    assert_eq!(config("LS_SUBMIT").await.max_bytes, 10_485_760);
    assert_eq!(config("LS_BLOBS").await.max_bytes, 31_457_280);
    assert_eq!(config("LS_LOG_00").await.max_bytes, -1);
    let chosen = jetstream::stream::Config { max_bytes: 7_000_000, ..config("LS_JOBS").await };
    context.update_stream(chosen).await.expect("an operator may choose");
    nats.close().await;
    server.configure(|setup| setup.server_settings = account("200MB"));
    server.restart().await;
    connect(&server).await.close().await;
    assert_eq!(config("LS_SUBMIT").await.max_bytes, 20_971_520);
    assert_eq!(config("LS_BLOBS").await.max_bytes, 62_914_560);
    assert_eq!(config("LS_JOBS").await.max_bytes, 7_000_000, "left alone");
    // A smaller account is not refused.
    server.configure(|setup| setup.server_settings = account("120MB"));
    server.restart().await;
    let nats = connect(&server).await;
    assert_eq!(config("LS_SUBMIT").await.max_bytes, 20_971_520, "never smaller");
    assert_eq!(nats.log().fullness(Partition(0)).await.expect("answers"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_server_without_an_account_limit_has_room_for_the_logs() {
    for (settings, room) in [
        ("max_file_store: 2GB", 2_i64 << 30),
        ("max_file_store: 256MB", 256 << 20),
        ("max_file_store: 64MB", 64 << 20),
    ] {
        let setup = NatsSetup { jetstream_settings: settings.to_owned(), ..NatsSetup::default() };
        let server = NatsServer::start_with(setup).await;
        // Two processes that start at the same time.
        let (one, other) = tokio::join!(connect(&server), connect(&server));
        let context = jetstream::new(async_nats::connect(server.url()).await.expect("connects"));
        let mut sizes = 0;
        for name in ["LS_SUBMIT", "LS_JOBS", "LS_BLOBS", "KV_LS_WORKFLOWS", "LS_DLQ", "LS_LOG_00"] {
            sizes +=
                context.get_stream(name).await.expect("it is there").cached_info().config.max_bytes.max(0);
        }
        assert!(sizes > 0 && sizes < room * 6 / 10, "{settings}: {sizes} bytes are reserved");
        one.close().await;
        other.close().await;
    }
}

/// A handler whose answers are too long for a message.
struct Verbose;

#[async_trait]
impl Api for Verbose {
    async fn answer(&self, verb: Verb, _request: ApiRequest) -> Result<Vec<u8>, ErrorResponse> {
        let text = "x".repeat(2 * 1024 * 1024);
        match verb {
            Verb::List => Ok(json!([text]).to_string().into_bytes()),
            _ => {
                let body = json!({ "error": text, "reason": "malformed", "problems": [] });
                Err(ErrorResponse { code: 400, message: text, body: body.to_string().into_bytes() })
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_too_long_for_a_message_is_an_error() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    let stop = CancellationToken::new();
    let mut serving = JoinSet::new();
    serving.spawn(nats::serve(nats.client(), Arc::new(Verbose), Box::new(|| json!(null)), stop.clone()));
    let client = async_nats::connect(server.url()).await.expect("connects");
    let ask = async |verb: &str| {
        loop {
            let asked = async_nats::Request::new().timeout(Some(PATIENCE));
            match client.send_request(format!("longshore.v1.api.default.{verb}"), asked).await {
                Ok(answer) => break serde_json::from_slice::<Value>(&answer.payload).expect("JSON"),
                Err(error) => assert_eq!(error.kind(), RequestErrorKind::NoResponders, "{verb}"),
            }
        }
    };
    assert_eq!(ask("list").await["reason"], "too_large");
    let denied = ask("get").await;
    assert_eq!(denied["reason"], "malformed");
    assert!(denied["problems"][0]["message"].is_string(), "{denied}");
    stop.cancel();
    for ended in serving.join_all().await {
        ended.expect("ends");
    }
}

fn letter(n: u64) -> DeadLetter {
    DeadLetter {
        seq: 0,
        at: Timestamp::from_millis(n),
        code: "unknown.workflow > *".to_owned(),
        reason: format!("reason {n}"),
        subject: "longshore.v1.submit.team.report".to_owned(),
        headers: [("nats-msg-id".to_owned(), n.to_string())].into(),
        body: "{".to_owned(),
        whole: true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_kept_and_listed_newest_first() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    let letters = nats.dead_letters();
    assert!(letters.list(None, 10).await.expect("answers").is_empty());
    assert_eq!(letters.get(None, 1).await.expect("answers"), None);
    for n in 1..=5 {
        letters.put(&letter(n)).await.expect("keeps it");
    }
    let listed = letters.list(None, 2).await.expect("answers");
    assert_eq!(listed, [DeadLetter { seq: 5, ..letter(5) }, DeadLetter { seq: 4, ..letter(4) }]);
    assert_eq!(letters.list(None, usize::MAX).await.expect("answers").len(), 5);
    assert_eq!(letters.get(None, 3).await.expect("answers"), Some(DeadLetter { seq: 3, ..letter(3) }));
    // Dead letters of a namespace are found after those of others, and no other namespace sees them.
    let (team, others) = (namespace("team"), namespace("others"));
    let of = |subject: &str| DeadLetter { subject: subject.to_owned(), ..letter(6) };
    letters.put(&of("longshore.v1.submit.others.report")).await.expect("keeps it");
    letters.put(&of("longshore.v1.submit.no name")).await.expect("keeps it");
    let seqs = async |namespace, limit| {
        let listed = letters.list(Some(namespace), limit).await.expect("answers");
        listed.iter().map(|letter| letter.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(&team, 2).await, [5, 4]);
    assert_eq!(seqs(&others, 2).await, [6]);
    assert_eq!(letters.get(Some(&others), 3).await.expect("answers"), None);
    assert!(letters.get(Some(&team), 3).await.expect("answers").is_some());
    assert_eq!(letters.list(None, 1).await.expect("answers")[0].seq, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn namespace_with_many_dead_letters_pushes_out_its_own_only() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    let client = jetstream::new(async_nats::connect(server.url()).await.expect("connects"));
    let mut config = client.get_stream("LS_DLQ").await.expect("a stream").cached_info().config.clone();
    config.max_bytes = 1_000_000;
    client.update_stream(config).await.expect("made smaller");
    let (letters, team) = (nats.dead_letters(), namespace("team"));
    for n in 1..=3 {
        letters.put(&letter(n)).await.expect("stored");
    }
    let long = DeadLetter {
        subject: "longshore.v1.submit.others.report".to_owned(),
        body: "x".repeat(8_000),
        ..letter(4)
    };
    for _ in 0..250 {
        letters.put(&long).await.expect("stored");
    }
    assert_eq!(
        letters.list(Some(&team), 10).await.expect("answers").len(),
        3,
        "two megabytes of others came later"
    );
    let others = letters.list(Some(&namespace("others")), 1_000).await.expect("answers");
    assert!((60..125).contains(&others.len()), "{}", others.len());
    assert_eq!(others[0].seq, 253, "the newest are kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_however_many_there_are() {
    let server = NatsServer::start().await;
    let nats = connect(&server).await;
    let client = async_nats::connect(server.url()).await.expect("connects");
    let body = serde_json::to_vec(&letter(1)).expect("JSON");
    for (namespace, count) in [("team", 10_500), ("others", 4_000)] {
        for _ in 0..count {
            let subject = format!("longshore.v1.dlq.{namespace}.malformed");
            client.publish(subject, body.clone().into()).await.expect("sends");
        }
    }
    client.flush().await.expect("flushes");
    let stored = || async {
        let context = jetstream::new(client.clone());
        let stream = context.get_stream("LS_DLQ").await.expect("a stream");
        stream.cached_info().state.messages == 14_500
    };
    until_true("all are stored", stored).await;
    let letters = nats.dead_letters();
    let listed = letters.list(Some(&namespace("team")), 1_000).await.expect("answers");
    let seqs: Vec<_> = listed.iter().map(|letter| letter.seq).collect();
    assert_eq!(seqs, (9_501..=10_500).rev().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_reach_the_subscribers_of_their_run() {
    let server = NatsServer::start().await;
    let (teller, listener) = (connect(&server).await.events(), connect(&server).await.events());
    let run = |n| RunId::new(Partition(0), Timestamp::from_millis(1), n);
    let mut updates = listener.subscribe(&namespace("team"), run(1)).await.expect("listens");
    let (team, report) = (namespace("team"), name("report"));
    teller.publish_event(&team, &report, run(2), "run", b"another".to_vec());
    teller.publish_event(&team, &report, run(1), "step", b"mine".to_vec());
    let (what, body) = timeout(PATIENCE, updates.next()).await.expect("in time").expect("an event");
    assert_eq!((what.as_str(), body.as_slice()), ("step", b"mine".as_slice()));
    assert_eq!(teller.dropped(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_updates_does_not_wait_for_a_lost_server() {
    let mut server = NatsServer::start().await;
    let nats = connect(&server).await;
    server.kill().await;
    let events = nats.events();
    let run = RunId::new(Partition(0), Timestamp::from_millis(1), 1);
    for _ in 0..100_000 {
        events.publish_event(&namespace("team"), &name("report"), run, "step", vec![0; 100]);
    }
    assert!(events.dropped() > 0, "they are counted");
}
