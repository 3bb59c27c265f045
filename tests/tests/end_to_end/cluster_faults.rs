//! A running cluster under faults: malformed messages, outcomes of jobs that do not exist, wrong clocks, and servers that are
//! unreachable for some time or unsuitable.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::PathBuf;

use async_nats::jetstream;
use longshore_proto::{
    Event, JobId, NEWEST_FORMAT, Namespace, NodeId, Outcome, Output, Partition, Payload, RunId, Settlement,
    Timestamp, WriterRole, encode, subject,
};
use longshore_tests::cluster::{Cluster, PARTITIONS, Role, chain};
use longshore_tests::cluster_log::{ClusterLog, connect};
use longshore_tests::longshore::Longshore;
use longshore_tests::nats_server::{NatsServer, NatsSetup};
use longshore_tests::redis_server::RedisServer;
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use longshore_tests::wait::{until, until_true};
use serde_json::{Value, json};

/// A format version that does not exist yet.
const NEWER: u8 = NEWEST_FORMAT + 1;

/// Starts a cluster with the workflow `chain`, which makes three calls.
async fn cluster(schedulers: usize, workers: usize, delay_ms: u64) -> Cluster {
    let cluster = Cluster::start(schedulers, workers, delay_ms).await;
    cluster.scratch.write("chain.json", chain("chain", 3));
    cluster.client(["workflows", "push", "chain.json"]).run().await.expecting(0);
    cluster
}

/// Asserts that new runs of every partition succeed, and that no process has panicked or ended.
async fn works(cluster: &Cluster) {
    let mut runs = Vec::new();
    for number in 0..2 * PARTITIONS {
        let inputs = json!({ "workflow": "chain", "inputs": { "number": number } });
        let submitted = cluster.request("submit", &inputs).await;
        runs.push((number, submitted["run"].as_str().unwrap_or_else(|| panic!("{submitted}")).to_owned()));
    }
    for (number, run) in runs {
        assert_eq!(
            cluster.ended(&run).await["outputs"],
            json!({ "number": number + 3 }),
            "{}",
            cluster.said()
        );
    }
    assert!(!cluster.said().contains("panicked"), "{}", cluster.said());
}

fn settled(run: RunId, step: &str, attempt: u32, output: Value) -> Event {
    let outcome = Outcome::Output(Output { value: Payload::Inline(output), content: None });
    let job = JobId { run, step: step.parse().unwrap(), attempt: longshore_proto::Attempt(attempt) };
    let worker: NodeId = "stranger".parse().unwrap();
    Event::Settled {
        job,
        settlement: Settlement::Done(outcome),
        attempts: Vec::new(),
        worker,
        unreported: false,
        unreported_worker: None,
    }
}

#[tokio::test]
async fn unsuitable_nats_is_refused_with_the_requirement() {
    let scratch = Scratch::new(&json!({}));
    let redis = RedisServer::start().await;
    let plain = NatsServer::start_with(NatsSetup { has_jetstream: false, ..NatsSetup::default() }).await;
    let program =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).with_file_name(".tools/nats-old/usr/sbin/nats-server");
    let old = NatsServer::start_with(NatsSetup { program, ..NatsSetup::default() }).await;
    let other = NatsServer::start().await;
    let context = jetstream::new(async_nats::connect(other.url()).await.unwrap());
    let memory = jetstream::stream::Config {
        name: subject::JOBS_STREAM.to_owned(),
        subjects: vec![format!("{}.jobs.>", subject::ROOT)],
        ..jetstream::stream::Config::default()
    };
    context.create_stream(memory).await.unwrap();
    let cases: [(&NatsServer, &[&str]); 3] = [
        (&plain, &["JetStream"]),
        (&old, &["2.9.10", "2.14.8"]),
        (&other, &["LS_JOBS", "retention", "Limits", "WorkQueue"]),
    ];
    for role in ["scheduler", "worker"] {
        for (nats, words) in cases {
            let process = scratch.longshore([role, "--connect-deadline", "30s"]);
            let ended = process.env("NATS_URL", &nats.url()).env("REDIS_URL", &redis.url()).run().await;
            ended.expecting(4).saying(words);
        }
    }
}

