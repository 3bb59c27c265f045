//! The kill test of a cluster: every second a process at random is killed with kill -9 and started again, be it a
//! scheduler, a worker, NATS or Redis, while runs are submitted and carried out.
//!
//! What must come out: every run that was acknowledged comes to its end with the right outputs; each submit is one run;
//! each step has one recorded outcome, which is the one that is shown; and a call is repeated only if a kill caught it,
//! as [`repeats`](longshore_tests::repeats) says exactly. Every fourth submit is of a call that may not be repeated: it is
//! made at most once, and its run ends well or says that nobody knows. What is compared are three witnesses: the journals that the
//! tool servers keep, with a line when a call begins and one when it ends; the logs in JetStream; and what the cluster
//! shows. The seed is printed; set `KILL_SEED` to it to kill in the same order again.
//!
//! The broker syncs every message (`sync_interval: always`). kill -9 loses nothing that the kernel has, so this proves
//! no more than the default would; it is the setting in which the cluster is slowest.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells its story"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use longshore_ports::clock;
use longshore_proto::Outcome;
use longshore_tests::cluster::{Cluster, PARTITIONS, chain, once};
use longshore_tests::given::given;
use longshore_tests::journal::Journal;
use longshore_tests::ledger::Ledger;
use longshore_tests::nats_server::NatsServer;
use longshore_tests::repeats::{Kill, Made, Out, Victim, by_key, unexplained};
use longshore_tests::scratch::Scratch;
use longshore_tests::tools::{CommandLine, program};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// The first members of the cluster.
const SCHEDULERS: usize = 2;
/// Those behind them.
const WORKERS: usize = 3;
/// Runs, unless `KILL_RUNS` says otherwise.
const RUNS: usize = 500;
/// Calls of a run, one after the other.
const CALLS: usize = 5;
/// Kills at least.
const KILLS: usize = 32;
/// Kills of each kind at least: schedulers, workers, NATS, Redis.
const KILLS_OF_A_KIND: usize = 5;
/// Every so many submits one of them is of a call that may not be repeated.
const ONCE_EVERY: usize = 4;
/// How long a call takes: long enough to be killed in.
const DELAY_MS: u64 = 250;
/// How often something is killed.
const PACE: Duration = Duration::from_secs(1);
/// How often a run is submitted: all of them within the kills.
const SUBMIT_PACE: Duration = Duration::from_millis(60);
/// How long an answer to a submit is waited for, before it is sent again with the same id.
const ANSWER: Duration = Duration::from_secs(2);
/// How long all runs may take once nothing is killed any more: a job whose worker was killed comes again after half a
/// minute, and may have been unlucky more than once.
const SETTLING: Duration = Duration::from_secs(240);
/// How long a partition may wait for its next leader, in milliseconds: a lease of 6 s and a third, and a busy machine.
const TAKEOVER_LIMIT_MS: u64 = 20_000;

/// A folder whose servers file has each worker keep a journal of its own.
fn scratch() -> Scratch {
    let scratch = Scratch::new(&json!({}));
    let folder = scratch.path().display().to_string();
    let (journal, delay) = (format!("{folder}/journal-${{MEMBER}}"), DELAY_MS.to_string());
    let options = ["--root", &folder, "--journal", &journal, "--delay-ms", &delay];
    scratch.servers(&json!({ "tables": CommandLine::new(program("tables"), options).entry() }));
    scratch.write("chain.json", chain("chain", CALLS));
    scratch.write("once.json", once("once"));
    scratch
}

