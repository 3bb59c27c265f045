//! Messages and exit codes of the processes and clients of a cluster: at the start, during outages, at the end, and in
//! `doctor`, health checks and metrics.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use longshore_proto::{Partition, RunId, Timestamp};
use longshore_tests::cluster::{Cluster, chain, once};
use longshore_tests::longshore::Longshore;
use longshore_tests::monitored::get;
use longshore_tests::nats_server::{NatsServer, NatsSetup};
use longshore_tests::port::take_port;
use longshore_tests::redis_server::RedisServer;
use longshore_tests::scratch::Scratch;
use longshore_tests::wait::{pause, until};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The limit for a command that gives up after two seconds.
const IN_TIME: Duration = Duration::from_secs(20);

/// Returns a process in an empty folder, with the addresses of NATS and Redis in its environment.
fn process(scratch: &Scratch, arguments: &[&str], nats: &str, redis: &str) -> Longshore {
    scratch.longshore(arguments).env("NATS_URL", nats).env("REDIS_URL", redis)
}

fn status(address: &str, path: &str) -> u16 {
    get(address, path).map_or(0, |(status, _)| status)
}

#[tokio::test]
async fn process_without_nats_or_redis_reports_it_and_gives_up_in_time() {
    let scratch = Scratch::new(&json!({}));
    let (absent_nats, absent_redis) = (NatsServer::absent(), RedisServer::absent());
    let (nats, redis) = (NatsServer::start().await, RedisServer::start().await);
    let cases = [
        ("scheduler", absent_nats.url(), redis.url(), "NATS", "`nats.url` comes from: NATS_URL"),
        ("worker", nats.url(), absent_redis.url(), "Redis", "`redis.url` comes from: REDIS_URL"),
    ];
    for (role, nats, redis, what, origin) in cases {
        let ended = process(&scratch, &[role, "--connect-deadline", "2s"], &nats, &redis).run().await;
        let ended =
            ended.expecting(6).saying(&[&format!("cannot connect to {what} yet"), "within 2s", origin]);
        assert!(ended.took < IN_TIME, "{ended}");
    }
    let neither = process(
        &scratch,
        &["scheduler", "--connect-deadline", "2s"],
        &absent_nats.url(),
        &absent_redis.url(),
    );
    let ended = neither.run().await.expecting(6);
    let error = ended.stderr.lines().find(|line| line.starts_with("error:")).unwrap_or_default();
    assert!(error.contains("NATS") && error.contains("Redis"), "{ended}");
    let listing = ["runs", "list", "--connect-deadline", "1s"];
    process(&scratch, &listing, &absent_nats.url(), &redis.url()).run().await.expecting(6);
    // NATS runs, and no scheduler answers.
    let unanswered = process(&scratch, &listing, &nats.url(), &redis.url()).run().await;
    unanswered.expecting(6).saying(&["no scheduler answers", "longshore scheduler"]);
    let run = RunId::new(Partition(0), Timestamp::from_millis(1), 1).to_string();
    let watch = process(&scratch, &["watch", &run], &nats.url(), &redis.url()).run().await;
    watch.expecting(6).saying(&["no scheduler answers"]);
}

#[tokio::test]
async fn process_started_before_nats_waits_for_it() {
    let scratch = Scratch::new(&json!({}));
    let (mut nats, redis) = (NatsServer::absent(), RedisServer::start().await);
    let scheduler = process(&scratch, &["scheduler"], &nats.url(), &redis.url()).start();
    until("it says what it waits for", || scheduler.stderr().contains("cannot connect to NATS yet")).await;
    nats.start_again().await;
    until("it works", || scheduler.stderr().contains("scheduler started")).await;
    scheduler.terminate();
    scheduler.end().await.expecting(0).saying(&["scheduler stopped"]);
}