#[tokio::test]
async fn unsuitable_redis_is_refused_by_every_command_with_one_code() {
    let scratch = Scratch::new(&json!({}));
    let (nats, primary) = (NatsServer::start().await, RedisServer::start().await);
    let address = primary.address().replace(':', " ");
    let evicting = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru"]).await;
    let replica = RedisServer::start_with(&["--replicaof", &address]).await;
    let (dropping, denying) = (RedisServer::start().await, RedisServer::start().await);
    let _: String = dropping.ask(&["ACL", "SETUSER", "default", "-pexpireat"]);
    let _: String = denying.ask(&["ACL", "SETUSER", "default", "-zadd"]);
    let absent = "redis://user:word@127.0.0.1:1/0";
    let cases = [
        (evicting.url(), 4, "noeviction"),
        (replica.url(), 4, "is a replica"),
        (dropping.url(), 4, "would lose claims when it restarts"),
        (denying.url(), 4, "does not allow ZADD"),
        (absent.to_owned(), 6, "no Redis at"),
        ("redis://host:port".to_owned(), 2, "redis"),
    ];
    for (redis, code, words) in &cases {
        for command in ["scheduler", "worker", "doctor"] {
            // `doctor` needs less than a process of the cluster.
            if command == "doctor" && *redis == denying.url() {
                continue;
            }
            // A refusal is reported at once; only what does not answer is waited for.
            let deadline = if redis == absent { "5s" } else { "30s" };
            let process = scratch.longshore([command, "--connect-deadline", deadline]);
            let ended = process.env("NATS_URL", &nats.url()).env("REDIS_URL", redis).run().await;
            let ended = ended.expecting(*code);
            assert!(format!("{}{}", ended.stdout, ended.stderr).contains(words), "{ended}");
        }
    }
}

#[tokio::test]
async fn malformed_messages_stop_no_process() {
    let cluster = cluster(2, 1, 0).await;
    let client = async_nats::connect(cluster.nats.url()).await.unwrap();
    let event =
        encode(&settled(RunId::new(Partition(0), Timestamp::from_millis(1), 1), "s0", 1, json!(1))).unwrap();
    let mut newer = event.clone();
    newer[0] = NEWER;
    let half = event[..event.len() / 2].to_vec();
    let bodies = [Vec::new(), b"garbage".to_vec(), half, vec![b'x'; 1024 * 1024], newer];
    let job = subject::jobs_of("std", &"tables".parse().unwrap()).replace('>', "run_00_1:s0:1");
    let subjects = [
        "submit.default.chain",
        "submit.default.a.b.c",
        "submit.default",
        "recall.x",
        "evt.a.b.c.run",
        "api.nothing",
    ]
    .map(|tail| format!("{}.{tail}", subject::ROOT));
    let verbs = ["submit", "get", "list", "cancel", "workflows", "push"];
    let verbs = verbs.map(|verb| subject::api(&Namespace::default(), verb));
    for (number, body) in bodies.iter().enumerate() {
        for to in subjects.iter().chain(&verbs) {
            client.publish(to.clone(), body.clone().into()).await.unwrap();
        }
        client.publish(format!("{job}{number}"), body.clone().into()).await.unwrap();
        // A message of a newer version is not malformed, and no process may skip it.
        if body.first() != Some(&NEWER) {
            for writer in WriterRole::ALL {
                client.publish(subject::log(Partition(0), writer), body.clone().into()).await.unwrap();
            }
        }
    }
    client.flush().await.unwrap();
    works(&cluster).await;

    // Each malformed submit is a dead letter with its reason; an empty one is a submit without inputs.
    let refused = 2 * bodies.len() + bodies.len() - 1;
    let letters = cluster.dead_letters(refused).await;
    let codes: Vec<_> = letters.iter().map(|letter| letter["code"].as_str().unwrap()).collect();
    assert!(codes.iter().all(|code| ["malformed", "too_large"].contains(code)), "{codes:?}");
    assert_eq!(cluster.runs().await.len(), 1 + 2 * usize::from(PARTITIONS));
    let asked = client.request(subject::api(&Namespace::default(), "get"), "garbage".into()).await.unwrap();
    let asked: Value = serde_json::from_slice(&asked.payload).unwrap();
    assert_eq!(asked["reason"], "malformed", "{asked}");
    // Malformed jobs were removed from the queue; a job of a newer format stays for a newer worker.
    let context = jetstream::new(client);
    let jobs = async || context.get_stream(subject::JOBS_STREAM).await.unwrap().cached_info().state.messages;
    until_true("only the newer job is queued", async || jobs().await <= 1).await;
    until("the newer job is logged", || cluster.said().contains("cannot read a job of a newer version"))
        .await;
}

