//! `longshore doctor` with real clusters that have problems: it reports each problem and the leader of each partition, and
//! nothing that is wrong.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use async_nats::jetstream;
use longshore_proto::RunId;
use longshore_tests::cluster::{Cluster, PARTITIONS, chain};
use longshore_tests::longshore::PATIENCE;
use longshore_tests::wait::pause;
use serde_json::Value;
use tokio::time::Instant;

/// Returns the report of `doctor`, which must end with this exit code.
async fn examined(cluster: &Cluster, arguments: &[&str], code: i32) -> Value {
    let command = [&["doctor", "--json", "--connect-deadline", "2s"], arguments].concat();
    cluster.client(command).run().await.expecting(code).json()
}

/// Runs `doctor` until a check is as expected: processes report some seconds late.
async fn examined_until(cluster: &Cluster, what: &str, so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let report = examined_now(cluster).await;
        if checks(&report).iter().any(&so) {
            return report;
        }
        assert!(Instant::now() < deadline, "{what}: {report:#}\n{}", cluster.said());
        pause().await;
    }
}

fn checks(report: &Value) -> &Vec<Value> {
    report["checks"].as_array().unwrap()
}

/// Returns the checks with a name.
fn named<'a>(report: &'a Value, name: &str) -> Vec<&'a Value> {
    checks(report).iter().filter(|check| check["name"] == name).collect()
}

fn level(report: &Value, name: &str) -> String {
    let checks = named(report, name);
    let check = checks.first().unwrap_or_else(|| panic!("{name}: {report:#}"));
    check["level"].as_str().unwrap().to_owned()
}

fn says(check: &Value, words: &[&str]) -> bool {
    let text = format!("{} {}", check["text"], check["help"]);
    words.iter().all(|word| text.contains(word))
}

