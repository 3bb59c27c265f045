//! The kill test: `longshore` is killed with kill -9 at a random time during a run of 50 steps, and the run is resumed.
//!
//! The result must be that of an uninterrupted run: the same outputs, every step once, no run lost. The log holds the outcomes
//! recorded before the kill, and the journal of the server holds the calls: a step with a recorded outcome is never called
//! again, a call that is not safe to repeat is never made twice, and no server outlives its caller. The seed is printed; set
//! `KILL_SEED` to it to kill at the same times again.

use std::collections::{BTreeMap, BTreeSet};

use longshore_proto::{RunStatus, RunView, StepStatus};
use longshore_tests::environment::{rounds, variable};
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use longshore_tests::wait::{is_gone, until};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The number of members of a group, which are called concurrently.
const WIDTH: usize = 5;
/// The number of groups, one after the other. Each is the group, its members, and a step with their sum; with the last step
/// there are 50 steps.
const GROUPS: usize = 7;
/// The number of all calls.
const EVERY_CALL: usize = GROUPS * WIDTH + 1;
/// The duration of a call, long enough for kills during calls.
const DELAY_MS: u64 = 15;

/// The size of a value that does not fit into a log entry, in bytes: the limit is 64 KiB.
const BULK_BYTES: usize = 70_000;

/// The tool that the steps call.
#[derive(Clone, Copy)]
enum Calls {
    /// A tool that is safe to repeat, as its step says.
    Safe,
    /// A tool that is not safe to repeat.
    Unsafe,
}

impl Calls {
    /// Returns a step that returns a number. Some steps also pass and return a large value, by reference.
    fn step(self, id: &str, number: &str, has_bulk: bool) -> Value {
        match self {
            Self::Safe => {
                let number = format!("${{{{ {number} }}}}");
                let with = if has_bulk {
                    json!({ "number": number, "bulk": "${{ inputs.bulk }}" })
                } else {
                    json!({ "number": number })
                };
                let retry = json!({ "attempts": 3, "delay": "10ms" });
                json!({ "id": id, "call": "tables/echo", "with": with, "retry": retry })
            }
            Self::Unsafe => {
                let text = format!("${{{{ string({number}) }}}}");
                json!({ "id": id, "call": "tables/note", "with": { "text": text } })
            }
        }
    }

    /// Returns the expression of the number that a step returns.
    fn number_of(self, id: &str) -> String {
        match self {
            Self::Safe => format!("steps.{id}.output.number"),
            Self::Unsafe => format!("int(steps.{id}.output.text)"),
        }
    }

    /// Returns a workflow of fifty steps: groups whose sum is the input of the next group's members.
    fn workflow(self) -> String {
        let (mut steps, mut before) = (Vec::new(), "1".to_owned());
        for group in 0..GROUPS {
            let ids: Vec<_> = (0..WIDTH).map(|member| format!("call{group}_{member}")).collect();
            let numbered = ids.iter().enumerate();
            let members: Vec<_> =
                numbered.map(|(n, id)| self.step(id, &format!("{before} + {n}"), n == 0)).collect();
            let sum: Vec<_> = ids.iter().map(|id| self.number_of(id)).collect();
            let total = format!("${{{{ {} }}}}", sum.join(" + "));
            steps.push(json!({ "id": format!("group{group}"), "parallel": members }));
            steps.push(json!({ "id": format!("sum{group}"), "set": { "total": total } }));
            before = format!("steps.sum{group}.output.total");
        }
        steps.push(self.step("last", &before, true));
        let inputs = json!({ "bulk": { "default": "x".repeat(BULK_BYTES) } });
        let outputs = json!({ "last": "${{ steps.last.output }}" });
        json!({ "longshore": "v1", "name": "fifty", "inputs": inputs, "steps": steps, "outputs": outputs })
            .to_string()
    }
}

fn scratch(calls: Calls) -> Scratch {
    let scratch = Scratch::with(&calls.workflow(), &json!({}));
    scratch.servers(&json!({ "tables": Tables::of(scratch.path()).with_delay_ms(DELAY_MS).entry() }));
    scratch
}

/// The steps with a recorded outcome at a kill, and the number of their calls until then.
type Recorded = BTreeMap<String, usize>;