#[tokio::test]
async fn log_entry_of_a_newer_version_stops_its_partition_only() {
    let cluster = cluster(1, 1, 0).await;
    let client = async_nats::connect(cluster.nats.url()).await.unwrap();
    client.publish(subject::log(Partition(2), WriterRole::Worker), vec![NEWER, 1, 2].into()).await.unwrap();
    client.flush().await.unwrap();
    let found = format!("format version {NEWER}");
    let advises = |log: &str| log.contains(&found) && log.contains("upgrade it");
    until("the log names the version and what to do", || advises(&cluster.said())).await;
    let mut done = 0;
    while done < 4 {
        let run = cluster.request("submit", &json!({ "workflow": "chain" })).await;
        let run = run["run"].as_str().unwrap().to_owned();
        if run.starts_with("run_02_") {
            continue;
        }
        assert_eq!(cluster.ended(&run).await["status"], "succeeded");
        done += 1;
    }
}

#[tokio::test]
async fn outcomes_of_jobs_that_do_not_exist_change_nothing() {
    let mut cluster = cluster(1, 0, 0).await;
    // A run that waits for its second call: the worker was stopped after the first.
    cluster.scratch.write("slow.json", chain("slow", 2));
    let run = cluster.submit(&["slow.json"]).await;
    let id: RunId = run.parse().unwrap();
    let nats = connect(cluster.nats.url()).await;
    let log = nats.log();
    let append = async |partition: u16, events: Vec<Event>| log.append(Partition(partition), &events).await;
    append(id.partition().0, vec![settled(id, "s0", 1, json!({ "number": 1 }))]).await.unwrap();
    cluster.shows(&run, "the first outcome counts", |run| run["steps"][0]["status"] == "succeeded").await;

    let unknown = RunId::new(id.partition(), Timestamp::from_millis(5), 99);
    let stranger = Partition((id.partition().0 + 1) % PARTITIONS);
    append(
        id.partition().0,
        vec![
            settled(id, "s0", 1, json!({ "number": 70 })),
            settled(id, "s0", 7, json!({ "number": 77 })),
            settled(id, "nowhere", 1, json!({ "number": 7 })),
            settled(unknown, "s0", 1, json!({ "number": 7 })),
            settled(RunId::new(stranger, Timestamp::from_millis(5), 3), "s0", 1, json!(7)),
        ],
    )
    .await
    .unwrap();
    append(stranger.0, vec![settled(id, "s1", 1, json!({ "number": 7 }))]).await.unwrap();
    nats.close().await;

    cluster.add(Role::Worker);
    let ended = cluster.ended(&run).await;
    assert_eq!(ended["outputs"], json!({ "number": 2 }), "{ended}");
    let ledger = ClusterLog::read(cluster.nats.url()).await;
    assert!(ledger.reports[&format!("{run}/s0")].len() >= 3, "all of them stand in the log");
    assert_eq!(cluster.runs().await.len(), 1);
    assert!(!cluster.said().contains("panicked"), "{}", cluster.said());
}

#[tokio::test]
async fn same_id_in_two_namespaces_is_two_runs() {
    let cluster = cluster(1, 1, 0).await;
    let ours = cluster.submit(&["chain", "--id", "one"]).await;
    cluster.client(["submit", "chain", "--namespace", "others"]).run().await.expecting(5);
    cluster.client(["workflows", "push", "chain.json", "--namespace", "others"]).run().await.expecting(0);
    let theirs = cluster.submit(&["chain", "--id", "one", "--namespace", "others"]).await;
    assert_ne!(ours, theirs);
    for (namespace, run) in [("default", &ours), ("others", &theirs)] {
        cluster.client(["watch", run, "--namespace", namespace]).run().await.expecting(0);
        let listed = cluster.client(["runs", "list", "--namespace", namespace, "--json"]).run().await;
        let listed = listed.expecting(0).json_lines();
        assert_eq!((listed.len(), &listed[0]["run"]), (1, &json!(run)), "{listed:?}");
    }
}

#[tokio::test]
async fn run_that_waits_for_a_server_ends_once_a_worker_serves_it() {
    let mut cluster = cluster(1, 1, 0).await;
    cluster.scratch.write("lonely.json", chain("lonely", 2).replace("tables/echo", "late/echo"));
    let run = cluster.submit(&["lonely.json"]).await;
    let why = "a worker that serves `late`: none does";
    cluster.shows(&run, "it says what it waits for", |run| run["steps"][0]["waiting_for"] == why).await;
    // The running worker serves a server that no run calls.
    let tables = Tables::of(cluster.scratch.path()).entry();
    cluster.scratch.servers(&json!({ "late": tables, "unwanted": tables }));
    cluster.add(Role::Worker);
    assert_eq!(cluster.ended(&run).await["outputs"], json!({ "number": 2 }));
    cluster.client(["doctor"]).run().await.expecting(0);
}