#[tokio::test]
async fn wrong_credentials_are_refused_at_once_and_not_shown() {
    let scratch = Scratch::new(&json!({}));
    let more = "authorization { user: longshore, password: right }\n".to_owned();
    let nats = NatsServer::start_with(NatsSetup { server_settings: more, ..NatsSetup::default() }).await;
    let (open_nats, redis) = (NatsServer::start().await, RedisServer::start().await);
    let with = |url: &str, user: &str| url.replacen("://", &format!("://{user}@"), 1);

    let wrong = process(&scratch, &["scheduler"], &with(&nats.url(), "longshore:wr0ng"), &redis.url());
    let refused = wrong.run().await.expecting(4).saying(&["refuses the connection"]);
    assert!(!refused.stderr.contains("wr0ng"), "{refused}");
    assert_eq!(refused.stderr.lines().count(), 2, "an error and a help: {refused}");
    let wrong = process(&scratch, &["worker"], &open_nats.url(), &with(&redis.url(), "me:wr0ng"));
    let refused = wrong.run().await.expecting(4).saying(&["refuses the credentials"]);
    assert!(!refused.stderr.contains("wr0ng"), "{refused}");

    let secret = scratch.write("secret", with(&nats.url(), "longshore:right"));
    let doctor = scratch.longshore(["doctor", "--json"]).env("REDIS_URL", &redis.url());
    // There are no streams and no processes yet, which `doctor` reports as wrong.
    let report = doctor.env("NATS_URL_FILE", secret.to_str().unwrap()).run().await.expecting(1);
    assert!(!report.stdout.contains("right"), "{report}");
    let url = setting(&report.json(), "nats.url");
    assert!(url["value"].as_str().unwrap().contains("nats://***@"), "{url}");
}

#[tokio::test]
async fn address_of_another_service_is_a_wrong_setting() {
    let scratch = Scratch::new(&json!({}));
    let (nats, redis) = (NatsServer::start().await, RedisServer::start().await);
    let other = nats.url().replace("nats://", "redis://");
    let doctor = process(&scratch, &["doctor", "--connect-deadline", "5s"], &nats.url(), &other);
    doctor.run().await.expecting(2);
    let refused = process(&scratch, &["scheduler"], &nats.url(), &other).run().await.expecting(2);
    let error: Vec<_> = refused.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(
        error.len() == 1
            && error[0].contains("does not answer as Redis does: correct the address, or write rediss://"),
        "{refused}"
    );
    let prefixed = process(&scratch, &["scheduler"], &nats.url(), &redis.url());
    let _: String = redis.ask(&["ACL", "SETUSER", "default", "resetkeys", "~ls:*"]);
    let _: String = redis.ask(&["CONFIG", "SET", "appendonly", "no"]);
    let refused = prefixed.env("LONGSHORE_REDIS__PREFIX", "other").run().await.expecting(4);
    refused.saying(&["does not allow", "`redis.prefix` is `other`, from: LONGSHORE_REDIS__PREFIX"]);
}