/// Every call, with the worker that made it.
fn made(cluster: &Cluster) -> Vec<Made> {
    let workers = SCHEDULERS..SCHEDULERS + WORKERS;
    let journal = |worker| Journal::at(cluster.scratch.path().join(format!("journal-{worker}")));
    let calls = |worker| journal(worker).calls().into_iter().map(move |call| Made { worker, call });
    workers.flat_map(calls).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_ends_once_whatever_is_killed() {
    let seed = given("KILL_SEED").unwrap_or_else(rand::random);
    let count = given("KILL_RUNS").unwrap_or(RUNS);
    println!("KILL_SEED={seed}");
    let nats = NatsServer::start_always().await;
    let mut cluster = Cluster::start_on(nats, scratch(), SCHEDULERS, WORKERS).await;
    for file in ["chain.json", "once.json"] {
        cluster.client(["workflows", "push", file]).run().await.expecting(0);
    }

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
    let (acknowledged, kills) = tokio::join!(submitting, killing);
    println!("{count} submits acknowledged and {} kills after {:?}", kills.len(), begun.elapsed());

    let found = settled(&cluster, count).await;
    println!("all runs ended after {:?}", begun.elapsed());
    let promised: BTreeSet<_> = acknowledged.values().cloned().collect();
    assert_eq!((promised.len(), &found), (count, &promised), "each submit is one run");

    let ledger = Ledger::read(cluster.nats.url()).await;
    assert_eq!(ledger.submitted.len(), count, "the logs hold these runs and no others");
    let (lone, chains): (BTreeMap<_, _>, BTreeMap<_, _>) =
        acknowledged.into_iter().partition(|(number, _)| is_once(*number));
    let lone: BTreeSet<_> = lone.into_values().collect();
    let (lone_calls, calls): (BTreeMap<_, _>, BTreeMap<_, _>) =
        by_key(made(&cluster)).into_iter().partition(|(key, _)| lone.contains(run_of(key)));
    check_lone_calls(&cluster, &lone_calls, &lone).await;
    check_outcomes(&cluster, &ledger, &chains).await;
    check_calls(&calls, &kills, &ledger, &chains.into_values().collect());
}

/// Whether this submit is of a call that may not be repeated.
const fn is_once(number: usize) -> bool {
    number % ONCE_EVERY == ONCE_EVERY - 1
}

/// The run of a call.
fn run_of(key: &str) -> &str {
    key.split_once('/').unwrap().0
}

/// No call was made twice that may not be. What has ended well was made, and what has not is in doubt.
async fn check_lone_calls(cluster: &Cluster, calls: &BTreeMap<String, Vec<Made>>, runs: &BTreeSet<String>) {
    let repeated: Vec<_> = calls.values().filter(|calls| calls.len() > 1).collect();
    assert!(repeated.is_empty(), "calls that may not be repeated: {repeated:#?}");
    let client = async_nats::connect(cluster.nats.url()).await.unwrap();
    let mut in_doubt = 0;
    for run in runs {
        let shown = ask(&client, "get", &json!({ "run": run })).await.unwrap();
        let step = &shown["steps"][0];
        if shown["status"] == "succeeded" {
            assert!(calls.contains_key(&format!("{run}/s0")), "it was called: {shown}");
            assert_eq!(step["output"], shown["outputs"], "{shown}");
        } else {
            assert_eq!(
                (text(&shown, "status"), text(step, "status")),
                ("failed".into(), "indeterminate".into())
            );
            in_doubt += 1;
        }
    }
    println!("{} calls that may not be repeated: each made at most once, {in_doubt} in doubt", runs.len());
    assert!(in_doubt < runs.len() / 2, "most of them end well");
}

/// Submits runs one after the other until each is acknowledged, and returns their ids by their numbers.
async fn submit_all(url: String, count: usize) -> BTreeMap<usize, String> {
    let client = async_nats::connect(url).await.unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut pace = interval(SUBMIT_PACE);
    for number in 0..count {
        pace.tick().await;
        let workflow = if is_once(number) { "once" } else { "chain" };
        let body =
            json!({ "workflow": workflow, "id": format!("n{number}"), "inputs": { "number": number } });
        let run = loop {
            match ask(&client, "submit", &body).await.as_ref().and_then(|answer| answer["run"].as_str()) {
                Some(run) => break run.to_owned(),
                None => sleep(Duration::from_millis(50)).await,
            }
        };
        acknowledged.insert(number, run);
    }
    acknowledged
}

/// Asks the micro service; nothing if nobody answers in time.
async fn ask(client: &async_nats::Client, verb: &str, request: &Value) -> Option<Value> {
    let asked = client.request(format!("longshore.v1.api.default.{verb}"), request.to_string().into());
    let answer = timeout(ANSWER, asked).await.ok().and_then(Result::ok)?;
    serde_json::from_slice(&answer.payload).ok()
}

/// Kills and starts again at random, until there were enough kills and it is enough.
async fn kill_some(cluster: &mut Cluster, mut random: StdRng, is_enough: impl Fn() -> bool) -> Vec<Kill> {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace.tick().await;
    let mut kills = Vec::new();
    while kills.len() < KILLS || !is_enough() {
        let victim = choose(&mut random, &kills);
        pace.tick().await;
        let kill = kill_one(cluster, victim).await;
        println!("kill {}: {victim:?}", kills.len());
        kills.push(kill);
    }
    kills
}

/// A victim at random: of a kind that still has to be killed if the kills are about to run out, else of any.
fn choose(random: &mut StdRng, kills: &[Kill]) -> Victim {
    let scheduler = random.random_range(0..SCHEDULERS);
    let worker = random.random_range(SCHEDULERS..SCHEDULERS + WORKERS);
    let kinds = [Victim::Scheduler(scheduler), Victim::Worker(worker), Victim::Broker, Victim::Store];
    let lacking: Vec<_> = kinds
        .iter()
        .flat_map(|kind| vec![*kind; KILLS_OF_A_KIND.saturating_sub(of_kind(kills, *kind))])
        .collect();
    let left = KILLS.saturating_sub(kills.len());
    let chosen = if left <= lacking.len() { &lacking[..] } else { &kinds[..] };
    chosen[random.random_range(0..chosen.len())]
}

fn of_kind(kills: &[Kill], kind: Victim) -> usize {
    let same = |kill: &&Kill| std::mem::discriminant(&kill.victim) == std::mem::discriminant(&kind);
    kills.iter().filter(same).count()
}

/// Kills a process with kill -9 and starts it again.
async fn kill_one(cluster: &mut Cluster, victim: Victim) -> Kill {
    let from = clock::now().as_millis();
    match victim {
        Victim::Scheduler(member) | Victim::Worker(member) => {
            let ended = cluster.kill_member(member).await;
            assert!(ended.was_killed() && !ended.stderr.contains("panicked"), "{ended}");
        }
        Victim::Broker => cluster.nats.kill().await,
        Victim::Store => cluster.redis.kill().await,
    }
    let to = clock::now().as_millis();
    match victim {
        Victim::Scheduler(member) | Victim::Worker(member) => cluster.start_member(member),
        Victim::Broker => cluster.nats.start_again().await,
        Victim::Store => cluster.redis.start_again().await,
    }
    Kill { victim, from, to }
}

/// Waits until all runs have ended, and well if their calls may be repeated; returns their ids.
async fn settled(cluster: &Cluster, count: usize) -> BTreeSet<String> {
    let client = async_nats::connect(cluster.nats.url()).await.unwrap();
    let deadline = Instant::now() + SETTLING;
    loop {
        let runs = ask(&client, "list", &json!({ "limit": 1_000 })).await;
        let runs = runs.and_then(|page| page["runs"].as_array().cloned()).unwrap_or_default();
        let has_ended = |run: &Value| {
            run["status"] == "succeeded" || run["workflow"]["name"] == "once" && run["status"] == "failed"
        };
        let open: Vec<_> = runs.iter().filter(|run| !has_ended(run)).collect();
        if open.is_empty() && runs.len() >= count {
            return runs.iter().map(|run| text(run, "run")).collect();
        }
        if Instant::now() >= deadline {
            if let Some(run) = open.first() {
                println!("{}", cluster.shown(&text(run, "run")).await);
            }
            panic!("{} runs of {}, not ended: {open:#?}\n{}", open.len(), runs.len(), cluster.said());
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Each step has one recorded outcome: reports about it agree with each other, and with what is shown.
async fn check_outcomes(cluster: &Cluster, ledger: &Ledger, acknowledged: &BTreeMap<usize, String>) {
    let client = async_nats::connect(cluster.nats.url()).await.unwrap();
    let runs: BTreeSet<_> = acknowledged.values().map(String::as_str).collect();
    let reports: BTreeMap<_, _> =
        ledger.reports.iter().filter(|(key, _)| runs.contains(run_of(key))).collect();
    assert_eq!(reports.len(), acknowledged.len() * CALLS, "the logs hold an outcome for each step");
    for (number, run) in acknowledged {
        let shown = ask(&client, "get", &json!({ "run": run })).await.unwrap();
        assert_eq!(shown["outputs"], json!({ "number": number + CALLS }), "{shown}");
        let steps = shown["steps"].as_array().unwrap();
        assert_eq!(steps.len(), CALLS, "{shown}");
        for (call, step) in steps.iter().enumerate() {
            assert_eq!(step["status"], "succeeded", "{shown}");
            let reports = &ledger.reports[&format!("{run}/s{call}")];
            let output = json!({ "number": number + call + 1 });
            let is_that = |outcome: &Outcome| matches!(outcome, Outcome::Output(found) if serde_json::to_value(&found.value).unwrap() == json!({ "inline": output }));
            assert!(reports.iter().all(|report| is_that(&report.outcome)), "{reports:?} and {step}");
            assert_eq!(step["output"], output, "{shown}");
        }
    }
    // The command line shows the same as the service.
    let (number, run) = acknowledged.last_key_value().unwrap();
    assert_eq!(cluster.shown(run).await["outputs"], json!({ "number": number + CALLS }));
    let made: usize = reports.values().map(|reports| reports.len()).sum();
    let late = made - reports.len();
    println!("{} log entries, {made} reports, {late} of them late and without effect", ledger.entries);
}

/// Every step of every run was called, nothing else was, and a kill explains each repetition.
fn check_calls(
    calls: &BTreeMap<String, Vec<Made>>,
    kills: &[Kill],
    ledger: &Ledger,
    runs: &BTreeSet<String>,
) {
    let steps = |run: &String| (0..CALLS).map(|call| format!("{run}/s{call}")).collect::<Vec<_>>();
    let wanted: BTreeSet<_> = runs.iter().flat_map(steps).collect();
    assert_eq!(calls.keys().cloned().collect::<BTreeSet<_>>(), wanted, "these calls and no others");

    let made: usize = calls.values().map(Vec::len).sum();
    let repeated = made - calls.len();
    // How often a kill caught a call that was being made, or its job before or after.
    let under_way = |kill: &&Kill, made: &Made| {
        kill.to >= made.call.begun_at && kill.from <= made.call.ended_at.unwrap_or(u64::MAX)
    };
    let caught = |(key, calls): (&String, &Vec<Made>)| {
        let out = out(key, ledger);
        let hits: Vec<_> =
            kills.iter().filter(|kill| calls.iter().any(|made| kill.hits(made, out))).collect();
        let during = hits.iter().filter(|kill| calls.iter().any(|made| under_way(kill, made))).count();
        (during, hits.len() - during)
    };
    let caught: Vec<_> = calls.iter().map(caught).collect();
    let in_flight: usize = caught.iter().map(|(during, _)| during).sum();
    let otherwise: usize = caught.iter().map(|(_, otherwise)| otherwise).sum();
    let kinds = [Victim::Scheduler(0), Victim::Worker(0), Victim::Broker, Victim::Store];
    let counts = kinds.map(|kind| of_kind(kills, kind));
    let [schedulers, workers, brokers, stores] = counts;
    println!("{schedulers} kills of schedulers, {workers} of workers, {brokers} of NATS, {stores} of Redis");
    println!(
        "{made} calls, {repeated} repeated; kills caught {in_flight} in flight, {otherwise} queued or unconfirmed"
    );

    let mut wrong = Vec::new();
    for (key, calls) in calls {
        let found = unexplained(calls, kills, out(key, ledger));
        if !found.is_empty() {
            let leaders: Vec<_> = ledger
                .leaders
                .iter()
                .filter(|it| key.starts_with(&format!("run_{}_", it.partition)))
                .collect();
            wrong.push(format!("{key}: {calls:?}, {:?}, {leaders:?}", out(key, ledger)));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} calls repeated without a kill that explains it: {wrong:#?}\n{kills:#?}",
        wrong.len()
    );
    assert!(counts.iter().all(|count| *count >= KILLS_OF_A_KIND) && kills.len() >= KILLS, "{counts:?}");
    assert!(in_flight > KILLS_OF_A_KIND, "kills catch calls");
    assert!(repeated <= in_flight + otherwise, "no more is repeated than kills have caught");
}

/// When the job of a call was out: from the outcome of the step before, or from the submit, to its own outcome.
fn out(key: &str, ledger: &Ledger) -> Out {
    let (run, step) = key.split_once("/s").unwrap();
    let from = match step.parse::<usize>().unwrap() {
        0 => ledger.submitted.get(&run.parse().unwrap()).copied(),
        call => ledger.recorded_at(&format!("{run}/s{}", call - 1)),
    };
    Out { from: from.unwrap_or_default(), settled: ledger.recorded_at(key) }
}

fn text(run: &Value, field: &str) -> String {
    run[field].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn what_a_killed_leader_led_is_led_by_another_soon() {
    const ROUNDS: usize = 3;
    let mut cluster = Cluster::start(2, 1, 0).await;
    cluster.scratch.write("chain.json", chain("chain", 1));
    for round in 0..ROUNDS {
        // Each leads its half, and one of them is gone.
        let victim = round % 2;
        let pid = cluster.pid(victim);
        let led = led_by(&cluster, pid).await;
        let killed_at = clock::now().as_millis();
        cluster.kill_member(victim).await;
        let followed = loop {
            let ledger = Ledger::read(cluster.nats.url()).await;
            let followers: BTreeMap<_, _> = ledger
                .leaders
                .iter()
                .filter(|leader| led.contains(&leader.partition) && leader.at >= killed_at)
                .map(|leader| (leader.partition, leader.at - killed_at))
                .collect();
            if followers.len() == led.len() {
                break followers;
            }
            assert!(clock::now().as_millis() < killed_at + TAKEOVER_LIMIT_MS, "{led:?}: {}", cluster.said());
            sleep(Duration::from_millis(50)).await;
        };
        let (first, last) = (followed.values().min().unwrap(), followed.values().max().unwrap());
        println!("round {round}: {} partitions led again after {first} to {last} ms", led.len());
        // New runs end, whichever partition they fall into.
        for _ in 0..4 {
            let run = cluster.submit(&["chain.json"]).await;
            assert_eq!(cluster.ended(&run).await["status"], "succeeded");
        }
        cluster.start_member(victim);
    }
}

/// The partitions that a process leads, once it has its half.
async fn led_by(cluster: &Cluster, pid: u32) -> BTreeSet<longshore_proto::Partition> {
    let is_it = format!("-{pid}-");
    let deadline = Instant::now() + Duration::from_millis(TAKEOVER_LIMIT_MS);
    loop {
        let ledger = Ledger::read(cluster.nats.url()).await;
        let newest: BTreeMap<_, _> =
            ledger.leaders.iter().map(|leader| (leader.partition, leader.node.as_str())).collect();
        let led: BTreeSet<_> = newest
            .into_iter()
            .filter(|(_, node)| node.contains(&is_it))
            .map(|(partition, _)| partition)
            .collect();
        if led.len() == usize::from(PARTITIONS) / 2 {
            return led;
        }
        assert!(Instant::now() < deadline, "{}", cluster.said());
        sleep(Duration::from_millis(50)).await;
    }
}
