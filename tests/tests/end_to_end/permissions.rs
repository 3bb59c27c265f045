//! The users in `deploy/`: a cluster of processes with these permissions only, and the actions that each user is refused.

#![expect(clippy::expect_used, reason = "what is not as it was shipped has failed the test")]

use std::time::Duration;

use async_nats::{Client, jetstream};
use futures::StreamExt;
use longshore_tests::guarded_cluster::{GuardedCluster, WORKFLOW, accounts};
use longshore_tests::longshore::StartedCommand;
use longshore_tests::redis_users::{self, password};
use longshore_tests::tools::Tools;
use longshore_tests::wait::{until, until_true};
use serde_json::{Value, json};
use tokio::time::timeout;

/// The time in which a message that must not arrive would have arrived.
const NOTHING: Duration = Duration::from_millis(500);

async fn refuses(client: &Client, subject: &str, body: &str) {
    // JetStream itself answers that the account has no JetStream.
    let Ok(answer) = client.request(subject.to_owned(), body.to_owned().into()).await else { return };
    let answer = String::from_utf8_lossy(&answer.payload).into_owned();
    assert!(answer.contains("JetStream not enabled for account"), "{subject}: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_works_with_the_shipped_permissions_and_is_refused_nothing() {
    let guarded = GuardedCluster::start().await;
    let [worker, scheduler] = guarded.processes().await;
    let a = |arguments: &[&str]| guarded.longshore("a", arguments).run();
    a(&["workflows", "push", "guarded.yaml"]).await.expecting(0);
    let large = format!("text={}", "x".repeat(100_000));
    a(&["submit", "guarded", "-i", &large, "--watch"]).await.expecting(0);
    let run = a(&["submit", "guarded", "--id", "one"]).await.expecting(0).stdout.trim().to_owned();
    let watched = a(&["watch", &run, "--json", "--exit-status"]).await.expecting(0).json();
    assert_eq!(watched["status"], "succeeded");
    assert_eq!(a(&["runs", "list", "--json"]).await.expecting(0).json_lines().len(), 2);
    a(&["runs", "show", &run]).await.expecting(0);
    a(&["runs", "cancel", &run]).await.expecting(0).saying(&["ended already"]);
    let shown = a(&["workflows", "show", "guarded"]).await.expecting(0);
    assert_eq!(shown.stdout.trim_end(), WORKFLOW.trim_end());
    // A plain publish, its receipt, its refusal, and the update of another run.
    let client = guarded.connect("a").await;
    let mut updates = client.subscribe("longshore.v1.evt.a.guarded.*.run").await.expect("subscribes");
    let publish = async |workflow: &str| {
        let receipt = client.request(format!("longshore.v1.submit.a.{workflow}"), "{}".into()).await;
        let receipt: Value = serde_json::from_slice(&receipt.expect("a receipt").payload).expect("JSON");
        assert_eq!(receipt["stream"], "LS_SUBMIT");
    };
    publish("unknown").await;
    publish("guarded").await;
    timeout(Duration::from_secs(30), updates.next()).await.expect("in time").expect("an update");
    let letters = a(&["dlq", "list", "--json"]).await.expecting(0).json_lines();
    assert_eq!(letters.len(), 1);
    a(&["dlq", "show", &letters[0]["number"].to_string()]).await.expecting(0);
    let stranger = guarded.scratch.longshore(["workflows", "list"]).env("NATS_URL", &guarded.nats.url());
    stranger.run().await.expecting(4);
    guarded.longshore("operator", &["doctor"]).run().await.expecting(0);
    assert!(guarded.violations().is_empty(), "{:?}", guarded.violations());
    let end = async |process: StartedCommand| {
        process.terminate();
        let ended = process.end().await.expecting(0);
        assert!(!ended.stderr.contains("NOPERM"), "{ended}");
        ended.stderr
    };
    end(worker).await;
    let log = end(scheduler).await;
    // The account and the user in the audit log come from NATS, not from the client.
    let lines = || log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let audit: Vec<_> = lines().filter(|line| line["target"] == "longshore::audit").collect();
    let of = |verb: &str| audit.iter().find(|line| line["verb"] == verb).expect("is written down");
    assert_eq!((&of("push")["account"], &of("push")["user"]), (&json!("a"), &json!("a")));
    assert_eq!((&of("cancel")["run"], &of("cancel")["outcome"]), (&json!(run), &json!("ended")));
    assert!(audit.iter().any(|line| line["id"] == "one" && line["outcome"] == "accepted"), "{audit:?}");
    assert!(audit.iter().any(|line| line["outcome"] == "unknown_workflow"), "{audit:?}");
    assert!(!log.contains("xxxxxxxx"), "no inputs are written down");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_of_a_namespace_is_refused_other_namespaces_and_the_system() {
    let guarded = GuardedCluster::start().await;
    let processes = guarded.processes().await;
    let b = |arguments: &[&str]| guarded.longshore("b", arguments).run();
    b(&["workflows", "push", "guarded.yaml"]).await.expecting(0);
    let run = b(&["submit", "guarded"]).await.expecting(0).stdout.trim().to_owned();
    b(&["watch", &run]).await.expecting(0);
    let operator = guarded.connect("operator").await;
    let counts = async || {
        let streams = jetstream::new(operator.clone());
        let mut counts = Vec::new();
        for name in
            ["LS_LOG_00", "LS_LOG_01", "LS_JOBS", "LS_SUBMIT", "LS_BLOBS", "LS_DLQ", "KV_LS_WORKFLOWS"]
        {
            let mut stream = streams.get_stream(name).await.expect("is there");
            counts.push((name, stream.info().await.expect("answers").state.messages));
        }
        counts
    };
    let before = counts().await;

    let a = guarded.connect("a").await;
    let mut updates = a.subscribe(">").await.expect("subscribes");
    let get = json!({ "run": run }).to_string();
    for (verb, body) in [
        ("list", "{}"),
        ("get", &get),
        ("cancel", &get),
        ("dlq", "{}"),
        ("workflows", "{}"),
        ("submit", r#"{"workflow": "guarded"}"#),
        ("push", "{}"),
    ] {
        refuses(&a, &format!("longshore.v1.api.b.{verb}"), body).await;
    }
    let own = a.request("longshore.v1.api.a.get", get.clone().into()).await.expect("its own is answered");
    let own: Value = serde_json::from_slice(&own.payload).expect("JSON");
    assert_eq!(own["reason"], "unknown_run");
    let digest = "ab".repeat(32);
    let forged = [
        "longshore.v1.submit.b.guarded".to_owned(),
        "longshore.v1.log.00.submit".to_owned(),
        "longshore.v1.log.00.worker".to_owned(),
        "longshore.v1.log.00.leader".to_owned(),
        "longshore.v1.jobs.std.tables.x:y:1".to_owned(),
        format!("longshore.v1.blob.{digest}"),
        "longshore.v1.dlq.b.malformed".to_owned(),
        "$KV.LS_WORKFLOWS.b.guarded.x".to_owned(),
        "$JS.API.STREAM.PURGE.LS_LOG_00".to_owned(),
        "$JS.API.STREAM.DELETE.LS_JOBS".to_owned(),
        "$JS.API.STREAM.MSG.GET.LS_DLQ".to_owned(),
        "$JS.API.STREAM.INFO.LS_LOG_00".to_owned(),
        "$SRV.PING".to_owned(),
    ];
    for subject in &forged {
        refuses(&a, subject, "{}").await;
    }
    // A receipt of JetStream, or an answer of a scheduler, that would be stored like a message of another user.
    for reply in &forged {
        for subject in ["longshore.v1.submit.a.unknown", "longshore.v1.api.a.list"] {
            a.publish_with_reply(subject, reply.clone(), "".into()).await.expect("is sent");
        }
    }
    a.publish("longshore.v1.evt.b.guarded.x.run", "forged".into()).await.expect("is sent");
    a.flush().await.expect("flushes");
    // It receives only the updates of its own namespace.
    let other = b(&["submit", "guarded", "--watch"]).await;
    other.expecting(0);
    while let Ok(Some(message)) = timeout(NOTHING, updates.next()).await {
        let is_foreign = message.subject.starts_with("longshore.v1.evt.b.") && message.payload != "forged";
        assert!(!is_foreign, "{}", message.subject);
    }
    let refused = forged.len() as u64;
    let letters = async || counts().await.iter().find(|(name, _)| *name == "LS_DLQ").expect("there").1;
    while letters().await < refused {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = counts().await;
    let (blobs, workflows) = (before[4], before[6]);
    assert_eq!((after[4], after[6]), (blobs, workflows), "no blob and no workflow was forged");
    assert_eq!(after[5].1, refused, "but for its own refused submits, none is dead");
    assert_eq!(b(&["runs", "list", "--json"]).await.expecting(0).json_lines().len(), 2);
    // Its user may not claim another namespace either.
    guarded.longshore("a", &["runs", "list"]).env("LONGSHORE_NAMESPACE", "b").run().await.expecting(6);
    drop(processes);
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_may_not_change_streams_or_receive_answers_and_operator_may_not_forge() {
    let guarded = GuardedCluster::start().await;
    let processes = guarded.processes().await;
    let worker = guarded.connect("worker").await;
    for request in
        ["DELETE.LS_JOBS", "PURGE.LS_LOG_00", "UPDATE.LS_JOBS", "CREATE.MINE", "MSG.DELETE.LS_LOG_00"]
    {
        refuses(&worker, &format!("$JS.API.STREAM.{request}"), "{}").await;
    }
    for subject in [
        "longshore.v1.api.a.list",
        "longshore.v1.submit.a.x",
        "longshore.v1.jobs.std.tables.x:y:1",
        "longshore.v1.evt.a.guarded.x.run",
        "longshore.v1.evt.a.guarded.x.step",
        "longshore.v1.log.00.submit",
        "longshore.v1.log.00.leader",
    ] {
        refuses(&worker, subject, "{}").await;
    }
    let scheduler = guarded.connect("scheduler").await;
    for request in ["DELETE.LS_JOBS", "PURGE.LS_JOBS", "MSG.DELETE.LS_LOG_00", "UPDATE.LS_LOG_00"] {
        refuses(&scheduler, &format!("$JS.API.STREAM.{request}"), "{}").await;
    }
    refuses(&scheduler, "longshore.v1.log.00.worker", "{}").await;
    // It removes acknowledged jobs that NATS has kept.
    let answer = scheduler.request("$JS.API.STREAM.MSG.DELETE.LS_JOBS", r#"{ "seq": 1000 }"#.into()).await;
    assert!(answer.is_ok(), "{answer:?}");
    let operator = guarded.connect("operator").await;
    for subject in [
        "longshore.v1.log.00.submit",
        "longshore.v1.log.00.worker",
        "longshore.v1.log.00.leader",
        "longshore.v1.jobs.std.tables.x:y:1",
    ] {
        refuses(&operator, subject, "{}").await;
    }
    let before = guarded.violations().len();
    assert!(before >= 21, "{:?}", guarded.violations());
    for (client, subjects) in [
        (
            &worker,
            &["_INBOX_scheduler.>", "longshore.v1.api.>", "longshore.v1.evt.>", "$KV.LS_WORKFLOWS.>"][..],
        ),
        (&scheduler, &["_INBOX_worker.>", "longshore.v1.log.>"]),
    ] {
        for subject in subjects {
            let mut updates = client.subscribe((*subject).to_owned()).await.expect("is sent");
            assert!(timeout(NOTHING, updates.next()).await.is_err(), "{subject}");
        }
    }
    assert_eq!(guarded.violations().len(), before + 6, "{:?}", guarded.violations());
    let info = operator.request("$JS.API.STREAM.INFO.LS_JOBS", "".into()).await.expect("answers");
    assert!(!String::from_utf8_lossy(&info.payload).contains("error"), "the stream is there");
    drop(processes);
}

/// Runs a call that reports progress, and returns the updates that the namespace received.
async fn progress_of_a_run(guarded: &GuardedCluster) -> Vec<String> {
    let everything = Tools::find().everything().entry();
    guarded.scratch.servers(&json!({ "everything": everything }));
    let with = json!({ "duration": 3, "steps": 3 });
    let step = json!({ "id": "it", "call": "everything/trigger-long-running-operation", "with": with });
    let workflow = json!({ "longshore": "v1", "name": "long", "steps": [step] });
    guarded.scratch.write("long.json", workflow.to_string());
    let [worker, scheduler] = guarded.processes().await;
    let client = guarded.connect("a").await;
    let updates = client.subscribe("longshore.v1.evt.a.long.*.call").await.expect("subscribes");
    client.flush().await.expect("the server has the subscription");
    guarded.longshore("a", &["submit", "long.json", "--watch"]).run().await.expecting(0);
    let warnings = || worker.stderr().matches("NATS denies this process a permission").count();
    until("each refusal is logged", || warnings() == guarded.violations().len()).await;
    drop((worker, scheduler));
    client.drain().await.expect("drains");
    updates.map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_may_publish_progress_and_works_without_that_permission() {
    let guarded = GuardedCluster::start().await;
    let updates = progress_of_a_run(&guarded).await;
    assert!(updates.iter().any(|update| update.contains(r#""activity":"progress""#)), "{updates:?}");
    assert_eq!(guarded.violations(), Vec::<String>::new());

    let permission = r#", "longshore.v1.evt.*.*.*.call""#;
    let earlier = accounts();
    assert!(earlier.contains(permission));
    let guarded = GuardedCluster::start_on(earlier.replace(permission, ""), &[]).await;
    assert_eq!(progress_of_a_run(&guarded).await, Vec::<String>::new());
    assert_eq!(guarded.violations().len(), 1, "it tries once: {:?}", guarded.violations());
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_reads_redis_and_writes_neither_checkpoints_nor_claims() {
    let guarded = GuardedCluster::start().await;
    let url = guarded.redis.url().replace("redis://", &format!("redis://operator:{}@", password("operator")));
    let client = redis::Client::open(url).expect("an address");
    let mut operator = client.get_connection().expect("connects");
    for key in ["ls:{p00}:meta", "ls:{p00}:lease", "ls:claim:x", "ls:submit:x"] {
        let read: redis::RedisResult<Option<String>> = redis::cmd("GET").arg(key).query(&mut operator);
        assert_eq!(read.expect("may be read"), None, "{key}");
        let written: redis::RedisResult<()> = redis::cmd("SET").arg(key).arg(1).query(&mut operator);
        assert!(written.expect_err("is refused").to_string().contains("permissions"), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_does_not_make_the_call_of_a_run_that_was_cancelled_before_it_started() {
    let guarded = GuardedCluster::start().await;
    let [worker, scheduler] = guarded.processes().await;
    let a = |arguments: &[&str]| guarded.longshore("a", arguments).run();
    a(&["workflows", "push", "guarded.yaml"]).await.expecting(0);
    worker.terminate();
    worker.end().await.expecting(0);
    let cancelled = a(&["submit", "guarded"]).await.expecting(0).stdout.trim().to_owned();
    let running = || a(&["runs", "list", "--status", "running", "--json"]);
    until_true("the run is listed", async || !running().await.expecting(0).json_lines().is_empty()).await;
    a(&["runs", "cancel", &cancelled]).await.expecting(0);
    until_true("the run has ended", async || running().await.expecting(0).json_lines().is_empty()).await;
    let worker = guarded.longshore("worker", &["worker"]).start();
    let ended = a(&["submit", "guarded", "--watch"]).await;
    ended.expecting(0);
    worker.terminate();
    let said = worker.end().await.expecting(0).stderr;
    assert!(!said.contains("cannot be looked up"), "{said}");
    let calls: Vec<_> = said.lines().filter(|line| line.contains("called a tool")).collect();
    assert!(calls.len() == 2 && !calls.iter().any(|call| call.contains(&cancelled)), "{calls:#?}");
    drop(scheduler);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_of_another_user_than_the_operator_ends_with_4() {
    let guarded = GuardedCluster::start().await;
    let processes = guarded.processes().await;
    let doctor = |user: &str| guarded.longshore(user, &["doctor", "--connect-deadline", "3s"]);
    doctor("operator").run().await.expecting(0);
    let as_operator = |user: &str| doctor("operator").env("NATS_URL", &guarded.nats_url(user));
    // Another account has no JetStream, another role another inbox.
    for user in ["a", "worker"] {
        let refused = as_operator(user).run().await.expecting(4);
        assert!(refused.stdout.contains("`operator` of deploy/nats/accounts.conf"), "{refused}");
    }
    let without_inbox =
        doctor("operator").env("LONGSHORE_NATS__INBOX_PREFIX", "_INBOX").run().await.expecting(4);
    assert!(without_inbox.stdout.contains("nats.inbox_prefix"), "{without_inbox}");
    let redis = redis_users::url(&guarded.redis, "worker");
    let refused = doctor("operator").env("REDIS_URL", &redis).run().await.expecting(4);
    assert!(refused.stdout.contains("`operator` in deploy/redis/users.conf"), "{refused}");
    drop(processes);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_permission_is_named_at_the_start() {
    let guarded = GuardedCluster::start().await;
    // It may not receive answers with the default inbox.
    let without_inbox =
        guarded.longshore("scheduler", &["scheduler"]).env("LONGSHORE_NATS__INBOX_PREFIX", "_INBOX");
    without_inbox.run().await.expecting(4).saying(&["ermissions Violation", "_INBOX", "nats.inbox_prefix"]);
    let without_command = GuardedCluster::start_with(&["+hset"]).await;
    let scheduler = without_command.longshore("scheduler", &["scheduler"]).run().await.expecting(4);
    scheduler.saying(&["does not allow HSET on ls:{p00}:", "deploy/redis/users.conf"]);
    let without_keys = GuardedCluster::start_with(&["~ls:claim:*"]).await;
    let worker = without_keys.longshore("worker", &["worker"]).run().await.expecting(4);
    worker.saying(&["does not allow HSET on ls:claim:"]);
    let without_rows = GuardedCluster::start_with(&["%R~ls:{p*}:rows"]).await;
    let worker = without_rows.longshore("worker", &["worker"]).run().await.expecting(4);
    worker.saying(&["does not allow EVAL_RO on ls:{p00}:rows"]);
}
