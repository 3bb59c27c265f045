//! What the processes and clients of a cluster say and do at their edges: at the start, when something is away, when
//! they are told to end, and to those who look at them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use longshore_tests::cluster::{Cluster, chain, once};
use longshore_tests::longshore::Longshore;
use longshore_tests::nats_server::{NatsServer, Setup};
use longshore_tests::port::free_address;
use longshore_tests::redis_server::RedisServer;
use longshore_tests::scratch::Scratch;
use longshore_tests::wait::until;
use serde_json::{Value, json};
use tokio::time::Instant;

/// What is given up after two seconds is given up well before this.
const IN_TIME: Duration = Duration::from_secs(20);

/// A process in an empty folder, told by the environment where its servers are.
fn process(scratch: &Scratch, arguments: &[&str], nats: &str, redis: &str) -> Longshore {
    scratch.longshore(arguments).env("NATS_URL", nats).env("REDIS_URL", redis)
}

/// The status and the body of an answer over HTTP; nothing while nobody answers.
fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

fn status(address: &str, path: &str) -> u16 {
    get(address, path).map_or(0, |(status, _)| status)
}

#[tokio::test]
async fn who_finds_no_nats_or_no_redis_says_so_and_gives_up_in_time() {
    let scratch = Scratch::new(&json!({}));
    let (absent_nats, absent_redis) = (NatsServer::absent(), RedisServer::absent());
    let (nats, redis) = (NatsServer::start().await, RedisServer::start().await);
    let cases = [
        ("scheduler", absent_nats.url(), redis.url(), "NATS", "`nats.url` comes from: NATS_URL"),
        ("worker", nats.url(), absent_redis.url(), "Redis", "`redis.url` comes from: REDIS_URL"),
    ];
    for (role, nats, redis, what, origin) in cases {
        let ended = process(&scratch, &[role, "--connect-deadline", "2s"], &nats, &redis).run().await;
        let ended = ended.expecting(6).saying(&[&format!("waiting for {what}"), "within 2s", origin]);
        assert!(ended.took < IN_TIME, "{ended}");
    }
    let neither = process(
        &scratch,
        &["scheduler", "--connect-deadline", "2s"],
        &absent_nats.url(),
        &absent_redis.url(),
    );
    let ended = neither.run().await.expecting(6);
    let error = ended.stderr.lines().find(|line| line.contains("error:")).unwrap_or_default();
    assert!(error.contains("NATS") && error.contains("Redis"), "{ended}");
    let listing = ["runs", "list", "--connect-deadline", "1s"];
    process(&scratch, &listing, &absent_nats.url(), &redis.url()).run().await.expecting(6);
    // NATS is there, and nobody answers for the cluster.
    let nobody = process(&scratch, &listing, &nats.url(), &redis.url()).run().await;
    nobody.expecting(6).saying(&["no scheduler answers", "longshore scheduler"]);
}

#[tokio::test]
async fn who_comes_before_nats_waits_and_works_once_it_is_there() {
    let scratch = Scratch::new(&json!({}));
    let (mut nats, redis) = (NatsServer::absent(), RedisServer::start().await);
    let scheduler = process(&scratch, &["scheduler"], &nats.url(), &redis.url()).start();
    until("it says what it waits for", || scheduler.stderr().contains("waiting for NATS")).await;
    nats.start_again().await;
    until("it works", || scheduler.stderr().contains("scheduler started")).await;
    scheduler.terminate();
    scheduler.end().await.expecting(0).saying(&["scheduler stopped"]);
}

