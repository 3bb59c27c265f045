//! Several processes on one data directory, some of which are killed with kill -9 during their runs.
//!
//! The others are not affected, every acknowledged run is listed, `resume` continues the runs of the killed processes and no
//! others, and no call that is not safe to repeat is made twice. The seed is printed; set `KILL_SEED` to it to kill at the same
//! times again.

#![expect(clippy::panic, reason = "a run that cannot be read has failed the test")]

use std::collections::BTreeMap;

use longshore_proto::{RunStatus, RunView, StepStatus};
use longshore_tests::environment::{rounds, variable};
use longshore_tests::longshore::StartedCommand;
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use longshore_tests::wait::until;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

/// The number of concurrent processes.
const PROCESSES: usize = 5;
/// The number of processes that are killed.
const KILLED: usize = 3;
/// The number of calls of each run, in a sequence.
const CALLS: usize = 12;
/// The duration of a call, long enough for kills during calls.
const DELAY_MS: u64 = 30;

fn scratch() -> Scratch {
    let steps: Vec<_> = (0..CALLS)
        .map(|n| match n % 2 {
            0 => json!({ "id": format!("s{n}"), "call": "tables/note", "with": { "text": format!("{n}") } }),
            _ => json!({ "id": format!("s{n}"), "call": "tables/echo", "with": { "n": n }, "retry": 3 }),
        })
        .collect();
    let workflow = json!({ "longshore": "v1", "name": "dozen", "steps": steps }).to_string();
    let scratch = Scratch::with(&workflow, &json!({}));
    scratch.servers(&json!({ "tables": Tables::of(scratch.path()).with_delay_ms(DELAY_MS).entry() }));
    scratch
}

/// Returns all runs of the data directory with their steps.
async fn runs(scratch: &Scratch) -> Vec<RunView> {
    let listed = scratch.longshore(["runs", "list", "--json"]).run().await.expecting(0).json_lines();
    let mut runs = Vec::new();
    for run in listed {
        let id = run.get("run").and_then(Value::as_str).unwrap_or_default().to_owned();
        let shown = scratch.longshore(["runs", "show", &id, "--json"]).run().await.expecting(0).json();
        runs.push(serde_json::from_value(shown).unwrap_or_else(|error| panic!("that is no run: {error}")));
    }
    runs
}

#[tokio::test]
async fn killed_processes_lose_no_run_and_affect_no_other_process() {
    let seed = variable("KILL_SEED").unwrap_or_else(rand::random);
    println!("KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let rounds = rounds(2, 12);
    let mut interrupted = 0;
    for round in 0..rounds {
        let scratch = scratch();
        let mut processes: Vec<StartedCommand> =
            (0..PROCESSES).map(|_| scratch.longshore(["run", "workflow.yaml"]).start()).collect();
        for process in &processes {
            until("the run is acknowledged", || process.stderr().contains("submitted")).await;
        }
        processes.shuffle(&mut random);
        for _ in 0..KILLED {
            let lines = scratch.journal().lines() + random.random_range(1..2 * CALLS);
            let mut process = processes.pop().expect("a process");
            until("the journal has grown, or the run has ended", || {
                scratch.journal().lines() >= lines || !process.is_running()
            })
            .await;
            process.kill().await;
        }
        for process in processes {
            process.end().await.expecting(0);
        }

        let left = runs(&scratch).await;
        assert_eq!(left.len(), PROCESSES, "round {round}: every run that was acknowledged is listed");
        let count = |status| left.iter().filter(|run| run.summary.status == status).count();
        let waiting = count(RunStatus::Interrupted);
        assert!(waiting <= KILLED, "round {round}");
        assert_eq!(waiting + count(RunStatus::Succeeded), PROCESSES, "round {round}");
        interrupted += waiting;

        let resumed = scratch.longshore(["resume"]).run().await;
        assert!(matches!(resumed.code(), Some(0 | 20)), "round {round}: {resumed}");
        check(&scratch, &runs(&scratch).await, round);
        scratch.run().await.expecting(0);
    }
    println!("{rounds} rounds, {interrupted} runs interrupted");
    assert!(interrupted > 0, "some kill comes in mid-run");
}

/// Asserts that every run has succeeded or has an indeterminate call, and that no call that is not safe to repeat was made
/// twice.
fn check(scratch: &Scratch, runs: &[RunView], round: usize) {
    assert_eq!(runs.len(), PROCESSES);
    for run in runs {
        let in_doubt = run.steps.iter().any(|step| step.status == StepStatus::Indeterminate);
        let expected = if in_doubt { RunStatus::Failed } else { RunStatus::Succeeded };
        assert_eq!(run.summary.status, expected, "round {round}: {run:#?}");
    }
    let mut notes: BTreeMap<String, usize> = BTreeMap::new();
    for call in scratch.journal().calls().into_iter().filter(|call| call.tool == "note") {
        *notes.entry(call.key).or_default() += 1;
    }
    assert!(notes.values().all(|times| *times == 1), "round {round}: {notes:#?}");
}