#[tokio::test]
async fn acknowledged_runs_survive_outages_of_nats_and_redis() {
    let mut cluster = cluster(2, 1, 300).await;
    let mut submitted = Vec::new();
    for number in 0..6 {
        submitted.push((number, cluster.submit(&["chain", "-i", &format!("number={number}")]).await));
    }
    until("calls are under way", || cluster.scratch.journal().lines() > 2).await;
    cluster.redis.stop().await;
    until("calls continue without Redis", || cluster.scratch.journal().lines() > 12).await;
    cluster.nats.stop().await;
    let refused = cluster.client(["submit", "chain", "--connect-deadline", "1s"]).run().await;
    refused.expecting(6).saying(&["NATS"]);
    cluster.nats.start_again().await;
    cluster.redis.start_again().await;
    for (number, run) in &submitted {
        assert_eq!(
            cluster.ended(run).await["outputs"],
            json!({ "number": number + 3 }),
            "{}",
            cluster.said()
        );
    }
    works(&cluster).await;
}

/// Returns the command with a clock that is wrong by this much: `+30s`.
fn wrong_clock(command: Longshore, by: &str) -> Longshore {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let library = folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|path| path.is_file());
    let library = library.unwrap_or_else(|| panic!("libfaketime is not installed: run ./verify once"));
    let command = command.env("LD_PRELOAD", library.to_str().unwrap()).env("FAKETIME", by);
    // Only the wall clock is wrong. The monotonic clock is correct, as on a machine whose time is set wrong.
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1")
}

#[tokio::test]
async fn clocks_that_are_wrong_by_half_a_minute_are_reported_and_runs_end() {
    let mut cluster = cluster(1, 1, 0).await;
    works(&cluster).await;
    // A run whose timeout is shorter than the error of the clocks.
    let mut timed: Value = serde_json::from_str(&chain("timed", 3)).unwrap();
    timed["timeout"] = json!("20s");
    cluster.scratch.write("timed.json", timed.to_string());
    for member in [0, 1] {
        cluster.end_member(member).await.expecting(0);
    }
    for by in ["+30s", "-30s"] {
        let scheduler = wrong_clock(cluster.client(["scheduler"]), by).start();
        let worker = wrong_clock(cluster.client(["worker"]), by).start();
        until("both have started", || {
            scheduler.stderr().contains("scheduler started") && worker.stderr().contains("worker started")
        })
        .await;
        works(&cluster).await;
        let run = cluster.submit(&["timed.json"]).await;
        assert_eq!(cluster.ended(&run).await["outputs"], json!({ "number": 3 }), "{by}");
        let report = wrong_clock(cluster.client(["doctor", "--json"]), by).run().await.expecting(1).json();
        let checks = report["checks"].as_array().unwrap();
        for name in ["clock of NATS", "clock of Redis"] {
            let check = checks.iter().find(|check| check["name"] == name).unwrap();
            assert_eq!(check["level"], "wrong", "{check}");
        }
        scheduler.terminate();
        worker.terminate();
        scheduler.end().await.expecting(0);
        worker.end().await.expecting(0);
    }
    // The next leader has another clock, and the time of a run never goes back.
    cluster.start_member(0);
    cluster.start_member(1);
    cluster.answers().await;
    works(&cluster).await;
}

#[tokio::test]
async fn jobs_in_a_queue_that_was_deleted_are_queued_again() {
    let mut cluster = cluster(2, 0, 0).await;
    let mut runs = Vec::new();
    for number in 0..8 {
        let inputs = json!({ "workflow": "chain", "inputs": { "number": number } });
        let submitted = cluster.request("submit", &inputs).await;
        runs.push(submitted["run"].as_str().unwrap().to_owned());
    }
    let context = jetstream::new(async_nats::connect(cluster.nats.url()).await.unwrap());
    let queued = async || match context.get_stream(subject::JOBS_STREAM).await {
        Ok(queue) => queue.cached_info().state.messages,
        Err(_) => 0,
    };
    until_true("all jobs are queued", async || queued().await == 8).await;
    context.delete_stream(subject::JOBS_STREAM).await.unwrap();
    until_true("all jobs are queued again", async || queued().await == 8).await;
    let lost = "nothing: the leaders queue the jobs again";
    until("the loss is described", || cluster.said().contains(lost)).await;
    cluster.add(Role::Worker);
    for (number, run) in runs.iter().enumerate() {
        assert_eq!(
            cluster.ended(run).await["outputs"],
            json!({ "number": number + 3 }),
            "{}",
            cluster.said()
        );
    }
}