#[tokio::test]
async fn wrong_credentials_are_refused_at_once_and_not_shown() {
    let scratch = Scratch::new(&json!({}));
    let more = "authorization { user: longshore, password: right }\n".to_owned();
    let nats = NatsServer::start_with(Setup { more, ..Setup::default() }).await;
    let (open_nats, redis) = (NatsServer::start().await, RedisServer::start().await);
    let with = |url: &str, user: &str| url.replacen("://", &format!("://{user}@"), 1);

    let wrong = process(&scratch, &["scheduler"], &with(&nats.url(), "longshore:wr0ng"), &redis.url());
    let refused = wrong.run().await.expecting(4).saying(&["refuses the connection"]);
    assert!(!refused.stderr.contains("wr0ng"), "{refused}");
    let wrong = process(&scratch, &["worker"], &open_nats.url(), &with(&redis.url(), "me:wr0ng"));
    let refused = wrong.run().await.expecting(4).saying(&["refuses the credentials"]);
    assert!(!refused.stderr.contains("wr0ng"), "{refused}");

    let secret = scratch.write("secret", with(&nats.url(), "longshore:right"));
    let doctor = scratch.longshore(["doctor", "--json"]).env("REDIS_URL", &redis.url());
    // There are no streams and no processes yet, and that is wrong.
    let report = doctor.env("NATS_URL_FILE", secret.to_str().unwrap()).run().await.expecting(1);
    assert!(!report.stdout.contains("right"), "{report}");
    let url = setting(&report.json(), "nats.url");
    assert!(url["value"].as_str().unwrap().contains("nats://***@"), "{url}");
}

#[tokio::test]
async fn a_credentials_file_that_is_missing_or_holds_none_is_a_wrong_setting() {
    let scratch = Scratch::new(&json!({}));
    let (nats, redis) = (NatsServer::start().await, RedisServer::absent());
    scratch.write("none.creds", "no credentials");
    let of =
        |path: &str| process(&scratch, &["runs", "list"], &nats.url(), &redis.url()).env("NATS_CREDS", path);
    for file in ["missing.creds", "none.creds"] {
        let origin = "`nats.credentials` comes from: NATS_CREDS";
        of(file)
            .run()
            .await
            .expecting(2)
            .saying(&[&format!("the credentials file {file} cannot be used"), origin]);
    }
    let by_option = ["scheduler", "--nats-creds", "missing.creds"];
    let refused = process(&scratch, &by_option, &nats.url(), &redis.url()).run().await.expecting(2);
    refused.saying(&["missing.creds", "comes from: --nats-creds"]);
    let secret = process(&scratch, &["scheduler"], "", &redis.url()).env("NATS_URL_FILE", "missing");
    secret.run().await.expecting(2).saying(&["NATS_URL_FILE: the file missing cannot be read"]);
}

/// A setting in a doctor's report.
fn setting(report: &Value, name: &str) -> Value {
    let mut settings = report["settings"].as_array().unwrap().iter();
    settings.find(|setting| setting["name"] == name).unwrap().clone()
}