/// Starts `longshore` with these arguments and kills it once the journal has this many lines.
async fn kill_at(scratch: &Scratch, arguments: &[&str], lines: usize) -> Recorded {
    let mut started = scratch.longshore(arguments).start();
    until("the journal has grown, or the run has ended", || {
        scratch.journal().lines() >= lines || !started.is_running()
    })
    .await;
    let ended = started.kill().await;
    assert!(ended.was_killed() || ended.code() == Some(0) || ended.code() == Some(20), "{ended}");
    for pid in scratch.journal().pids() {
        until("the servers of the killed process are gone", || is_gone(pid)).await;
    }
    let history = scratch.log().await;
    assert_eq!(history.runs(), 1, "what was submitted is in the log");
    let begun = scratch.journal().begun();
    history
        .outcomes()
        .map(|(step, _)| (step.to_owned(), begun.get(step).copied().unwrap_or_default()))
        .collect()
}

/// Returns the outputs of an uninterrupted run, and the number of lines in the journal.
async fn reference(calls: Calls) -> (Value, usize) {
    let scratch = scratch(calls);
    let outputs = scratch.run().await.expecting(0).json();
    let run = scratch.newest().await;
    assert_eq!(run.steps.len(), 50);
    assert_eq!(scratch.journal().repeated(), BTreeSet::new());
    (outputs, scratch.journal().calls().len() * 2)
}

