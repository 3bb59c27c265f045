//! Bounds on messages of clients: full streams do not harm admitted runs, a submit during which schedulers end becomes a dead
//! letter, and messages with very many values are refused.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::time::Duration;

use async_nats::jetstream::{self, Context};
use futures::{StreamExt, stream};
use longshore_tests::cluster::{Cluster, chain};
use longshore_tests::longshore::PATIENCE;
use longshore_tests::nats_server::{NatsServer, NatsSetup};
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// Returns the setup of a server whose account may store this much.
fn account(max_file: &str) -> NatsSetup {
    let more =
        format!("accounts {{ A {{ jetstream {{ max_file: {max_file} }}, users: [{{ user: a }}] }} }}\n");
    NatsSetup { server_settings: more + "no_auth_user: a", ..NatsSetup::default() }
}

/// Starts a cluster of one scheduler and one worker, whose calls take this long, with the workflows `echo`, which returns its
/// input `text`, `chain`, and `wait`, whose only call takes ten minutes.
async fn cluster(setup: NatsSetup, delay_ms: u64) -> Cluster {
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({
        "tables": Tables::of(scratch.path()).with_delay_ms(delay_ms).entry(),
        "slow": Tables::of(scratch.path()).with_delay_ms(600_000).entry(),
    }));
    let cluster = Cluster::start_on(NatsServer::start_with(setup).await, scratch, 1, 1).await;
    let echo = json!({
        "longshore": "v1", "name": "echo",
        "inputs": { "text": { "type": "string" } },
        "steps": [{ "id": "a", "call": "tables/echo", "with": { "text": "${{ inputs.text }}" } }],
    });
    let wait = json!({
        "longshore": "v1", "name": "wait",
        "steps": [{ "id": "a", "call": "slow/echo", "with": { "text": "unwanted" } }],
    });
    cluster.scratch.write("echo.json", echo.to_string());
    cluster.scratch.write("wait.json", wait.to_string());
    cluster.scratch.write("chain.json", chain("chain", 1));
    for file in ["echo.json", "wait.json", "chain.json"] {
        cluster.client(["workflows", "push", file]).run().await.expecting(0);
    }
    cluster
}

async fn jetstream_of(cluster: &Cluster) -> Context {
    jetstream::new(async_nats::connect(cluster.nats.url()).await.unwrap())
}

async fn submit(cluster: &Cluster, workflow: &str, inputs: Value) -> String {
    let submitted = cluster.request("submit", &json!({ "workflow": workflow, "inputs": inputs })).await;
    submitted["run"].as_str().unwrap_or_else(|| panic!("{submitted}")).to_owned()
}

/// Cancels a run, and waits until it has ended.
async fn cancel(cluster: &Cluster, run: &str) {
    let answer = cluster.request("cancel", &json!({ "run": run })).await;
    assert_eq!(answer["run"], run, "{answer}");
    cluster.shows(run, "it is cancelled", |run| run["status"] == "cancelled").await;
}

