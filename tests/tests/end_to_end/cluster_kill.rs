//! The kill test of a cluster: every second a random process is killed with kill -9 and started again, a scheduler, a worker,
//! NATS or Redis, while runs are submitted and carried out.
//!
//! The promises: every acknowledged run ends with the right outputs; each submit is one run; each step has one recorded
//! outcome, which is the one that is shown; and a call is repeated only if a kill interrupted it, as
//! [`repeated_calls`](longshore_tests::repeated_calls) defines. Every fourth submit is of a call that may not be repeated: the
//! call is made at most once, and its run succeeds or reports that the outcome is unknown. Three sources are compared: the
//! journals of the tool servers, with a line for the start and the end of each call; the logs in JetStream; and the answers of
//! the cluster. The seed is printed; set `KILL_SEED` to it to kill in the same order again.
//!
//! The broker syncs every message (`sync_interval: always`). kill -9 loses no data that the kernel has, so the test would prove
//! the same with the default; with this setting the cluster is slowest.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints its figures"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use longshore_ports::clock;
use longshore_proto::Outcome;
use longshore_tests::cluster::{Cluster, chain, once};
use longshore_tests::cluster_log::ClusterLog;
use longshore_tests::environment::{rounds, variable};
use longshore_tests::journal::Journal;
use longshore_tests::nats_server::NatsServer;
use longshore_tests::repeated_calls::{Kill, OutstandingJob, Victim, WorkerCall, by_key, unexplained};
use longshore_tests::scratch::Scratch;
use longshore_tests::tools::{CommandLine, program};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// The number of schedulers, which are the first members of the cluster.
const SCHEDULERS: usize = 2;
/// The number of workers, which follow the schedulers.
const WORKERS: usize = 3;
/// The number of calls of a run, in a sequence.
const CALLS: usize = 5;
/// Of this many submits, one is of a call that may not be repeated.
const ONCE_EVERY: usize = 4;
/// The duration of a call, long enough for kills during calls.
const DELAY_MS: u64 = 250;
/// The time between kills.
const PACE: Duration = Duration::from_secs(1);
/// The time between submits, so that all of them are made during the kills.
const SUBMIT_PACE: Duration = Duration::from_millis(60);
/// The time after which a submit without an answer is sent again with the same id.
const ANSWER: Duration = Duration::from_secs(2);
/// The limit for all runs after the last kill: a job whose worker was killed is delivered again after half a minute, and that
/// may happen to it more than once.
const SETTLING: Duration = Duration::from_secs(240);

/// Makes a folder in whose servers file each worker has a journal of its own.
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

/// Returns all calls with the workers that made them.
fn made(cluster: &Cluster) -> Vec<WorkerCall> {
    let workers = SCHEDULERS..SCHEDULERS + WORKERS;
    let journal = |worker| Journal::at(cluster.scratch.path().join(format!("journal-{worker}")));
    let calls = |worker| journal(worker).calls().into_iter().map(move |call| WorkerCall { worker, call });
    workers.flat_map(calls).collect()
}

/// The size of the test.
#[derive(Clone, Copy)]
struct Size {
    /// The number of runs.
    runs: usize,
    /// The least number of kills.
    kills: usize,
    /// The least number of kills of each kind: schedulers, workers, NATS, Redis.
    kills_of_a_kind: usize,
}