#[tokio::test]
async fn killed_and_resumed_run_ends_like_an_uninterrupted_one() {
    let rounds = rounds(6, 40);
    let seed = variable("KILL_SEED").unwrap_or_else(rand::random);
    println!("KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (outputs, lines) = reference(Calls::Safe).await;
    let (mut repeated, mut broken) = (0, 0);
    for round in 0..rounds {
        let scratch = scratch(Calls::Safe);
        let kills = if random.random_bool(0.3) { 2 } else { 1 };
        let mut moments: Vec<_> = (0..kills).map(|_| random.random_range(1..lines)).collect();
        moments.sort_unstable();
        println!("round {round}: killed at {moments:?} of {lines} lines");

        let mut recorded = Vec::new();
        let mut command = &["run", "workflow.yaml"][..];
        for moment in moments {
            recorded.push(kill_at(&scratch, command, moment).await);
            command = &["resume"];
        }
        broken += usize::from(recorded.iter().any(|recorded| recorded.len() < EVERY_CALL));
        scratch.longshore(["resume"]).run().await.expecting(0);

        let run = scratch.newest().await;
        let resumed = scratch.longshore(["runs", "output", "last"]).run().await.expecting(0).json();
        assert_eq!(resumed, outputs, "round {round}");
        assert_eq!(run.summary.status, RunStatus::Succeeded);
        assert!(
            run.steps.len() == 50 && run.steps.iter().all(|step| step.status == StepStatus::Succeeded),
            "{run:#?}"
        );
        assert_eq!(scratch.longshore(["runs", "list", "--json"]).run().await.json_lines().len(), 1);
        let outcomes = scratch.log().await.outcomes().count();
        assert_eq!(outcomes, EVERY_CALL, "each call has one recorded outcome");
        check_attempts(&scratch, &run);
        repeated += check_repeats(&scratch, &recorded);
    }
    println!("{rounds} rounds, {broken} kills in mid-run, {repeated} calls repeated");
    assert!(broken >= rounds / 2, "most kills come in mid-run");
}

/// Asserts that every call is a recorded attempt, including interrupted calls.
fn check_attempts(scratch: &Scratch, run: &RunView) {
    let begun = scratch.journal().begun();
    for step in &run.steps {
        let calls = begun.get(step.path.as_str()).copied().unwrap_or_default();
        assert!(step.attempts.len() >= calls, "{calls} calls: {step:#?}");
    }
}

/// Asserts that every step was called, that a step with a recorded outcome was never called again, and that no more calls were
/// repeated than the kills can have interrupted. Returns the number of repeated calls.
fn check_repeats(scratch: &Scratch, kills: &[Recorded]) -> usize {
    let begun = scratch.journal().begun();
    assert_eq!(begun.len(), EVERY_CALL, "every call was made");
    for recorded in kills {
        for (step, times) in recorded {
            assert_eq!(begun.get(step), Some(times), "{step} was recorded and called again: {recorded:?}");
        }
    }
    let extra: usize = begun.values().map(|times| times - 1).sum();
    assert!(extra <= kills.len() * WIDTH, "{extra} repetitions, and {WIDTH} calls can be caught by a kill");
    extra
}

#[tokio::test]
async fn unsafe_call_is_never_made_twice() {
    let rounds = rounds(6, 20);
    let seed = variable("KILL_SEED").unwrap_or_else(rand::random);
    println!("KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (outputs, lines) = reference(Calls::Unsafe).await;
    let mut doubtful = 0;
    for round in 0..rounds {
        let scratch = scratch(Calls::Unsafe);
        let moment = random.random_range(1..lines);
        println!("round {round}: killed at {moment} of {lines} lines");
        let recorded = kill_at(&scratch, &["run", "workflow.yaml"], moment).await;
        let resumed = scratch.longshore(["resume"]).run().await;

        let (run, begun) = (scratch.newest().await, scratch.journal().begun());
        assert_eq!(scratch.journal().repeated(), BTreeSet::new(), "round {round}");
        check_attempts(&scratch, &run);
        let status = |path: &str| run.steps.iter().find(|step| step.path.as_str() == path).unwrap().status;
        for called in begun.keys() {
            let known = matches!(status(called), StepStatus::Succeeded | StepStatus::Indeterminate);
            assert!(known, "{called} was called and is {}", status(called));
        }
        let in_doubt: BTreeSet<_> = run
            .steps
            .iter()
            .filter(|step| step.status == StepStatus::Indeterminate)
            .map(|step| step.path.as_str())
            .collect();
        assert!(
            in_doubt.iter().all(|path| !recorded.contains_key(*path)),
            "what was recorded is not in doubt"
        );
        if in_doubt.is_empty() {
            assert!(matches!(resumed.code(), Some(0)), "{resumed}");
            let given = scratch.longshore(["runs", "output", "last"]).run().await.expecting(0).json();
            assert_eq!((run.summary.status, given), (RunStatus::Succeeded, outputs.clone()));
        } else {
            resumed.expecting(20).saying(&["may have"]);
            assert_eq!(run.summary.status, RunStatus::Failed);
        }
        doubtful += in_doubt.len();
    }
    println!("{rounds} rounds, {doubtful} calls in doubt");
    assert!(doubtful > 0, "a kill in mid-call leaves a call in doubt");
}

#[tokio::test]
async fn kill_at_the_start_keeps_acknowledged_runs_and_a_usable_data_directory() {
    let rounds = rounds(6, 24);
    let seed = variable("KILL_SEED").unwrap_or_else(rand::random);
    println!("KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let acknowledged = |said: &str| said.contains("submitted");

    // The first process is killed after it has printed that the run is submitted, the others at a random time around that.
    let first = scratch(Calls::Safe);
    let since = Instant::now();
    let started = first.longshore(["run", "workflow.yaml"]).start();
    until("the run is acknowledged", || acknowledged(&started.stderr())).await;
    let usual = since.elapsed();
    started.kill().await;
    // None of these commands sends the jobs of the killed run again.
    let killed = first.newest().await.summary.run;
    first.run().await.expecting(0);
    first.longshore(["resume", "zzz"]).run().await.expecting(5);
    first.longshore(["resume"]).run().await.expecting(0);
    let shown = first.longshore(["runs", "show", &killed.to_string(), "--json"]).run().await.expecting(0);
    let run: RunView = serde_json::from_value(shown.json()).expect("a run");
    assert_eq!(run.summary.status, RunStatus::Succeeded);
    for step in &run.steps {
        let lost = step.attempts.iter().filter(|attempt| attempt.fault.is_some()).count();
        assert!(lost <= 1, "killed once: {step:#?}");
    }

    for _ in 0..rounds {
        let scratch = scratch(Calls::Safe);
        let started = scratch.longshore(["run", "workflow.yaml"]).start();
        tokio::time::sleep(usual.mul_f64(random.random_range(0.0..1.5))).await;
        let killed = started.kill().await;
        let resumed = scratch.longshore(["resume"]).run().await;
        if acknowledged(&killed.stderr) {
            assert!(resumed.code() == Some(0), "{killed}\n{resumed}");
            assert_eq!(scratch.newest().await.summary.status, RunStatus::Succeeded);
        } else {
            // There is no data directory, or an empty one, or one with a run that was not acknowledged.
            assert!(matches!(resumed.code(), Some(0 | 5)), "{killed}\n{resumed}");
        }
        scratch.run().await.expecting(0);
    }
}