#[tokio::test]
async fn doctor_reports_leaders_and_waiting_jobs() {
    let mut cluster = Cluster::start(2, 1, 0).await;
    let led = |report: &Value| {
        let partitions = report["partitions"].as_array().unwrap();
        partitions.len() == usize::from(PARTITIONS)
            && partitions.iter().all(|partition| {
                partition["leaders"].as_array().unwrap() == &[partition["lease"].clone()]
                    && partition["checkpoint_age_ms"].as_u64().is_some_and(|age| age < 30_000)
            })
    };
    let deadline = Instant::now() + PATIENCE;
    let report = loop {
        let report = examined(&cluster, &[], 0).await;
        if led(&report) && report["schedulers"].as_array().unwrap().len() == 2 {
            break report;
        }
        assert!(Instant::now() < deadline, "{report:#}\n{}", cluster.said());
        pause().await;
    };
    for name in ["partitions", "checkpoints", "room in streams", "room in the account", "queue", "workers"] {
        assert_eq!(level(&report, name), "good", "{name}: {report:#}");
    }
    assert!(says(named(&report, "claims")[0], &["0 claims"]), "{report:#}");
    for scheduler in report["schedulers"].as_array().unwrap() {
        let node = scheduler["node"].as_str().unwrap();
        assert!(cluster.said().contains(&format!(r#""node":"{node}""#)), "{node} in {}", cluster.said());
    }

    // A job for a server without a worker is reported, and fails `doctor` only with `--strict`.
    let unserved = chain("unserved", 1).replace("tables/echo", "nowhere/echo");
    cluster.scratch.write("unserved.json", unserved);
    cluster.submit(&["unserved.json"]).await;
    let is_named = |check: &Value| check["name"] == "queue" && says(check, &["one job waits for `nowhere`"]);
    let report = examined_until(&cluster, "the job is named", is_named).await;
    assert_eq!(level(&report, "queue"), "doubtful");
    assert_eq!(report["backlog"][0]["server"], "nowhere", "{report:#}");
    examined(&cluster, &["--strict"], 7).await;

    // Without Redis the list of workers is unknown, and there is no check about them.
    cluster.redis.stop().await;
    let report = examined(&cluster, &[], 6).await;
    assert_eq!(level(&report, "queue"), "unknown", "{report:#}");
    assert!(named(&report, "workers").is_empty(), "{report:#}");
}

#[tokio::test]
async fn it_finds_a_redis_that_takes_no_writes_and_streams_that_are_gone_and_processes_that_are_not_there() {
    let mut cluster = Cluster::start(1, 1, 0).await;
    let _: String = cluster.redis.ask(&["CONFIG", "SET", "maxmemory", "1mb"]);
    let report = examined(&cluster, &[], 1).await;
    assert_eq!(level(&report, "Redis"), "wrong");
    assert!(says(named(&report, "Redis")[0], &["refuses a write", "OOM", "maxmemory"]), "{report:#}");
    let _: String = cluster.redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);

    let client = async_nats::connect(cluster.nats.url()).await.unwrap();
    let context = jetstream::new(client);
    context.delete_stream("LS_DLQ").await.unwrap();
    let report = examined(&cluster, &[], 1).await;
    assert!(says(named(&report, "streams")[0], &["missing: LS_DLQ"]), "{report:#}");
    let says_so = |check: &Value| check["name"] == "stores" && says(check, &["LS_DLQ", "not found"]);
    examined_until(&cluster, "the scheduler says so too", says_so).await;

    for member in [0, 1] {
        cluster.end_member(member).await.expecting(0);
    }
    let mut streams = vec!["LS_JOBS", "LS_BLOBS", "LS_SUBMIT", "KV_LS_WORKFLOWS"];
    streams.extend(["LS_LOG_00", "LS_LOG_01", "LS_LOG_02", "LS_LOG_03"]);
    for stream in streams {
        context.delete_stream(stream).await.unwrap();
    }
    let report = examined(&cluster, &[], 1).await;
    for name in ["streams", "schedulers", "workers"] {
        assert_eq!(level(&report, name), "wrong", "{name}: {report:#}");
    }
    assert_eq!(level(&report, "partitions"), "unknown");
}

#[tokio::test]
async fn it_names_what_a_worker_cannot_use() {
    let cluster = Cluster::start(1, 1, 0).await;
    let worker = examined_now(&cluster).await["workers"][0]["worker"].as_str().unwrap().to_owned();
    // All keys with a hash tag stay allowed: partitions, leases, the lists of schedulers and workers. Of claims only what the
    // server needs to load its append-only file, without which it would be refused as a whole.
    let claims = "(~ls:claim:* +hset +pexpireat)";
    let _: String = cluster.redis.ask(&["ACL", "SETUSER", "default", "resetkeys", "~ls:{*", claims]);
    let is_named = |check: &Value| check["name"] == "stores" && says(check, &["redis", "ermission", &worker]);
    let report = examined_until(&cluster, "the worker's problem is named", is_named).await;
    assert_eq!(level(&report, "stores"), "wrong", "{report:#}");
    assert!(report["workers"][0]["problems"][0].is_string(), "{report:#}");
    examined(&cluster, &[], 4).await;
    let _: String = cluster.redis.ask(&["ACL", "SETUSER", "default", "clearselectors", "allkeys"]);
    let deadline = Instant::now() + PATIENCE;
    while !named(&examined_now(&cluster).await, "stores").is_empty() {
        assert!(Instant::now() < deadline, "it can use Redis again");
    }
}

#[tokio::test]
async fn permission_that_the_doctor_or_a_process_lacks_is_exit_code_4() {
    let cluster = Cluster::start(1, 1, 0).await;
    let allow = |rule: &str| cluster.redis.ask::<String>(&["ACL", "SETUSER", "default", rule]);
    for command in ["scan", "set", "info", "time", "zrange"] {
        allow(&format!("-{command}"));
        let report = examined(&cluster, &[], 4).await;
        let says_so = |check: &&Value| says(check, &["ermission", "`operator` in deploy/redis/users.conf"]);
        assert!(named(&report, "Redis").iter().any(says_so), "{command}: {report:#}");
        allow(&format!("+{command}"));
    }
    // The doctor itself needs no such command.
    allow("-hrandfield");
    let is_named = |check: &Value| check["name"] == "stores" && says(check, &["ermission", "HRANDFIELD"]);
    examined_until(&cluster, "the scheduler's problem is named", is_named).await;
    examined(&cluster, &[], 4).await;
}

#[tokio::test]
async fn one_fault_of_all_partitions_and_processes_is_one_check() {
    let cluster = Cluster::start(2, 1, 0).await;
    cluster.scratch.write("chain.json", chain("chain", 1));
    // Every leader has stored its state before Redis is full and has a change to store then, so all fail in the same way.
    for name in ["partitions", "checkpoints"] {
        let is_good = |check: &Value| check["name"] == name && check["level"] == "good";
        examined_until(&cluster, name, is_good).await;
    }
    let _: String = cluster.redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut changed = BTreeSet::new();
    while changed.len() < usize::from(PARTITIONS) {
        let run: RunId = cluster.submit(&["chain.json"]).await.parse().unwrap();
        changed.insert(run.partition());
    }
    let of_all = |check: &Value| {
        check["name"] == "stores" && says(check, &["checkpoints of partitions 00-03: ", ", "])
    };
    let report = examined_until(&cluster, "all checkpoints are named at once", of_all).await;
    let checks = named(&report, "stores");
    assert!(checks.len() <= 3, "checkpoints, the write of a key, and claims: {report:#}");
    assert!(checks.iter().all(|check| says(check, &["OOM", "maxmemory"])), "{report:#}");
}

async fn examined_now(cluster: &Cluster) -> Value {
    let command = ["doctor", "--json", "--connect-deadline", "2s"];
    serde_json::from_str(&cluster.client(command).run().await.stdout).unwrap()
}