#[tokio::test]
async fn missing_or_empty_credentials_file_is_a_wrong_setting() {
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

/// Returns a setting in the report of `doctor`.
fn setting(report: &Value, name: &str) -> Value {
    let mut settings = report["settings"].as_array().unwrap().iter();
    settings.find(|setting| setting["name"] == name).unwrap().clone()
}

/// Returns the level of a check in the report of `doctor`.
fn level(report: &Value, name: &str) -> String {
    let mut checks = report["checks"].as_array().unwrap().iter();
    let check = checks.find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"));
    check["level"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn doctor_reports_healthy_and_failing_parts() {
    let mut cluster = Cluster::start(1, 1, 0).await;
    let deadline = Instant::now() + IN_TIME;
    let report = loop {
        let report = cluster.client(["doctor", "--json"]).run().await.json();
        // The partitions are taken over one after the other.
        if level(&report, "partitions") == "good" {
            break report;
        }
        assert!(Instant::now() < deadline, "{report:#}\n{}", cluster.said());
        pause().await;
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
async fn readiness_follows_nats_and_liveness_does_not_and_metrics_count_calls() {
    let mut cluster = Cluster::start(1, 0, 0).await;
    let port = take_port();
    let address = port.address().to_string();
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

    let port_of_another = take_port();
    let address_of_another = port_of_another.address().to_string();
    let scheduler = cluster.client(["scheduler", "--metrics-listen", &address_of_another]).start();
    let shown = || get(&address_of_another, "/metrics").map(|(_, text)| text).unwrap_or_default();
    let measured = [
        r#"longshore_queue_messages{queue="jobs"} 0"#,
        r#"longshore_queue_oldest_age_seconds{queue="submits"} 0"#,
        "longshore_run_updates_dropped_total 0",
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
async fn worker_finishes_its_calls_on_a_signal_and_ends_at_once_on_the_second() {
    let cluster = Cluster::start(1, 0, 3_000).await;
    cluster.scratch.write("chain.json", chain("chain", 2));
    let port = take_port();
    let address = port.address().to_string();
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
async fn call_that_exceeds_the_drain_time_is_cut_off_and_made_by_another_worker() {
    let cluster = Cluster::start(1, 0, 4_000).await;
    cluster.scratch.write("chain.json", chain("chain", 1));
    let short = cluster.client(["worker", "--drain", "500ms"]).start();
    let run = cluster.submit(&["chain.json"]).await;
    let journal = cluster.scratch.journal();
    until("the call has begun", || journal.lines() == 1).await;
    let signalled = Instant::now();
    short.terminate();
    short.end().await.expecting(0);
    assert!(signalled.elapsed() < IN_TIME, "{:?}", signalled.elapsed());
    let _other = cluster.client(["worker"]).start();
    assert_eq!(cluster.ended(&run).await["outputs"], json!({ "number": 1 }));
    let answers: Vec<_> = journal.calls().iter().map(|call| call.ok).collect();
    // The server is asked to stop and then killed; it may not have time to record the end of the call.
    assert!(matches!(answers[..], [None | Some(false), Some(true)]), "cut off, and made again: {answers:?}");
}

/// Returns the id of a worker from its log.
fn worker_id(log: &str) -> String {
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let started = lines.find(|line| line["message"] == "worker started");
    let id = started.as_ref().and_then(|line| line["node"].as_str());
    id.unwrap_or_else(|| panic!("no worker started: {log}")).to_owned()
}

#[tokio::test]
async fn attempt_of_a_killed_worker_is_shown() {
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
        let summary = |made: &Value| (made["number"].clone(), made["fault"]["class"].clone());
        attempts.iter().map(summary).collect::<Vec<_>>()
    };
    let (lost, made) = ((json!(1), json!("unavailable")), (json!(1), Value::Null));
    let is_logged = |line: &str| line.contains("the leader denied a call");
    until("the denied call is logged", || other.stderr().lines().any(is_logged)).await;
    assert_eq!((&safe["status"], attempts(&safe)), (&json!("succeeded"), vec![lost.clone(), made]), "{safe}");
    let step = &unsafe_to_repeat["steps"][0];
    assert_eq!(
        (&step["status"], attempts(&unsafe_to_repeat)),
        (&json!("indeterminate"), vec![lost]),
        "{step}"
    );
    assert_eq!(step["attempts"][0]["worker"], json!(killed), "{step}");
    let message = step["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(&format!("worker {killed} began this call")), "{step}");
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

    // Its job is still queued before the next one. A worker that gets it has not received a recall.
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
    /// The time without a checkpoint: less than the time for which a client waits for an id to become known.
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
async fn last_is_the_run_of_the_last_submit_although_no_list_has_it_yet() {
    let cluster = Cluster::start(1, 0, 0).await;
    cluster.scratch.write("chain.json", chain("chain", 1));
    cluster.client(["workflows", "push", "chain.json"]).run().await.expecting(0);
    let submit = async || cluster.request("submit", &json!({ "workflow": "chain" })).await["run"].clone();
    submit().await;
    for command in ["show", "cancel"] {
        let _: String = cluster.redis.ask(&["CLIENT", "PAUSE", "300", "WRITE"]);
        let newest = submit().await;
        let ended = cluster.client(["runs", command, "last", "--json"]).run().await.expecting(0);
        assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap()["run"], newest, "{ended}");
    }
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
