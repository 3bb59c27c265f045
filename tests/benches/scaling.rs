//! The calls that four workers make in a second, next to those of one worker: 4.0 is the ideal ratio.
//!
//! A call takes 50 ms and a worker makes few calls at once, so the limit of a worker is its number of slots and not the
//! machine. All runs are submitted before the measurement. The figures are counted from the journal of the tool server,
//! after a warm-up. Other work of the machine makes a round worse, so the best of the rounds counts.
//!
//! ```sh
//! cargo build --release --workspace --bins && cargo bench -p longshore-tests --bench scaling
//! ```

#![expect(clippy::print_stdout, reason = "the figures are the result")]

use std::time::Duration;

use longshore_tests::cluster::{Cluster, Role};
use longshore_tests::wait::until;
use serde_json::json;
use tokio::time::{Instant, sleep};

/// The duration of a call, in milliseconds.
const DELAY_MS: u64 = 50;
/// The calls that a worker makes at once: few enough that four workers do not fill a small machine.
const SLOTS: &str = "2";
/// The calls of a run, all at once.
const WIDTH: usize = 50;
/// The number of runs: more than all workers can carry out during a round.
const RUNS: usize = 80;
/// The time in which calls are counted.
const WINDOW: Duration = Duration::from_secs(5);
/// The number of rounds.
const ROUNDS: usize = 3;

/// Calls in a second.
#[derive(Clone, Copy)]
struct Rates {
    one_worker: f64,
    four_workers: f64,
}

impl Rates {
    fn ratio(self) -> f64 {
        self.four_workers / self.one_worker
    }
}

/// Counts the calls of the present workers in a second, once they have begun to answer.
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

/// Measures one worker, and then four of them on the same runs.
async fn measure() -> Rates {
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
    let one_worker = rate(&cluster).await;
    for _ in 0..3 {
        cluster.add(Role::Worker);
    }
    cluster.answers().await;
    let four_workers = rate(&cluster).await;
    let made = cluster.scratch.journal().calls().len();
    assert!(made + 4 * WIDTH < RUNS * WIDTH, "there were calls to make until the end: {made} calls");
    Rates { one_worker, four_workers }
}

#[tokio::main]
async fn main() {
    let mut best: Option<Rates> = None;
    for _ in 0..ROUNDS {
        let rates = measure().await;
        if best.is_none_or(|best| rates.ratio() > best.ratio()) {
            best = Some(rates);
        }
    }
    if let Some(best) = best {
        println!("best of {ROUNDS} rounds, calls of {DELAY_MS} ms, {SLOTS} slots for each worker\n");
        println!("{:14}{:8.1} calls/s", "one worker", best.one_worker);
        println!("{:14}{:8.1} calls/s", "four workers", best.four_workers);
        println!("{:14}{:8.2}", "ratio", best.ratio());
    }
}
