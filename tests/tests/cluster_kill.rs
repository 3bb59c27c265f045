//! The kill test of a cluster: every second a process at random is killed with kill -9 and started again, be it a
//! scheduler, a worker, NATS or Redis, while runs are submitted and carried out.
//!
//! What must come out: every run that was acknowledged comes to its end with the right outputs, each submit is one run,
//! each step has one recorded outcome, and no more calls are repeated than were under way at the kills. The seed is
//! printed; set `KILL_SEED` to it to kill in the same order again.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells its story"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use longshore_tests::cluster::{Cluster, chain};
use longshore_tests::journal::Journal;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

const SCHEDULERS: usize = 2;
const WORKERS: usize = 3;
/// Runs, unless `KILL_RUNS` says otherwise.
const RUNS: usize = 100;
/// Calls of a run, one after the other.
const CALLS: usize = 5;
/// Kills at least.
const KILLS: usize = 12;
/// How long a call takes: long enough to be killed in.
const DELAY_MS: u64 = 150;
/// How often something is killed.
const PACE: Duration = Duration::from_secs(1);
/// How long an answer to a submit is waited for, before it is sent again with the same id.
const ANSWER: Duration = Duration::from_secs(2);
/// How long all runs may take once nothing is killed any more.
const SETTLING: Duration = Duration::from_secs(180);

/// A number from the environment of the person who repeats a failure.
fn given<T: std::str::FromStr>(name: &str) -> Option<T> {
    #[expect(clippy::disallowed_methods, reason = "the person who repeats a failure says with which seed")]
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_ends_once_whatever_is_killed() {
    let seed = given("KILL_SEED").unwrap_or_else(rand::random);
    let count = given("KILL_RUNS").unwrap_or(RUNS);
    println!("KILL_SEED={seed}");
    let mut cluster = Cluster::start(SCHEDULERS, WORKERS, DELAY_MS).await;
    cluster.scratch.write("chain.json", chain("chain", CALLS));
    cluster.client(["workflows", "push", "chain.json"]).run().await.expecting(0);

    let begun = Instant::now();
    let is_submitted = AtomicBool::new(false);
    let url = cluster.nats.url();
    let submitting = async {
        let acknowledged = submit_all(url, count).await;
        is_submitted.store(true, Ordering::Release);
        acknowledged
    };
    let random = StdRng::seed_from_u64(seed);
    let killing = kill_some(&mut cluster, random, || is_submitted.load(Ordering::Acquire));
    let (acknowledged, in_flight) = tokio::join!(submitting, killing);
    println!(
        "{count} submits acknowledged after {:?}, {in_flight} calls under way at kills",
        begun.elapsed()
    );

    let runs = settled(&cluster, count).await;
    println!("all runs ended after {:?}", begun.elapsed());
    let found: BTreeSet<_> = runs.iter().map(|run| text(run, "run")).collect();
    let promised: BTreeSet<_> = acknowledged.values().cloned().collect();
    assert_eq!((promised.len(), &found), (count, &promised), "each submit is one run");
    for (number, run) in &acknowledged {
        let shown = cluster.shown(run).await;
        assert_eq!(shown["outputs"], json!({ "number": number + CALLS }), "{shown}");
        let steps = shown["steps"].as_array().unwrap();
        assert_eq!(steps.len(), CALLS);
        assert!(steps.iter().all(|step| step["status"] == "succeeded"), "{shown}");
    }
    check_calls(&cluster.scratch.journal(), &promised, in_flight);
}

/// Submits runs one after the other until each is acknowledged, and returns their ids by their numbers.
async fn submit_all(url: String, count: usize) -> BTreeMap<usize, String> {
    let client = async_nats::ConnectOptions::new().retry_on_initial_connect().connect(url).await.unwrap();
    let mut acknowledged = BTreeMap::new();
    for number in 0..count {
        let body = json!({ "workflow": "chain", "id": format!("n{number}"), "inputs": { "number": number } });
        let run = loop {
            let asked = client.request("longshore.v1.api.submit", body.to_string().into());
            let answer = timeout(ANSWER, asked).await.ok().and_then(Result::ok);
            let answer = answer.and_then(|answer| serde_json::from_slice::<Value>(&answer.payload).ok());
            match answer.as_ref().and_then(|answer| answer["run"].as_str()) {
                Some(run) => break run.to_owned(),
                None => sleep(Duration::from_millis(50)).await,
            }
        };
        acknowledged.insert(number, run);
        // Spread over the kills.
        sleep(Duration::from_millis(80)).await;
    }
    acknowledged
}

/// Kills and starts again at random, until there were enough kills and it is enough. Returns how many calls were under
/// way at the kills.
async fn kill_some(cluster: &mut Cluster, mut random: StdRng, is_enough: impl Fn() -> bool) -> usize {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace.tick().await;
    let (mut kills, mut in_flight) = (0, 0);
    let first = random.random_range(0..SCHEDULERS + WORKERS + 2);
    while kills < KILLS || !is_enough() {
        pace.tick().await;
        let caught = cluster.scratch.journal().calls().iter().filter(|call| call.ok.is_none()).count();
        // Each is killed once before any is killed at random; one step of 3 through 7 of them meets all.
        let members = SCHEDULERS + WORKERS;
        let all = members + 2;
        let member = if kills < all { (first + 3 * kills) % all } else { random.random_range(0..all) };
        println!("kill {kills}: {member}, {caught} calls without an end");
        if member == members {
            cluster.nats.restart().await;
        } else if member == members + 1 {
            cluster.redis.restart().await;
        } else {
            let ended = cluster.kill_member(member).await;
            assert!(ended.was_killed() && !ended.stderr.contains("panicked"), "{ended}");
            cluster.start_member(member);
        }
        in_flight += caught;
        kills += 1;
    }
    in_flight
}

/// Waits until all runs have ended, and returns them.
async fn settled(cluster: &Cluster, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + SETTLING;
    loop {
        let listed = cluster.client(["runs", "list", "--limit", "1000", "--json"]).run().await;
        let runs = if listed.code() == Some(0) { listed.json_lines() } else { Vec::new() };
        let open: Vec<_> = runs.iter().filter(|run| run["status"] != "succeeded").collect();
        if open.is_empty() && runs.len() >= count {
            return runs;
        }
        if Instant::now() >= deadline {
            if let Some(run) = open.first() {
                println!("{}", cluster.shown(&text(run, "run")).await);
            }
            panic!(
                "{listed}\n{} of {} runs have not ended: {open:#?}\n{}",
                open.len(),
                runs.len(),
                cluster.said()
            );
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Every step of every run was called, nothing else was, and no more was repeated than was under way at kills.
fn check_calls(journal: &Journal, runs: &BTreeSet<String>, in_flight: usize) {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for call in journal.calls() {
        *times.entry(call.key).or_default() += 1;
    }
    let steps = |run: &String| (0..CALLS).map(|call| format!("{run}/s{call}")).collect::<Vec<_>>();
    let wanted: BTreeSet<_> = runs.iter().flat_map(steps).collect();
    assert_eq!(times.keys().cloned().collect::<BTreeSet<_>>(), wanted);
    let repeated: usize = times.values().map(|times| times - 1).sum();
    println!("{} calls, {repeated} repeated, {in_flight} caught by kills", journal.calls().len());
    assert!(repeated <= in_flight, "{repeated} calls repeated, {in_flight} were under way at kills");
}

fn text(run: &Value, field: &str) -> String {
    run[field].as_str().unwrap_or_default().to_owned()
}
