//! More workers make more calls: four of them at least three and a half times as many as one.
//!
//! The tool takes 50 ms and a worker has few slots, so what limits one worker is its slots and not the machine. The
//! backlog is there before anything is counted, and what is counted is answers in the journal of the tool over some
//! seconds, after a warm-up. A busy machine may spoil a measurement, so there is a second one.

use std::time::Duration;

use longshore_tests::cluster::{Cluster, Role};
use longshore_tests::wait::until;
use serde_json::json;
use tokio::time::{Instant, sleep};

/// How long a call takes.
const DELAY_MS: u64 = 50;
/// Calls a worker makes at once: few enough that four workers do not fill a small machine.
const SLOTS: &str = "2";
/// Calls of a run, all at once.
const WIDTH: usize = 50;
/// Runs in the backlog: more than all workers can make in both measurements.
const RUNS: usize = 80;
/// How long answers are counted.
const WINDOW: Duration = Duration::from_secs(5);
/// What four workers make of what one makes.
const RATIO: f64 = 3.5;

/// Answers a second, counted for a while once these workers have begun to answer.
async fn rate(cluster: &Cluster) -> f64 {
    let journal = cluster.scratch.journal();
    let before = journal.lines();
    until("the workers are warm", || journal.lines() > before + 2 * WIDTH).await;
    let (since, from) = (Instant::now(), journal.lines());
    sleep(WINDOW).await;
    let lines = journal.lines() - from;
    // Two lines for each call.
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let answers = lines as f64 / 2.0;
    answers / since.elapsed().as_secs_f64()
}

/// The rates of one worker and of four.
async fn rates() -> (f64, f64) {
    let mut cluster = Cluster::start(1, 0, DELAY_MS).await;
    let settings = cluster.scratch.read("longshore.toml");
    cluster.scratch.write("longshore.toml", format!("{settings}[worker]\nslots = {SLOTS}\n"));
    let step = |call| json!({ "id": format!("c{call}"), "call": "tables/echo", "with": { "call": call } });
    let steps: Vec<_> = (0..WIDTH).map(step).collect();
    let steps = json!([{ "id": "all", "parallel": steps }]);
    let wide = json!({ "longshore": "v1", "name": "wide", "steps": steps });
    cluster.scratch.write("wide.json", wide.to_string());
    cluster.client(["workflows", "push", "wide.json"]).run().await.expecting(0);
    for _ in 0..RUNS {
        cluster.request("submit", &json!({ "workflow": "wide" })).await;
    }
    cluster.add(Role::Worker);
    let one = rate(&cluster).await;
    for _ in 0..3 {
        cluster.add(Role::Worker);
    }
    cluster.answers().await;
    let four = rate(&cluster).await;
    let made = cluster.scratch.journal().calls().len();
    assert!(made + 4 * WIDTH < RUNS * WIDTH, "the backlog lasted: {made} calls");
    (one, four)
}

#[tokio::test]
async fn four_workers_make_at_least_three_and_a_half_times_the_calls_of_one() {
    let mut ratio = 0.0;
    for _ in 0..2 {
        let (one, four) = rates().await;
        ratio = four / one;
        println!("one worker: {one:.1} calls/s, four: {four:.1} calls/s, ratio {ratio:.2}");
        if ratio >= RATIO {
            return;
        }
    }
    assert!(ratio >= RATIO, "{ratio:.2}");
}