/// How a thing stands in a doctor's report.
fn level(report: &Value, name: &str) -> String {
    let mut checks = report["checks"].as_array().unwrap().iter();
    let check = checks.find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"));
    check["level"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_doctor_finds_what_is_there_and_what_is_not() {
    let mut cluster = Cluster::start(1, 1, 0).await;
    let deadline = Instant::now() + IN_TIME;
    let report = loop {
        let report = cluster.client(["doctor", "--json"]).run().await.json();
        // The partitions are taken over one after the other.
        if level(&report, "partitions") == "good" {
            break report;
        }
        assert!(Instant::now() < deadline, "{report:#}\n{}", cluster.said());
    };
    for name in ["NATS", "streams", "clock of NATS", "schedulers", "clock of Redis", "partitions", "workers"]
    {
        assert_eq!(level(&report, name), "good", "{name}");
    }
    assert_eq!(setting(&report, "partitions")["origin"], "longshore.toml:1");
    assert_eq!(report["workers"][0]["servers"], json!(["tables"]));
    let page = cluster.client(["doctor"]).run().await.expecting(0);
    assert!(page.stdout.contains("LS_JOBS") && page.stdout.contains("workqueue"), "{page}");

    let other = cluster.client(["doctor", "--json"]).env("LONGSHORE_PARTITIONS", "2").run().await;
    assert_eq!(level(&other.expecting(1).json(), "streams"), "wrong");
    cluster.redis.stop().await;
    let alone = cluster.client(["doctor", "--json", "--connect-deadline", "1s"]).run().await;
    let alone = alone.expecting(6).json();
    assert_eq!((level(&alone, "NATS").as_str(), level(&alone, "Redis").as_str()), ("good", "wrong"));
}

#[tokio::test]
async fn readiness_follows_nats_and_life_does_not_and_metrics_count_calls() {
    let mut cluster = Cluster::start(1, 0, 0).await;
    let address = free_address().to_string();
    let worker = cluster.client(["worker", "--metrics-listen", &address]).start();
    until("the worker is ready", || status(&address, "/readyz") == 200).await;
    cluster.scratch.write("chain.json", chain("chain", 3));
    cluster.client(["submit", "chain.json", "--watch"]).run().await.expecting(0);
    let (_, metrics) = get(&address, "/metrics").unwrap();
    let calls = r#"longshore_tool_calls_total{server="tables",tool="echo",outcome="ok"} 3"#;
    assert!(metrics.contains(calls), "{metrics}");
    let slots = r#"longshore_worker_slots{state="total"} 65"#;
    assert!(metrics.contains(slots), "64, and one for its server: {metrics}");
    assert!(metrics.contains(r#"longshore_mcp_server_up{server="tables"} 1"#), "{metrics}");

    let address_of_another = free_address().to_string();
    let scheduler = cluster.client(["scheduler", "--metrics-listen", &address_of_another]).start();
    let shown = || get(&address_of_another, "/metrics").map(|(_, text)| text).unwrap_or_default();
    let measured = [
        r#"longshore_queue_messages{queue="jobs"} 0"#,
        r#"longshore_queue_oldest_age_seconds{queue="submits"} 0"#,
        "longshore_news_dropped_total 0",
        r#"role="scheduler"} 1"#,
        "longshore_checkpoint_write_seconds_count",
    ];
    until("the scheduler has measured", || measured.iter().all(|line| shown().contains(line))).await;
    scheduler.terminate();
    scheduler.end().await.expecting(0);

    cluster.nats.kill().await;
    until("the worker is not ready", || status(&address, "/readyz") == 503).await;
    assert_eq!(get(&address, "/livez").unwrap(), (200, "ok\n".to_owned()));
    assert!(get(&address, "/readyz").unwrap().1.contains("[-]nats failed: the connection is lost"));
    cluster.nats.start_again().await;
    until("the worker is ready again", || status(&address, "/readyz") == 200).await;
    worker.terminate();
    worker.end().await.expecting(0);
}

#[tokio::test]
async fn a_worker_that_is_told_to_end_finishes_its_calls_first_unless_it_is_told_twice() {
    let cluster = Cluster::start(1, 0, 3_000).await;
    cluster.scratch.write("chain.json", chain("chain", 2));
    let address = free_address().to_string();
    let patient = cluster.client(["worker", "--metrics-listen", &address]).start();
    let run = cluster.submit(&["chain.json"]).await;
    until("a call has begun", || cluster.scratch.journal().begun().len() == 1).await;
    patient.terminate();
    until("it is not ready while it drains", || status(&address, "/readyz") == 503).await;
    patient.end().await.expecting(0).saying(&["ending in order", "worker drained"]);
    assert_eq!(cluster.scratch.journal().begun().len(), 1, "it took nothing more");
    cluster.shows(&run, "its outcome is known", |run| run["steps"][0]["status"] == "succeeded").await;

    let hasty = cluster.client(["worker"]).start();
    until("the second call has begun", || cluster.scratch.journal().begun().len() == 2).await;
    hasty.terminate();
    until("it drains", || hasty.stderr().contains("ending in order")).await;
    hasty.terminate();
    let ended = hasty.end().await.expecting(130);
    assert!(ended.took < IN_TIME, "{ended}");
    let _last = cluster.client(["worker"]).start();
    let ended = cluster.ended(&run).await;
    assert_eq!(ended["outputs"], json!({ "number": 2 }), "{ended}");
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_is_cut_off_and_goes_to_somebody_else() {
    let cluster = Cluster::start(1, 0, 4_000).await;
    cluster.scratch.write("chain.json", chain("chain", 1));
    let short = cluster.client(["worker", "--drain", "500ms"]).start();
    let run = cluster.submit(&["chain.json"]).await;
    let journal = cluster.scratch.journal();
    until("the call has begun", || journal.lines() == 1).await;
    let told = Instant::now();
    short.terminate();
    short.end().await.expecting(0);
    assert!(told.elapsed() < IN_TIME, "{:?}", told.elapsed());
    let _other = cluster.client(["worker"]).start();
    assert_eq!(cluster.ended(&run).await["outputs"], json!({ "number": 1 }));
    let answers: Vec<_> = journal.calls().iter().map(|call| call.ok).collect();
    // The server is told to stop and then killed; it need not live to write down that it stopped.
    assert!(matches!(answers[..], [None | Some(false), Some(true)]), "cut off, and made again: {answers:?}");
}

/// The id of a worker, from its log.
fn worker_id(log: &str) -> String {
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let started = lines.find(|line| line["message"] == "worker started");
    let id = started.as_ref().and_then(|line| line["node"].as_str());
    id.unwrap_or_else(|| panic!("no worker started: {log}")).to_owned()
}

#[tokio::test]
async fn the_attempt_of_a_worker_that_was_killed_is_shown() {
    let cluster = Cluster::start(1, 0, 5_000).await;
    cluster.scratch.write("chain.json", chain("chain", 1));
    cluster.scratch.write("once.json", once("once"));
    let killed = cluster.client(["worker"]).start();
    let (safe, unsafe_to_repeat) =
        (cluster.submit(&["chain.json"]).await, cluster.submit(&["once.json"]).await);
    until("both calls have begun", || cluster.scratch.journal().calls().len() == 2).await;
    let killed = worker_id(&killed.kill().await.stderr);
    let other = cluster.client(["worker"]).start();
    let (safe, unsafe_to_repeat) = tokio::join!(cluster.ended(&safe), cluster.ended(&unsafe_to_repeat));
    let attempts = |run: &Value| {
        let attempts = run["steps"][0]["attempts"].as_array().cloned().unwrap_or_default();
        let told = |made: &Value| (made["number"].clone(), made["fault"]["class"].clone());
        attempts.iter().map(told).collect::<Vec<_>>()
    };
    let (lost, made) = ((json!(1), json!("unavailable")), (json!(1), Value::Null));
    let reported =
        other.stderr().lines().any(|line| line.contains("did not report") && line.contains(&killed));
    assert!(reported, "{}", other.stderr());
    assert_eq!((&safe["status"], attempts(&safe)), (&json!("succeeded"), vec![lost.clone(), made]), "{safe}");
    let step = &unsafe_to_repeat["steps"][0];
    assert_eq!(
        (&step["status"], attempts(&unsafe_to_repeat)),
        (&json!("indeterminate"), vec![lost]),
        "{step}"
    );
    assert_eq!(step["attempts"][0]["worker"], json!(killed), "{step}");
    for fault in [&step["error"], &step["attempts"][0]["fault"]] {
        let message = fault["message"].as_str().unwrap_or_default();
        assert!(message.contains(&format!("worker {killed} claimed this call")), "{step}");
    }
}

#[tokio::test]
async fn a_run_is_cancelled_and_a_refused_submit_is_kept() {
    let cluster = Cluster::start(1, 0, 0).await;
    cluster.scratch.write("chain.json", chain("chain", 2));
    let run = cluster.submit(&["chain.json"]).await;
    let shown = cluster.client(["runs", "show", &run]).run().await.expecting(0);
    assert!(shown.stdout.contains("waits for a worker that serves `tables`"), "{shown}");
    cluster.client(["runs", "cancel", &run, "--reason", "no worker"]).run().await.expecting(0);
    let watched = cluster.client(["watch", &run, "--exit-status"]).run().await.expecting(21);
    watched.saying(&["run  cancelled  chain", "no worker", "was cancelled: no worker"]);
    let shown = cluster.client(["runs", "show", &run]).run().await.expecting(0);
    assert!(shown.stdout.contains("reason     no worker"), "{shown}");
    assert_eq!(cluster.shown(&run).await["cancel_reason"], "no worker");
    let again = cluster.client(["runs", "cancel", &run, &run]).run().await.expecting(0);
    let ended = format!("{run} has ended already: cancelled\n").repeat(2);
    assert_eq!(again.stderr, format!("{ended}cancelling 0 runs; 2 ended before\n"));
    let unknown = "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w";
    cluster.client(["runs", "cancel", unknown]).run().await.expecting(5).saying(&["there is no run"]);
    let both =
        cluster.client(["runs", "cancel", &run, unknown, "--json"]).run().await.expecting(5).json_lines();
    let outcomes: Vec<_> = both.iter().map(|line| (line["run"].as_str(), line["outcome"].as_str())).collect();
    assert_eq!(outcomes, [(Some(&*run), Some("ended")), (Some(unknown), Some("failed"))]);
    let cancelled = cluster.client(["runs", "list", "--status", "cancelled", "--json"]).run().await;
    assert_eq!(cancelled.expecting(0).json_lines().len(), 1);

    // Its job is still queued, in front of the next one's; whoever gets it has heard of no recall.
    let _worker = cluster.client(["worker"]).start();
    let next = cluster.submit(&["chain.json"]).await;
    assert_eq!(cluster.ended(&next).await["status"], "succeeded");
    let calls = cluster.scratch.journal().calls();
    assert!(calls.len() == 2 && calls.iter().all(|call| call.key.starts_with(&next)), "{calls:?}");

    let client = async_nats::connect(cluster.nats.url()).await.unwrap();
    client.publish("longshore.v1.submit.default.chian", "{}".into()).await.unwrap();
    client.flush().await.unwrap();
    let kept = cluster.dead_letters(1).await.remove(0);
    assert_eq!(kept["code"], "unknown_workflow");
    let number = kept["number"].to_string();
    let letter = cluster.client(["dlq", "show", &number]).run().await.expecting(0);
    assert!(letter.stdout.contains("longshore.v1.submit.default.chian"), "{letter}");
    cluster.client(["dlq", "show", "99"]).run().await.expecting(5);
}

#[tokio::test]
async fn a_part_of_an_id_is_known_from_the_moment_of_the_submit() {
    /// How long no checkpoint is written: less than the patience with an id.
    const PAUSE_MS: &str = "300";
    let cluster = Cluster::start(1, 0, 0).await;
    cluster.scratch.write("chain.json", chain("chain", 1));
    cluster.client(["workflows", "push", "chain.json"]).run().await.expecting(0);
    for command in [&["runs", "show"][..], &["runs", "cancel"], &["watch"]] {
        let _: String = cluster.redis.ask(&["CLIENT", "PAUSE", PAUSE_MS, "WRITE"]);
        let submitted = cluster.request("submit", &json!({ "workflow": "chain" })).await;
        let run = submitted["run"].as_str().unwrap();
        let asked = cluster.client([command, &[&run[run.len() - 6..]]].concat());
        if command == ["watch"] {
            let watching = asked.start();
            until("the run is watched", || watching.stderr().contains("waits for a worker")).await;
        } else {
            asked.run().await.expecting(0);
        }
    }
    cluster.client(["runs", "show", "zzzz"]).run().await.expecting(5).saying(&["there is no run `zzzz`"]);
}

#[tokio::test]
async fn workflows_are_listed_with_their_versions() {
    let cluster = Cluster::start(1, 0, 0).await;
    cluster.scratch.write("one.json", chain("chain", 1));
    cluster.scratch.write("two.json", chain("chain", 2));
    cluster.client(["workflows", "push", "one.json"]).run().await.expecting(0);
    cluster.client(["workflows", "push", "two.json"]).run().await.expecting(0);
    let listed = cluster.client(["workflows", "list", "--json"]).run().await.expecting(0).json_lines();
    assert_eq!(listed.len(), 1);
    let shown = cluster.client(["workflows", "show", "chain", "--json"]).run().await.expecting(0).json();
    assert_eq!(shown["text"], chain("chain", 2));
    assert_eq!(shown["versions"].as_array().unwrap().len(), 2);
    let older = shown["versions"][1]["digest"].as_str().unwrap();
    let older = cluster.client(["workflows", "show", "chain", "--version", &older[..8]]).run().await;
    assert_eq!(older.expecting(0).stdout.trim_end(), chain("chain", 1));
    cluster.client(["workflows", "show", "chian"]).run().await.expecting(5).saying(&["did you mean `chain`"]);
    cluster.client(["submit", "chian"]).run().await.expecting(5).saying(&["did you mean `chain`"]);
}