async fn messages(context: &Context, stream: &str) -> u64 {
    context.get_stream(stream).await.unwrap().cached_info().state.messages
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_that_fill_their_stream_leave_room_for_results_and_cancels() {
    const IN_FLIGHT: usize = 20;
    const PUBLISHED: usize = 1_500;
    // LS_SUBMIT gets 10 MiB of the account, and the logs 45 MiB.
    let cluster = cluster(account("100MB"), 200).await;
    let context = jetstream_of(&cluster).await;
    let text = "x".repeat(60_000);
    let mut runs = Vec::new();
    for _ in 0..IN_FLIGHT {
        runs.push(submit(&cluster, "echo", json!({ "text": text })).await);
    }
    // The client waits for acknowledgements, so it knows which publishes were refused.
    let body = json!({ "inputs": { "text": text } }).to_string();
    let published = stream::iter(0..PUBLISHED).map(async |_| {
        let sent = context.publish("longshore.v1.submit.default.echo", body.clone().into()).await.unwrap();
        sent.await.is_ok()
    });
    let taken = published.buffer_unordered(64).filter(|taken| std::future::ready(*taken)).count().await;
    assert!((100..PUBLISHED / 2).contains(&taken), "{taken} of {PUBLISHED} were taken");

    let unwanted = submit(&cluster, "wait", json!({})).await;
    cancel(&cluster, &unwanted).await;
    for run in &runs {
        assert_eq!(cluster.ended(run).await["status"], "succeeded", "{}", cluster.said());
    }
    let deadline = Instant::now() + PATIENCE;
    while messages(&context, "LS_SUBMIT").await + messages(&context, "LS_JOBS").await > 0 {
        assert!(Instant::now() < deadline, "the backlog does not drain\n{}", cluster.said());
        sleep(Duration::from_millis(100)).await;
    }
    let listed = cluster.runs().await;
    assert_eq!(listed.len(), IN_FLIGHT + 1 + taken);
    let warnings = cluster.said().lines().filter(|line| line.contains("WARN")).count();
    assert!(warnings < 20, "{warnings} warnings\n{}", cluster.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn full_store_of_large_values_stops_only_runs_that_need_it() {
    let cluster = cluster(NatsSetup::default(), 0).await;
    let sums = json!({
        "longshore": "v1", "name": "sums",
        "steps": [{ "id": "a", "call": "tables/summarise_csv", "with": { "file": "many.csv", "group_by": "name" } }],
    });
    cluster.scratch.write("sums.json", sums.to_string());
    cluster.client(["workflows", "push", "sums.json"]).run().await.expecting(0);
    let rows: String = (0..900).map(|row| format!("{row:0>200},{row}\n")).collect();
    cluster.scratch.write("many.csv", "name,value\n".to_owned() + &rows);
    let context = jetstream_of(&cluster).await;
    let mut config = context.get_stream("LS_BLOBS").await.unwrap().cached_info().config.clone();
    config.max_bytes = 20_000;
    context.update_stream(config).await.unwrap();

    let large = submit(&cluster, "sums", json!({})).await;
    let unwanted = submit(&cluster, "sums", json!({})).await;
    // Other runs continue meanwhile.
    let small = submit(&cluster, "chain", json!({ "number": 1 })).await;
    assert_eq!(cluster.ended(&small).await["outputs"], json!({ "number": 2 }));
    let answer = cluster.request("cancel", &json!({ "run": unwanted })).await;
    assert_eq!(answer["run"], unwanted, "{answer}");
    let refused = cluster
        .request("submit", &json!({ "workflow": "echo", "inputs": { "text": "x".repeat(200_000) } }))
        .await;
    assert!(refused["error"].as_str().is_some_and(|why| why.contains("LS_BLOBS is full")), "{refused}");
    assert_eq!(refused["reason"], "full", "{refused}");
    let ended = cluster.shows(&large, "it has ended", |run| run["status"] == "failed").await;
    let message = ended["steps"][0]["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("no room to store them") && message.contains("max_bytes"), "{ended}");
    cluster.shows(&unwanted, "it has ended", |run| run["finished_at"].is_number()).await;
    let warnings = cluster.said().lines().filter(|line| line.contains("WARN")).count();
    assert!(warnings < 10, "{warnings} warnings\n{}", cluster.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn submit_during_which_schedulers_end_does_not_affect_others() {
    let mut cluster = cluster(NatsSetup::default(), 0).await;
    cluster.end_member(0).await.expecting(0);
    let context = jetstream_of(&cluster).await;
    let publish = async |number: u64| {
        let body = json!({ "inputs": { "number": number } }).to_string();
        context.publish("longshore.v1.submit.default.chain", body.into()).await.unwrap().await.unwrap();
    };
    publish(0).await;
    // Schedulers that take the first submit and end before they acknowledge it.
    let stream = context.get_stream("LS_SUBMIT").await.unwrap();
    let consumer: jetstream::consumer::PullConsumer = stream.get_consumer("intake").await.unwrap();
    for delivery in 1..=5 {
        let mut pulled = consumer.batch().max_messages(1).expires(PATIENCE).messages().await.unwrap();
        let message = pulled.next().await.unwrap().unwrap();
        assert_eq!(message.info().unwrap().delivered, delivery);
        message.ack_with(jetstream::AckKind::Nak(None)).await.unwrap();
    }
    publish(1).await;
    publish(2).await;
    cluster.start_member(0);
    let letters = cluster.dead_letters(1).await;
    assert_eq!(letters[0]["code"], "poison", "{letters:?}");
    assert!(letters[0]["body"].as_str().unwrap().contains("\"number\":0"), "{letters:?}");
    let deadline = Instant::now() + PATIENCE;
    // Lists are a checkpoint behind the stream.
    while messages(&context, "LS_SUBMIT").await > 0 || cluster.runs().await.len() < 2 {
        assert!(Instant::now() < deadline, "{}", cluster.said());
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((cluster.runs().await.len(), cluster.dead_letters(1).await.len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_with_very_many_values_are_refused_and_decoded_few_at_a_time() {
    let cluster = cluster(NatsSetup::default(), 0).await;
    let context = jetstream_of(&cluster).await;
    let inputs = format!("[{}0]", "0,".repeat(500_000));
    let body = format!("{{\"workflow\":\"chain\",\"inputs\":{{\"number\":{inputs}}}}}");
    let refused = cluster.request("submit", &serde_json::from_str(&body).unwrap()).await;
    assert!(
        refused["error"].as_str().is_some_and(|why| why.contains("more than 200000 values")),
        "{refused}"
    );
    // In MessagePack: `inputs`, a map of one name, whose value is a list of very many zeros.
    let mut packed = b"\x81\xa6inputs\x81\xa6number\xdd".to_vec();
    packed.extend(1_000_000_u32.to_be_bytes());
    packed.extend(std::iter::repeat_n(0_u8, 1_000_000));
    for _ in 0..20 {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Content-Type", "application/msgpack");
        let subject = "longshore.v1.submit.default.chain";
        let sent = context.publish_with_headers(subject, headers, packed.clone().into()).await.unwrap();
        sent.await.unwrap();
    }
    let letters = cluster.dead_letters(20).await;
    assert!(letters.iter().all(|letter| letter["code"] == "malformed"), "{}", letters[0]["reason"]);
    let peak = peak_memory(cluster.pid(0));
    assert!(peak < 400 * 1024 * 1024, "{peak} bytes");
}

/// Returns the highest memory use of a process so far, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    1024 * peak.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap()
}