impl Size {
    /// Returns the usual size or that of `./verify --long`; `KILL_RUNS` gives another number of runs.
    fn of_this_test() -> Self {
        Self {
            runs: variable("KILL_RUNS").unwrap_or_else(|| rounds(150, 500)),
            kills: rounds(12, 32),
            kills_of_a_kind: rounds(2, 5),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_runs_end_once_whatever_is_killed() {
    let seed = variable("KILL_SEED").unwrap_or_else(rand::random);
    let size = Size::of_this_test();
    let count = size.runs;
    println!("KILL_SEED={seed}");
    let nats = NatsServer::start_syncing_always().await;
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
    let killing = kill_some(&mut cluster, size, random, || is_submitted.load(Ordering::Acquire));
    let (acknowledged, kills) = tokio::join!(submitting, killing);
    println!("{count} submits acknowledged and {} kills after {:?}", kills.len(), begun.elapsed());

    let found = settled(&cluster, count).await;
    println!("all runs ended after {:?}", begun.elapsed());
    let promised: BTreeSet<_> = acknowledged.values().cloned().collect();
    assert_eq!((promised.len(), &found), (count, &promised), "each submit is one run");

    let log = ClusterLog::read(cluster.nats.url()).await;
    assert_eq!(log.submitted.len(), count, "the logs hold these runs and no others");
    let (single, chains): (BTreeMap<_, _>, BTreeMap<_, _>) =
        acknowledged.into_iter().partition(|(number, _)| is_once(*number));
    let single: BTreeSet<_> = single.into_values().collect();
    let (single_calls, calls): (BTreeMap<_, _>, BTreeMap<_, _>) =
        by_key(made(&cluster)).into_iter().partition(|(key, _)| single.contains(run_of(key)));
    check_unrepeatable_calls(&cluster, &single_calls, &single).await;
    check_outcomes(&cluster, &log, &chains).await;
    check_calls(&calls, &kills, size, &log, &chains.into_values().collect());
}

/// Returns true if this submit is of a call that may not be repeated.
const fn is_once(number: usize) -> bool {
    number % ONCE_EVERY == ONCE_EVERY - 1
}

/// Returns the run of a call.
fn run_of(key: &str) -> &str {
    key.split_once('/').unwrap().0
}

/// Asserts that no call was made twice that may not be repeated, that a succeeded run made its call, and that every other run
/// is in doubt.
async fn check_unrepeatable_calls(
    cluster: &Cluster,
    calls: &BTreeMap<String, Vec<WorkerCall>>,
    runs: &BTreeSet<String>,
) {
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

/// Sends a request to the schedulers. Returns `None` if none answers in time.
async fn ask(client: &async_nats::Client, verb: &str, request: &Value) -> Option<Value> {
    let asked = client.request(format!("longshore.v1.api.default.{verb}"), request.to_string().into());
    let answer = timeout(ANSWER, asked).await.ok().and_then(Result::ok)?;
    serde_json::from_slice(&answer.payload).ok()
}

/// Kills and restarts random processes until there were enough kills and `is_enough` holds.
async fn kill_some(
    cluster: &mut Cluster,
    size: Size,
    mut random: StdRng,
    is_enough: impl Fn() -> bool,
) -> Vec<Kill> {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace.tick().await;
    let mut kills = Vec::new();
    while kills.len() < size.kills || !is_enough() {
        let victim = choose(&mut random, size, &kills);
        pace.tick().await;
        let kill = kill_one(cluster, victim).await;
        println!("kill {}: {victim:?}", kills.len());
        kills.push(kill);
    }
    kills
}

/// Chooses a victim at random. If the remaining kills are needed for the least number of each kind, it is of a kind that lacks
/// kills.
fn choose(random: &mut StdRng, size: Size, kills: &[Kill]) -> Victim {
    let scheduler = random.random_range(0..SCHEDULERS);
    let worker = random.random_range(SCHEDULERS..SCHEDULERS + WORKERS);
    let kinds = [Victim::Scheduler(scheduler), Victim::Worker(worker), Victim::Broker, Victim::Store];
    let lacking: Vec<_> = kinds
        .iter()
        .flat_map(|kind| vec![*kind; size.kills_of_a_kind.saturating_sub(of_kind(kills, *kind))])
        .collect();
    let left = size.kills.saturating_sub(kills.len());
    let chosen = if !lacking.is_empty() && left <= lacking.len() { &lacking[..] } else { &kinds[..] };
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

/// Waits until all runs have ended, successfully if their calls may be repeated. Returns their ids.
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

/// Asserts that each step has one recorded outcome: its reports agree with each other, and with the answers of the cluster.
async fn check_outcomes(cluster: &Cluster, log: &ClusterLog, acknowledged: &BTreeMap<usize, String>) {
    let client = async_nats::connect(cluster.nats.url()).await.unwrap();
    let runs: BTreeSet<_> = acknowledged.values().map(String::as_str).collect();
    let reports: BTreeMap<_, _> = log.reports.iter().filter(|(key, _)| runs.contains(run_of(key))).collect();
    assert_eq!(reports.len(), acknowledged.len() * CALLS, "the logs hold an outcome for each step");
    for (number, run) in acknowledged {
        let shown = ask(&client, "get", &json!({ "run": run })).await.unwrap();
        assert_eq!(shown["outputs"], json!({ "number": number + CALLS }), "{shown}");
        let steps = shown["steps"].as_array().unwrap();
        assert_eq!(steps.len(), CALLS, "{shown}");
        for (call, step) in steps.iter().enumerate() {
            assert_eq!(step["status"], "succeeded", "{shown}");
            let reports = &log.reports[&format!("{run}/s{call}")];
            let output = json!({ "number": number + call + 1 });
            let is_that = |outcome: &Outcome| matches!(outcome, Outcome::Output(found) if serde_json::to_value(&found.value).unwrap() == json!({ "inline": output }));
            assert!(reports.iter().all(|report| is_that(&report.outcome)), "{reports:?} and {step}");
            assert_eq!(step["output"], output, "{shown}");
        }
    }
    // The command line shows the same as the answers to requests.
    let (number, run) = acknowledged.last_key_value().unwrap();
    assert_eq!(cluster.shown(run).await["outputs"], json!({ "number": number + CALLS }));
    let made: usize = reports.values().map(|reports| reports.len()).sum();
    let late = made - reports.len();
    println!("{} log entries, {made} reports, {late} of them late and without effect", log.entries);
}

/// Asserts that every step of every run was called, that nothing else was, and that a kill explains each repetition.
fn check_calls(
    calls: &BTreeMap<String, Vec<WorkerCall>>,
    kills: &[Kill],
    size: Size,
    log: &ClusterLog,
    runs: &BTreeSet<String>,
) {
    let steps = |run: &String| (0..CALLS).map(|call| format!("{run}/s{call}")).collect::<Vec<_>>();
    let wanted: BTreeSet<_> = runs.iter().flat_map(steps).collect();
    assert_eq!(calls.keys().cloned().collect::<BTreeSet<_>>(), wanted, "these calls and no others");

    let made: usize = calls.values().map(Vec::len).sum();
    let repeated = made - calls.len();
    // The number of kills during a call, and of kills while its job was queued or unconfirmed.
    let under_way = |kill: &&Kill, made: &WorkerCall| {
        kill.to >= made.call.begun_at && kill.from <= made.call.ended_at.unwrap_or(u64::MAX)
    };
    let caught = |(key, calls): (&String, &Vec<WorkerCall>)| {
        let job = job_of(key, log);
        let hits: Vec<_> =
            kills.iter().filter(|kill| calls.iter().any(|made| kill.hits(made, job))).collect();
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
        let found = unexplained(calls, kills, job_of(key, log));
        if !found.is_empty() {
            let leaders: Vec<_> =
                log.leaders.iter().filter(|it| key.starts_with(&format!("run_{}_", it.partition))).collect();
            wrong.push(format!("{key}: {calls:?}, {:?}, {leaders:?}", job_of(key, log)));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} calls repeated without a kill that explains it: {wrong:#?}\n{kills:#?}",
        wrong.len()
    );
    let are_enough = counts.iter().all(|count| *count >= size.kills_of_a_kind);
    assert!(are_enough && kills.len() >= size.kills, "{counts:?}");
    assert!(in_flight > size.kills_of_a_kind, "kills catch calls");
    assert!(repeated <= in_flight + otherwise, "no more is repeated than kills have caught");
}

/// Returns the interval in which the job of a call was outstanding: from the outcome of the step before, or from the submit, to
/// the outcome of its own step.
fn job_of(key: &str, log: &ClusterLog) -> OutstandingJob {
    let (run, step) = key.split_once("/s").unwrap();
    let from = match step.parse::<usize>().unwrap() {
        0 => log.submitted.get(&run.parse().unwrap()).copied(),
        call => log.recorded_at(&format!("{run}/s{}", call - 1)),
    };
    OutstandingJob { from: from.unwrap_or_default(), settled: log.recorded_at(key) }
}

fn text(run: &Value, field: &str) -> String {
    run[field].as_str().unwrap_or_default().to_owned()
}
